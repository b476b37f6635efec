"""The queue of address servers that need a further block, and how the pools of a group grow."""

from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ipam import growing, policies, returning
from ipam.models import BlockRequest, BlockReturn, Pool, PoolPolicy
from ispops.console import actions, block_changes, growth_page, pages, queues
from ispops.errors import Refusal

PER_PAGE = 25
# Each costs a few queries, and who decides looks at the first ones.
MOST_CHARTS = 5
QUEUE = "admin:console_block_requests"
State = BlockRequest.State
# The filters of the queue: what each is called, and what it shows.
SHOWN: dict[str, tuple[str, Q]] = {
    "asked": ("Waiting for a decision", Q(state=State.ASKED)),
    "trouble": (
        "Needs a look",
        Q(state=State.PARKED) | Q(state=State.REFUSED, seen_at__isnull=True),
    ),
    "running": (
        "Under way",
        Q(state__in=(State.OPEN, State.GRANTED, State.CARVED, State.PUSHED)),
    ),
    "over": (
        "Over",
        Q(state__in=(State.CONFIRMED, State.WITHDRAWN))
        | Q(state=State.REFUSED, seen_at__isnull=False),
    ),
}


class PolicyForm(forms.ModelForm):
    """What an operator decides about how a pool grows."""

    reason = forms.CharField(max_length=300, label="Why?")

    class Meta:
        model = PoolPolicy
        fields = policies.CHANGEABLE
        labels = {
            "threshold_percent": "A further block at so many percent in use",
            "least_days": "or so many days before it is full; empty for neither",
            "decision": "Who decides",
            "largest_automatic": "Largest block that needs nobody's word, in addresses",
            "horizon_days": "A further block lasts for so many days of growth",
            "low_water_percent": "A block goes back when the rest is used less than, in percent",
            "unused_days": "and it was unused for so many days",
            "stale_hours": "A lease is stale after so many silent hours; empty is never",
            "lines_per_address": "Lines that may share one address; empty is not watched",
        }


def trouble() -> QuerySet[BlockRequest]:
    """Return the requests that need a look: stuck at a server, or refused and not seen yet."""
    return BlockRequest.objects.filter(SHOWN["trouble"][1])


@require_safe
def queue(request: HttpRequest) -> HttpResponse:
    """List the requests for further blocks by what is to do, the longest waiting first."""
    asked = request.GET.get("show", "asked")
    if asked not in SHOWN:
        asked = "asked"
    rows = BlockRequest.objects.select_related(
        "pool__block__parent", "server", "decided_by_user", "made"
    ).filter(SHOWN[asked][1])
    rows = rows.order_by("-asked_at") if asked == "over" else rows.order_by("asked_at")
    counted = queues.by_state(BlockRequest.objects.all())
    unseen = trouble().filter(state=State.REFUSED).count()
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    now = timezone.now()
    charted = list(page)[:MOST_CHARTS] if asked == "asked" else []
    for row in charted:
        row.chart = growth_page.chart_of(row.pool, at=now)  # type: ignore[attr-defined]
    return pages.show(
        request,
        "console/block_requests.html",
        "Further blocks",
        rows=page,
        filters=[(key, words, _count(key, counted, unseen)) for key, (words, _) in SHOWN.items()],
        asked=asked,
        may_decide=request.user.has_perm("ipam.change_blockrequest"),
    )


def _count(key: str, counted: dict[str, int], unseen: int) -> int:
    """How many a filter shows, out of the counts by state."""
    states = {
        "asked": [State.ASKED],
        "trouble": [State.PARKED],
        "running": [State.OPEN, State.GRANTED, State.CARVED, State.PUSHED],
        "over": [State.CONFIRMED, State.WITHDRAWN, State.REFUSED],
    }[key]
    more = {"trouble": unseen, "over": -unseen}.get(key, 0)
    return sum(counted.get(state, 0) for state in states) + more


def _get(ref: str) -> BlockRequest:
    return pages.get(BlockRequest.objects.all(), BlockRequest, ref)


def _length(request: HttpRequest) -> int | None:
    text = request.POST.get("length", "").strip()
    return block_changes.length(text) if text else None


def _with_length(request: HttpRequest, verb: Any, *, done: str, **arguments: Any) -> None:
    try:
        length = _length(request)
    except Refusal as refusal:
        actions.refuse(request, refusal)
        return
    actions.attempt_with_reason(request, verb, done=done, length=length, **arguments)


