"""The addresses of the three faces, the AAA calls and the health checks."""

from importlib.util import find_spec

from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path

from ispops import health
from ispops.demo import mail
from ispops.parties import docs, problems


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


api = [
    path("v1/openapi.yaml", docs.openapi, name="openapi"),
    path("v1/docs", docs.reference, name="api_reference"),
    *(
        path("v1/", include(f"{app}.urls"))
        for app in ("qualification", "provisioning", "rating")
        if _there(f"{app}.urls")
    ),
    re_path("", problems.nothing_here),
]

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("api/", include(api)),
    path("problems/<slug:code>", docs.problem, name="problem"),
    path("console/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("", include("allauth.idp.urls")),
]

if _there("provisioning.aaa_urls"):
    urlpatterns.append(path("aaa/", include("provisioning.aaa_urls")))
if settings.DEMO:
    urlpatterns.append(path("mail/", mail.inbox, name="demo_mail"))
if _there("ispops.portal.urls"):
    urlpatterns.append(path("", include("ispops.portal.urls")))

handler400 = "ispops.portal.views.errors.bad_request"
handler403 = "ispops.portal.views.errors.forbidden"
handler404 = "ispops.portal.views.errors.not_found"
handler429 = "ispops.portal.views.errors.too_many_requests"  # allauth's name for it
handler500 = "ispops.portal.views.errors.server_error"
