"""The addresses of the three faces, the AAA calls and the health checks."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path

from ispops import health
from ispops.demo import mail
from ispops.notices import reports
from ispops.parties import docs, payment_hooks, problems

api: list[URLPattern | URLResolver] = [
    path("v1/openapi.yaml", docs.openapi, name="openapi"),
    path("v1/docs", docs.reference, name="api_reference"),
    path("v1/", include("ispops.parties.urls")),
    path("v1/", include("qualification.urls")),
    path("v1/", include("ipam.urls")),
    path("v1/", include("provisioning.urls")),
    path("v1/", include("rating.urls")),
    re_path("", problems.nothing_here),
]

# A demonstration has no mail server; elsewhere nobody may read the mail of others.
demonstration = [path("mail/", mail.inbox, name="demo_mail")] if settings.DEMO else []

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("aaa/", include("provisioning.aaa_urls")),
    path("payments/stripe/events", payment_hooks.stripe_events, name="stripe_events"),
    path("sms/reports", reports.receive, name="sms_reports"),
    path("api/", include(api)),
    path("tmf-api/", include("provisioning.listener_urls")),
    path("problems/<slug:code>", docs.problem, name="problem"),
    path("console/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("", include("allauth.idp.urls")),
    *demonstration,
    path("", include("ispops.portal.urls")),
]

handler400 = "ispops.portal.views.errors.bad_request"
handler403 = "ispops.portal.views.errors.forbidden"
handler404 = "ispops.portal.views.errors.not_found"
handler429 = "ispops.portal.views.errors.too_many_requests"  # allauth's name for it
handler500 = "ispops.portal.views.errors.server_error"
