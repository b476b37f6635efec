"""The tree of blocks: from the registry's allocations to the pools, with how full each is."""

from collections.abc import Iterator
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ipam import queries, space, tree
from ipam.models import Block, Pool
from ispops.console import actions, block_changes, charts, heatmap, pages
from ispops.errors import InvalidInput, Refusal

CHANGE = "ipam.change_block"
MOST_GAPS = 24
_NOTHING = InvalidInput("")
_COLUMNS = (
    "network", "parent", "tier", "name", "vrf", "pool", "server", "purpose", "unit_length",
    "cut_percent", "held", "total",
)  # fmt: skip


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """Show the whole tree, or that of one VRF."""
    return _listed(request)


def _listed(
    request: HttpRequest, refusal: Refusal = _NOTHING, given: Any = None, *, status: int = 200
) -> HttpResponse:
    vrfs = list(Block.objects.order_by("vrf").values_list("vrf", flat=True).distinct())
    asked = request.GET.get("vrf", "")
    vrf = int(asked) if asked.isdecimal() and int(asked) in vrfs else None
    nodes = space.nodes(vrf=vrf)
    return pages.show(
        request,
        "console/addresses.html",
        "Address blocks",
        status=status,
        rows=list(map(row_of, nodes)),
        vrfs=vrfs if len(vrfs) > 1 else [],
        vrf=vrf,
        is_cut_off=len(nodes) == space.MOST_BLOCKS,
        may_change=request.user.has_perm(CHANGE),
        refusal=refusal,
        given=given or {},
    )


def row_of(node: space.Node) -> dict[str, Any]:
    """Return a line of the tree in the words of the page."""
    words, percent = "", None
    if node.use:
        percent = charts.percent(node.use.taken, node.use.total)
        held = f"{charts.count_words(node.use.taken)} of {charts.count_words(node.use.total)} held"
        words = f"{held} · {percent} %"
    elif node.children:
        percent = charts.share(node.cut)
        count = len(node.children)
        words = f"{percent} % cut, into {count} block{'' if count == 1 else 's'}"
    return {
        "block": node.block,
        "depth": min(node.depth, 6),
        "tier": Block.Tier(node.block.tier).label,
        "pool": node.use.pool if node.use else None,
        "percent": percent,
        "words": words or "nothing is cut from it",
        "held": None if node.held is None or node.use else charts.percent(node.taken, node.total),
    }


@require_safe
def page(request: HttpRequest, key: int) -> HttpResponse:
    """Show one block: where it is free, what is cut from it, and what can be done."""
    return _shown(request, _get(key))


def _shown(
    request: HttpRequest,
    block: Block,
    refusal: Refusal = _NOTHING,
    given: Any = None,
    *,
    status: int = 200,
) -> HttpResponse:
    nodes = space.nodes(under=block)
    pool = nodes[0].use.pool if nodes[0].use else None
    heat = space.heat_of_pool(pool) if pool else space.heat_of_block(block, nodes[0].children)
    gaps = tree.free_space(block)
    is_unused = not pool and not nodes[0].children
    return pages.show(
        request,
        "console/block.html",
        f"Block {block.network}",
        status=status,
        this=block,
        path=space.path_to(block),
        own=row_of(nodes[0]),
        rows=[row_of(node) for node in nodes[1:]],
        pool=pool,
        heat=drawn(heat),
        heat_measures="Held or resting" if pool else "Cut",
        gaps=gaps[:MOST_GAPS],
        more_gaps=max(len(gaps) - MOST_GAPS, 0),
        may_change=request.user.has_perm(CHANGE),
        is_unused=is_unused,
        neighbours=block_changes.neighbours(block) if is_unused else [],
        tiers=[tier for tier in Block.Tier.choices if tier[0] > 0],
        servers=block_changes.servers(),
        purposes=block_changes.purposes(),
        refusal=refusal,
        given=given or {},
    )


def drawn(heat: space.Heat) -> dict[str, Any]:
    """Return a heat map ready to be drawn, with the table that says the same."""
    width, height = heatmap.size(len(heat.shares))
    squares = heatmap.squares(heat.shares)
    named = [(square, heat.network_of(place)) for place, square in enumerate(squares)]
    return {
        "width": width,
        "height": height,
        "side": heatmap.SIDE - heatmap.GAP,
        "squares": named,
        "taken": [(square, network) for square, network in named if square.shade],
        "length": heat.length,
        "legend": heatmap.legend(),
    }


