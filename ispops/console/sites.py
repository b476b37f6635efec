"""The console's site: django-unfold's lists, our pages, and one way to log in."""

from typing import Any

from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.http import urlencode
from unfold.sites import UnfoldAdminSite


class ConsoleSite(UnfoldAdminSite):
    """Everything under /console/.

    A login of its own would be a second door without rate limits and second factor; so the
    console sends everybody to the one that portal and staff share.
    """

    index_title = "Today"
    index_template = "console/dashboard.html"

    def extra_urls(self) -> list[URLPattern]:
        from ispops.console.urls import console_urls

        return console_urls(self)

    def has_permission(self, request: HttpRequest) -> bool:
        """Let in active staff, and only with a second factor where the ISP demands one."""
        return bool(super().has_permission(request)) and not lacks_second_factor(request)

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Send visitors to the login page, staff without a second factor to set one up.

        A subscriber who is logged in gets 403 and words: another login would change nothing.
        """
        if not request.user.is_authenticated:
            back = request.GET.get("next") or reverse("admin:index")
            return redirect(f"{reverse('account_login')}?{urlencode({'next': back})}")
        if self.has_permission(request):
            return redirect("admin:index")
        if super().has_permission(request):
            return redirect("mfa_index")
        return TemplateResponse(request, "console/not_staff.html", status=403)

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("account_change_password")

    def search(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Answer unfold's own search address with the search across subscribers."""
        term = urlencode({"q": request.GET.get("q") or request.GET.get("s", "")})
        return redirect(f"{reverse('admin:console_search')}?{term}")


def lacks_second_factor(request: HttpRequest) -> bool:
    """Say whether this login must set up a second factor before it may work in the console."""
    return bool(settings.STAFF_NEED_SECOND_FACTOR) and not is_mfa_enabled(request.user)
