"""Addresses of the subscribers' pages."""

from django.urls import path

from ispops.portal.views import check

app_name = "portal"
urlpatterns = [
    path("", check.home, name="home"),
    path("check/suggestions/", check.suggestions, name="suggestions"),
    path("check/<str:qualification_id>/", check.answer, name="answer"),
    path("check/<str:qualification_id>/wait/", check.wait, name="wait"),
    path("check/<str:qualification_id>/choose/", check.choose, name="choose"),
]
