"""The addresses of the three faces, the AAA calls and the health checks."""

from django.contrib import admin
from django.urls import include, path

from ispops import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("console/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("", include("allauth.idp.urls")),
]