@require_POST
def add(request: HttpRequest) -> HttpResponse:
    """Add an allocation that the registry gave."""
    return _changed(request, None)


@require_POST
def change(request: HttpRequest, key: int) -> HttpResponse:
    """Show what a change would come to, and make it when that was seen."""
    return _changed(request, _get(key))


def _changed(request: HttpRequest, block: Block | None) -> HttpResponse:
    kind = "add" if block is None else request.POST.get("what", "")
    if kind not in block_changes.CHANGES:
        raise Http404("There is no such change.")
    given = {name: str(value).replace("\0", "") for name, value in request.POST.items()}
    confirmed = given.pop("confirmed", "")
    given.pop("csrfmiddlewaretoken", "")
    do = block_changes.CHANGES[kind].work if confirmed else _preview(kind)
    try:
        outcome = do(block, given, request.user, timezone.now())  # type: ignore[arg-type]
    except Refusal as refusal:
        if block is None:
            return _listed(request, refusal, given, status=422)
        return _shown(request, block, refusal, given, status=422)
    if not confirmed:
        return _confirm(request, kind, block, given, outcome)
    actions.say(request, f"{block_changes.CHANGES[kind].title}: done. {'; '.join(outcome.words)}.")
    if outcome.leads_to is None:
        return redirect("admin:console_addresses")
    return redirect("admin:console_block", outcome.leads_to.pk)


def _preview(kind: str) -> Any:
    return lambda *given: block_changes.preview(kind, *given)


def _confirm(
    request: HttpRequest,
    kind: str,
    block: Block | None,
    given: dict[str, str],
    outcome: block_changes.Outcome,
) -> HttpResponse:
    change = block_changes.CHANGES[kind]
    back = reverse("admin:console_block", args=[block.pk]) if block else None
    return pages.show(
        request,
        "console/block_change.html",
        change.title,
        change=change,
        this=block,
        words=outcome.words,
        given=given,
        back=back or reverse("admin:console_addresses"),
        is_danger=kind == "remove",
    )


@require_safe
def as_file(request: HttpRequest) -> StreamingHttpResponse:
    """Give the tree as a file that can be imported again, with how full each block is."""
    return pages.file_of("address-blocks", _table())


def _table() -> Iterator[list[str]]:
    yield list(_COLUMNS)
    for node in space.nodes(most=None):
        block, use = node.block, node.use
        yield [
            block.network, block.parent.network if block.parent else "",
            Block.Tier(block.tier).name.lower(), block.name, str(block.vrf),
            *([use.pool.name, use.pool.server.name, use.pool.purpose, str(use.pool.unit_length)]
              if use else [""] * 4),
            f"{node.cut * 100:.1f}", *([str(use.taken), str(use.total)] if use else ["", ""]),
        ]  # fmt: skip


def _get(key: int) -> Block:
    block = Block.objects.select_related("parent").filter(pk=key).first() if key < 2**63 else None
    if block is None:
        raise Http404("There is no such block.")
    return block


@require_safe
def from_list(request: HttpRequest, key: int) -> HttpResponse:
    """Lead from a row of the list of blocks to the page about it."""
    return redirect("admin:console_block", _get(key).pk)


@require_safe
def pool_from_list(request: HttpRequest, key: int) -> HttpResponse:
    """Lead from a row of the list of pools to the page about it."""
    pool = Pool.objects.filter(pk=key).first() if key < 2**63 else None
    if pool is None:
        raise Http404("There is no such pool.")
    return redirect("admin:console_pool", pool.name)


@require_safe
def pools_file(request: HttpRequest) -> StreamingHttpResponse:
    """Give all pools as a file, with how full each is."""
    return pages.file_of("address-pools", _pools_table())


def _pools_table() -> Iterator[list[str]]:
    yield [
        "pool", "server", "block", "vrf", "purpose", "family", "unit_length", "held_or_resting",
        "total", "percent",
    ]  # fmt: skip
    for use in queries.utilisation():
        pool = use.pool
        yield [
            pool.name, pool.server.name, pool.block.network, str(pool.block.vrf), pool.purpose,
            str(pool.family), str(pool.unit_length), str(use.taken), str(use.total),
            f"{use.percent:.1f}",
        ]  # fmt: skip
