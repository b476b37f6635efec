"""One pool: how full it is and where, and who holds what of it."""

from datetime import timedelta

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from ipam import queries, space
from ipam.models import Pool
from ispops.console import charts, growth_page, pages
from ispops.console.views import addresses

PER_PAGE = 20


@require_safe
def page(request: HttpRequest, name: str) -> HttpResponse:
    """Show a pool with its heat map and its holders, by address."""
    pool = queries.with_free_slots(
        Pool.objects.filter(name=name).exclude(state=Pool.State.RETURNED)
    ).first()
    if pool is None:
        raise Http404("There is no such pool.")
    use = queries.use_of(pool)
    sought = request.GET.get("q", "").replace("\0", "").strip()
    held = queries.holders_of(pool, sought)
    return pages.show(
        request,
        "console/pool.html",
        f"Pool {pool.name}",
        pool=pool,
        path=[*space.path_to(pool.block), pool.block],
        percent=charts.percent(use.taken, use.total),
        taken=charts.count_words(use.taken),
        free=charts.count_words(use.free),
        total=charts.count_words(use.total),
        rests=_span(pool.quarantine),
        may_change=request.user.has_perm("ipam.change_poolpolicy"),
        **growth_page.of(pool, at=timezone.now()),
        heat=addresses.drawn(space.heat_of_pool(pool)),
        sought=sought,
        rows=Paginator(held, PER_PAGE).get_page(request.GET.get("page")),
    )


def _span(span: timedelta) -> str:
    """Write how long an address rests: whole hours, minutes or seconds."""
    seconds = int(span.total_seconds())
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds % length == 0:
            count = seconds // length
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"