@require_POST
def grant(request: HttpRequest, ref: str) -> HttpResponse:
    """Let the server have a further block; it is cut and told within seconds."""
    _with_length(
        request, growing.grant, done="Granted. The block is in use within seconds.",
        request_id=_get(ref).pk,
    )  # fmt: skip
    return actions.back(request, reverse(QUEUE))


@require_POST
def refuse(request: HttpRequest, ref: str) -> HttpResponse:
    """Let the server have no further block."""
    actions.attempt_with_reason(request, growing.refuse, done="Refused.", request_id=_get(ref).pk)
    return actions.back(request, reverse(QUEUE))


@require_POST
def again(request: HttpRequest, ref: str) -> HttpResponse:
    """Tell the server again of a block that it has not taken."""
    actions.attempt_with_reason(
        request, growing.try_again, done="The server is told again.", request_id=_get(ref).pk
    )
    return actions.back(request, reverse(QUEUE))


@require_POST
def seen(request: HttpRequest, ref: str) -> HttpResponse:
    """Note that somebody has seen that there was no room."""
    actions.attempt(
        request, growing.note_seen, done="Noted.", request_id=_get(ref).pk, actor=request.user
    )
    return actions.back(request, reverse(QUEUE))


# --- On the page of a pool ----------------------------------------------------------------------


def _pool(name: str) -> Pool:
    pool = Pool.objects.exclude(state=Pool.State.RETURNED).filter(name=name).first()
    if pool is None:
        raise Http404("There is no such pool.")
    return pool


def _ask(*, pool: Pool, actor: Any, reason: str, length: int | None, at: Any) -> BlockRequest:
    return growing.ask_for_block(pool=pool, cause=reason, actor=actor, length=length, at=at)


@require_POST
def ask(request: HttpRequest, name: str) -> HttpResponse:
    """Ask for a further block by hand; somebody grants it in the queue."""
    _with_length(request, _ask, done="Asked. It waits in the queue.", pool=_pool(name))
    return redirect("admin:console_pool", name)


def _give_back(*, pool: Pool, actor: Any, reason: str, at: Any) -> BlockReturn:
    return returning.begin(pool=pool, cause=reason, actor=actor, at=at)


@require_POST
def give_back(request: HttpRequest, name: str) -> HttpResponse:
    """Let a further block give no new leases, and go back when it is empty."""
    actions.attempt_with_reason(
        request, _give_back, done="It gives no new leases from now on.", pool=_pool(name)
    )
    return redirect("admin:console_pool", name)


def _return(ref: str) -> BlockReturn:
    return pages.get(BlockReturn.objects.select_related("pool"), BlockReturn, ref)


@require_POST
def keep(request: HttpRequest, ref: str) -> HttpResponse:
    """Keep a block that was on its way back."""
    row = _return(ref)
    actions.attempt_with_reason(
        request, returning.keep, done="It gives leases again.", return_id=row.pk
    )
    return redirect("admin:console_pool", row.pool.name)


@require_POST
def return_again(request: HttpRequest, ref: str) -> HttpResponse:
    """Go on with a return that got stuck at the server."""
    row = _return(ref)
    actions.attempt_with_reason(
        request, returning.try_again, done="The server is told again.", return_id=row.pk
    )
    return redirect("admin:console_pool", row.pool.name)


@require_http_methods(["GET", "HEAD", "POST"])
def policy(request: HttpRequest, name: str) -> HttpResponse:
    """Show and change when a pool gets a further block, and who decides."""
    pool = _pool(name)
    known = PoolPolicy.objects.filter(pool=pool).first()
    form = PolicyForm(request.POST or None, instance=known)
    if request.method == "POST" and form.is_valid():
        given = {field: form.cleaned_data[field] for field in policies.CHANGEABLE}
        try:
            policies.set_policy(
                pool=pool, actor=request.user, reason=form.cleaned_data["reason"],  # type: ignore[arg-type]
                at=timezone.now(), **given,
            )  # fmt: skip
        except Refusal as refused:
            form.add_error(refused.field if refused.field in form.fields else None, refused.detail)
        else:
            actions.say(request, "The policy is in force.")
            return redirect("admin:console_pool", name)
    return pages.show(
        request,
        "console/pool_policy.html",
        f"How {pool.name} grows",
        status=422 if form.errors else 200,
        pool=pool,
        form=form,
    )
