"""The content security policy: everything the browser runs or shows comes from us."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

_OURS = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; "
    "frame-ancestors 'none'; form-action 'self'"
)
PORTAL_POLICY = f"{_OURS}; script-src 'self'; style-src 'self'"
# The console's widgets (Alpine in django-unfold) evaluate expressions and set styles in line.
CONSOLE_POLICY = f"{_OURS}; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'"


class ContentSecurityPolicyMiddleware:
    """Adds the policy of the face that answers; the console's is the wider one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        policy = CONSOLE_POLICY if request.path.startswith("/console/") else PORTAL_POLICY
        response.headers.setdefault("Content-Security-Policy", policy)
        return response
