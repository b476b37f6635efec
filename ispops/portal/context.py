"""What every page shows of the ISP's brand."""

from django.conf import settings
from django.http import HttpRequest


def brand(request: HttpRequest) -> dict[str, str | bool]:
    """Return the ISP's name and support number, and whether this is a demonstration."""
    return {
        "isp_name": settings.ISP_NAME,
        "support_phone": settings.SUPPORT_PHONE,
        "is_demo": settings.DEMO,
    }
