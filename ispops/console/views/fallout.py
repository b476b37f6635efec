"""The queue of steps that need a person, what is done with many of them, and outside systems."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, order_page, pages, work_page
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import User
from provisioning import causes, outside, worklist
from provisioning import fallout as verbs
from provisioning.models import DeliveryConnection, OrderTask, OutsideSystem
from provisioning.plan import MAY_BE_SKIPPED
from qualification.models import ProviderConnection

PER_PAGE = 50


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List the work that stopped and fits the filters of the address, the oldest order first."""
    now = timezone.now()
    rows = work_page.fallout_rows(_asked(request.GET, request))
    shown = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    may_work = request.user.has_perm(verbs.WORK_FALLOUT)
    return pages.show(
        request,
        "console/fallout.html",
        "Fallout",
        rows=shown,
        steps=[order_page.Step(task, list(task.tries.all())) for task in shown],
        groups=work_page.fallout_filters(request.GET, request.user.pk),
        asked=request.GET.urlencode(),
        cause=causes.of(request.GET["cause"]) if request.GET.get("cause") else None,
        failing=[system for system in worklist.systems() if system.open_until is not None],
        stuck=worklist.stuck(now),
        may_work=may_work,
        may_be_skipped=MAY_BE_SKIPPED,
        colleagues=_colleagues() if may_work else [],
    )


def _asked(asked: QueryDict, request: HttpRequest) -> QuerySet[OrderTask]:
    filters = worklist.Filters.read(asked)
    return worklist.fallout(filters, user_id=request.user.pk, at=timezone.now())


def _colleagues() -> list[User]:
    """Those to whom work can be given over."""
    codename = verbs.WORK_FALLOUT.rpartition(".")[2]
    may = Q(groups__permissions__codename=codename) | Q(is_superuser=True)
    staff = User.objects.filter(may, is_staff=True, is_active=True)
    return list(staff.distinct().order_by("first_name", "email"))


@require_safe
def as_file(request: HttpRequest) -> StreamingHttpResponse:
    """Give the whole queue as a file, with the filters of the page."""
    rows = work_page.fallout_rows(_asked(request.GET, request)).iterator(chunk_size=500)
    return pages.file_of("fallout", work_page.fallout_table(rows))


@require_POST
def many(request: HttpRequest) -> HttpResponse:
    """Do one thing with the chosen steps, or with all that the filters show."""
    try:
        messages.success(request, _do(request, request.POST.get("do", "")))
    except Refusal as refusal:
        messages.error(request, refusal.detail)
    return actions.back(request, reverse("admin:console_fallout"))


@require_POST
def take_up(request: HttpRequest) -> HttpResponse:
    """Take up all tasks that nobody works on."""
    count = verbs.take_up_stuck(actor=request.user, at=timezone.now())  # type: ignore[arg-type]
    messages.success(request, f"Tasks that were taken up, and are yours: {count}.")
    return actions.back(request, reverse("admin:console_fallout"))


def _do(request: HttpRequest, what: str) -> str:
    now, tasks = timezone.now(), _chosen(request)
    actor: User = request.user  # type: ignore[assignment]
    if what == "retry":
        reason = request.POST.get("reason", "").replace("\0", "")[:300]
        retried = verbs.retry_tasks(tasks=tasks, actor=actor, reason=reason, at=now)
        left = f" {retried.left} more were left for another time." if retried.left else ""
        seconds = (retried.last_at - now).total_seconds()
        return f"Tasks that are tried again: {retried.count}, within {seconds:.0f} seconds.{left}"
    if what == "take":
        count = verbs.assign_tasks(tasks=tasks, to=actor, actor=actor, at=now)
        return f"Tasks that are yours now: {count}."
    if what == "assign":
        to = _colleague(request.POST.get("to", ""))
        count = verbs.assign_tasks(tasks=tasks, to=to, actor=actor, at=now)
        return f"Tasks that were given to {to}: {count}." if to else f"Nobody's now: {count}."
    raise InvalidInput("Choose what to do.", field="do")


def _chosen(request: HttpRequest) -> QuerySet[OrderTask]:
    if request.POST.get("which") == "all":
        return _asked(QueryDict(request.POST.get("asked", "")), request)
    keys = [int(key) for key in request.POST.getlist("task") if key.isdecimal() and len(key) < 19]
    if not keys:
        raise InvalidInput("Choose tasks first, or all that are shown.", field="task")
    return OrderTask.objects.filter(pk__in=keys)


def _colleague(key: str) -> User | None:
    """Find whom work is given to; empty is nobody."""
    if not key:
        return None
    found = User.objects.filter(pk=int(key)).first() if key.isdecimal() and len(key) < 10 else None
    if found is None:
        raise InvalidInput("There is no such login.", field="to")
    return found


@require_safe
def systems(request: HttpRequest) -> HttpResponse:
    """List the systems that tasks call, which of them fail, and how much waits for each."""
    return pages.show(
        request,
        "console/systems.html",
        "Outside systems",
        rows=worklist.systems(),
        networks=_networks(),
        may_work=request.user.has_perm(verbs.WORK_FALLOUT),
        may_limit=request.user.has_perm("provisioning.change_outsidesystem"),
    )


def _networks() -> list[tuple[str, str, DeliveryConnection | ProviderConnection]]:
    """The networks that we call by an API of their own: what for, and where their limits are."""
    places = (
        (DeliveryConnection, "Takes our orders", "admin:provisioning_deliveryconnection_change"),
        (ProviderConnection, "Says what it delivers",
         "admin:qualification_providerconnection_change"),
    )  # fmt: skip
    return [
        (what, reverse(page, args=[row.pk]), row)
        for model, what, page in places
        for row in model.objects.filter(active=True).select_related("partner").order_by("partner")
    ]


@require_POST
def try_now(request: HttpRequest, ref: str) -> HttpResponse:
    """Let one waiting task find out whether a system works again."""
    system = pages.get(OutsideSystem.objects.all(), OutsideSystem, ref)
    actions.attempt(
        request,
        outside.try_now,
        done=f"{system} is called once now. When that gets through, all that waits follows.",
        system_id=system.pk,
        actor=request.user,
    )
    return actions.back(request, reverse("admin:console_systems"))


@require_POST
def set_limits(request: HttpRequest, ref: str) -> HttpResponse:
    """Change how much a system is asked, and how soon it is left alone."""
    system = pages.get(OutsideSystem.objects.all(), OutsideSystem, ref)
    names = ("at_once", "per_minute", "breaker_threshold", "breaker_pause_seconds")
    actions.attempt(
        request,
        outside.set_limits,
        done=f"The limits of {system} are changed.",
        system_id=system.pk,
        actor=request.user,
        **{name: _number(request.POST.get(name, "")) for name in names},
    )
    return actions.back(request, reverse("admin:console_systems"))


def _number(text: str) -> int | None:
    """Read a limit: None for nothing, and 0, which is refused, for what is no number."""
    text = text.strip()
    if not text:
        return None
    return int(text) if text.isdecimal() and len(text) < 6 else 0
