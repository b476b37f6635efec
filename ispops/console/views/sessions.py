"""Who is online now, and which live sessions could not be brought up to date."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, pages
from ispops.console.session_page import SessionView
from provisioning import queries, steering

PER_PAGE = 50
LONGEST_SEARCH = 100


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List the open sessions, newest first.

    `server` is a NAS-IP-Address, `q` a search; `trouble` keeps those that need a person, of which
    the longest unheard comes first.
    """
    search = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST_SEARCH]
    servers = queries.online_by_server()
    known = {address for address, _, _ in servers}
    server = request.GET.get("server", "")
    rows = queries.online_now(search=search, nas_ip=server if server in known else "")
    only_trouble = request.GET.get("trouble") == "1"
    if only_trouble:
        rows = queries.in_trouble(rows)
    shown = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    names = {address: name for address, name, _ in servers}
    return pages.show(
        request,
        "console/online.html",
        "Online now",
        rows=shown,
        sessions=[SessionView(row, names.get(row.nas_ip, "")) for row in shown],
        servers=servers,
        server=server,
        search=search,
        only_trouble=only_trouble,
        total=sum(number for _, _, number in servers),
        trouble_count=queries.in_trouble(queries.online_now()).count(),
        may_work=request.user.has_perm("provisioning.work_fallout"),
    )


@require_POST
def retry(request: HttpRequest, key: int) -> HttpResponse:
    """Try once more to bring a session up to date."""
    actions.attempt(
        request,
        steering.retry,
        done="The session will be tried again now.",
        session_id=key,
        actor=request.user,
    )
    return actions.back(request, reverse("admin:console_online") + "?trouble=1")
