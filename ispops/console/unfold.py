"""How django-unfold looks here: names, colours, scripts. Read by the settings, so no models.

The colour scale holds the portal's accent at 600; an operator's brand changes it in both places.
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static


def site_name(request: HttpRequest) -> str:
    return str(settings.ISP_NAME)


def environment(request: HttpRequest) -> list[str] | None:
    """Say so on every page when this is a demonstration and not the ISP's real data."""
    return ["Demo", "warning"] if settings.DEMO else None


def stylesheet(request: HttpRequest) -> str:
    return static("console/console.css")


def favicon(request: HttpRequest) -> str:
    return static("portal/mark.svg")


def script(request: HttpRequest) -> str:
    return static("console/console.js")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": site_name,
    "SITE_HEADER": site_name,
    "SITE_SUBHEADER": "Console",
    "SITE_SYMBOL": "sailing",
    "SITE_URL": "/",
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "ENVIRONMENT": environment,
    "DASHBOARD_CALLBACK": "ispops.console.dashboard.fill",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": favicon}],
    "STYLES": [stylesheet],
    "SCRIPTS": [script],
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "#f0f8fb",
            "100": "#e1f0f5",
            "200": "#bfe0ea",
            "300": "#8fc9da",
            "400": "#5cb4cd",
            "500": "#2a93b0",
            "600": "#0b5a73",
            "700": "#084558",
            "800": "#0a3947",
            "900": "#0b303c",
            "950": "#061d26",
        }
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "ispops.console.sidebar.navigation",
    },
}
