"""Reading orders, services and partners' orders; who may see what is decided here."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Prefetch, Q, QuerySet, Window, prefetch_related_objects
from django.db.models.functions import RowNumber

from ipam import selection
from ispops.parties.models import Partner, Subscriber, SubscriberCheck, User
from provisioning import plan
from provisioning.following import SILENT_AFTER
from provisioning.models import (
    AccessServer,
    AccessSession,
    DeliveryConnection,
    OrderTask,
    ProductOrder,
    ProductOrderItem,
    Service,
    ServiceOrder,
    ServiceSuspension,
    SessionCommand,
    Slowdown,
)
from provisioning.placing import CHANGES
from provisioning.transitions import CLOSED_ORDER

State = OrderTask.State
ASKING = SubscriberCheck.State.ASKING


def lines_of(subscriber: Subscriber, *, with_ceased: bool = False) -> QuerySet[Service]:
    """Return a subscriber's access lines, oldest first, with what each of them carries."""
    lines = Service.objects.filter(subscriber=subscriber, line__isnull=True)
    if not with_ceased:
        lines = lines.exclude(state=Service.State.CEASED)
    with_names = lines.select_related("offering__provider", "bundle", "premises", "credential")
    carried = Service.objects.select_related("offering__provider", "bundle").order_by("pk")
    return with_names.prefetch_related(Prefetch("carried", carried)).order_by("created_at", "pk")


def lines_of_user(user: User) -> QuerySet[Service]:
    """Return the lines of the accounts that a login belongs to, as its programs are told of them:
    what they carry and keep, their open suspensions and the order that changes them."""
    own = Service.objects.filter(subscriber__in=user.subscribers.all(), line__isnull=True)
    carried = Service.objects.select_related("offering", "bundle").order_by("pk")
    changes = ProductOrder.objects.filter(intent__in=CHANGES).exclude(state__in=CLOSED_ORDER)
    living = own.exclude(state=Service.State.CEASED)
    with_names = living.select_related("offering", "bundle", "premises", "credential", "subscriber")
    return with_names.prefetch_related(
        Prefetch("carried", carried.exclude(state=Service.State.CEASED)),
        Prefetch(
            "suspensions",
            ServiceSuspension.objects.filter(ended_at__isnull=True).order_by("pk"),
            to_attr="open_suspensions",
        ),
        Prefetch("change_orders", changes, to_attr="open_changes"),
    )


def open_change_of(line: Service) -> ProductOrder | None:
    """Return the order that changes a line at the moment, of which there is one at a time."""
    changes = ProductOrder.objects.filter(line=line, intent__in=CHANGES)
    return changes.exclude(state__in=CLOSED_ORDER).first()


def is_of_products(order: ProductOrder) -> bool:
    """Say whether an order is for a plan and products, which can be others instead."""
    return order.intent in (*plan.NEW_LINES, ProductOrder.Intent.CHANGE)


def may_be_amended(order: ProductOrder) -> bool:
    """Say whether an order has not taken effect; the verb decides. Reads its prefetched steps."""
    done = {task.kind for task in order.tasks.all() if task.state == State.COMPLETED}
    return order.state not in CLOSED_ORDER and not done & plan.NO_RETURN


def speed_of(line: Service) -> tuple[int | None, int | None]:
    """Return the most that a line carries at the moment, down and up; its plan's before it is
    live. Costs no query for a line that was read with its login."""
    login = getattr(line, "credential", None)
    if login is None or login.download_kbps is None:
        return line.offering.download_kbps, line.offering.upload_kbps
    return login.download_kbps, login.upload_kbps


def orders_of_user(user: User) -> QuerySet[ProductOrder]:
    """Return the orders of the accounts that a login belongs to: nobody else's."""
    own = ProductOrder.objects.filter(subscriber__in=user.subscribers.all())
    with_places = own.select_related("subscriber", "qualification__premises", "line__premises")
    items = ProductOrderItem.objects.select_related(
        "offering__provider", "old_offering", "bundle", "service"
    )
    return with_places.prefetch_related(
        Prefetch("items", items.order_by("pk")),
        "tasks__service_order__partner",
        "tasks__awaited_check",
    )


def services_named_by(user: User | None) -> QuerySet[Service]:
    """Return the services whose ids a caller may name: none for a visitor.

    A login may name those of its accounts. A partner may name the lines that it was asked to
    deliver, whose addresses it has been told; of who uses its product it knows no address.
    """
    if user is None:
        return Service.objects.none()
    partner = getattr(user, "partner", None)
    if partner:
        asked = ServiceOrder.objects.filter(partner=partner, kind=ServiceOrder.Kind.LINE)
        own = Service.objects.filter(pk__in=asked.values("service"))
    else:
        own = Service.objects.filter(subscriber__in=user.subscribers.all())
    return own.select_related("premises")


def partner_service_orders(partner: Partner) -> QuerySet[ServiceOrder]:
    """Return what a partner was asked to deliver: its own orders and no other's."""
    return ServiceOrder.objects.filter(partner=partner).select_related(
        "partner", "offering", "service__premises"
    )


def narrowed(
    rows: QuerySet[ServiceOrder], asked: Mapping[str, Any], *, at: datetime
) -> QuerySet[ServiceOrder]:
    """Keep the service orders that fit: `asked` has what it may be narrowed down by, by name."""
    plain = ("state", "kind", "action", "subscriber_ref")
    rows = rows.filter(**{name: asked[name] for name in plain if asked.get(name)})
    if asked.get("overdue"):
        rows = overdue(rows, at)
    if ref := asked.get("service_ref"):
        key = Service.key_of(ref)
        rows = rows.filter(service=key) if key else rows.none()
    if since := asked.get("requested_from"):
        rows = rows.filter(requested_at__gte=since)
    if until := asked.get("requested_to"):
        rows = rows.filter(requested_at__lt=until)
    return rows


def overdue(rows: QuerySet[ServiceOrder], at: datetime) -> QuerySet[ServiceOrder]:
    """Keep what a partner should have delivered by now: by its own word, or by our time-out."""
    is_late = Q(expected_at__lt=at) | Q(answer_by__lt=at)
    return rows.filter(is_late, state=ServiceOrder.State.ACKNOWLEDGED)


def delivery_connection_calling(token: str) -> DeliveryConnection | None:
    """Return the provider that calls with a token; none that we have stopped to deal with.

    The token is as random as a key, so the time that looking for its digest takes tells nothing.
    """
    if not token:
        return None
    rows = DeliveryConnection.objects.filter(active=True, partner__active=True)
    return rows.filter(callback_digest=DeliveryConnection.digest_of(token)).first()


def fallout() -> QuerySet[OrderTask]:
    """Return the steps that need a person, oldest first."""
    parked = OrderTask.objects.filter(state=State.FALLOUT)
    return parked.select_related(
        "order__subscriber", "item__offering__provider", "item__service__premises"
    ).order_by("pk")


@dataclass(frozen=True, slots=True)
class StepProgress:
    """One step of an order as the subscriber is told of it.

    `words` says what is done, `status` how far it is; `expected_at` is when it should be done at
    the latest, and None once it is.
    """

    kind: str
    words: str
    state: str
    status: str
    expected_at: datetime | None
    finished_at: datetime | None

    @property
    def is_finished(self) -> bool:
        return self.state in {State.COMPLETED, State.SKIPPED}


def order_progress(order: ProductOrder) -> list[StepProgress]:
    """Return the steps of an order in plain words, in the order in which they are done.

    Costs no query for an order whose tasks and items were read with it.
    """
    prefetch_related_objects(
        [order],
        "tasks__service_order__partner",
        "tasks__awaited_check",
        "items__offering__provider",
    )
    items = {item.pk: item for item in order.items.all()}
    return [
        _progress(order, task, items[task.item_id])
        for task in sorted(order.tasks.all(), key=lambda task: task.position)
        if task.item_id is not None
    ]


def _progress(order: ProductOrder, task: OrderTask, item: ProductOrderItem) -> StepProgress:
    expected_at: datetime | None = order.expected_at
    if task.state in {State.COMPLETED, State.SKIPPED, State.CANCELLED}:
        expected_at = None
    elif task.kind in plan.AT_ONE_MOMENT and task.begins_at:
        expected_at = task.begins_at
    elif task.state == State.AWAITING and task.kind == plan.INSTALL_VISIT:
        expected_at = task.due_at
    elif task.state == State.AWAITING and task.service_order:
        expected_at = _promised(task.service_order) or expected_at
    return StepProgress(
        kind=task.kind,
        words=_WORDS[task.kind](item),
        state=task.state,
        status=_status(task),
        expected_at=expected_at,
        finished_at=task.finished_at,
    )


def _promised(asked: ServiceOrder) -> datetime | None:
    """Return when a partner should have done its part: by its own word, or by ours for a grant."""
    if asked.expected_at is None and asked.kind == ServiceOrder.Kind.ENTITLEMENT:
        return asked.answer_by
    return asked.expected_at


_WORDS: dict[str, Callable[[ProductOrderItem], str]] = {
    plan.RESERVE_PORT: lambda item: "Reserve your place in the access network",
    plan.OPEN_ADDRESS_HOLDER: lambda item: "Set aside your internet addresses",
    plan.CREATE_CREDENTIALS: lambda item: "Create your network login",
    plan.IDENTITY_CHECK: lambda item: "Make sure that it is you",
    plan.CREDIT_CHECK: lambda item: "Check your credit",
    plan.BOOK_VISIT: lambda item: "Arrange the visit of our technician",
    plan.INSTALL_VISIT: lambda item: "Our technician connects your home",
    plan.ORDER_LINE: lambda item: f"Order the line from {item.offering.provider}",
    plan.GRANT_ENTITLEMENT: lambda item: f"Set up {item.offering}",
    plan.CONFIGURE_EQUIPMENT: lambda item: "Set up your router",
    plan.CLEAR_EQUIPMENT: lambda item: "Take our settings out of your router",
    plan.RESERVE_IN_DHCP: lambda item: "Have your device get its internet address",
    plan.RELEASE_IN_DHCP: lambda item: "Take back the internet address of the line",
    plan.GO_LIVE: lambda item: "Switch your line on",
    plan.WELCOME: lambda item: "Send you a welcome message",
    plan.MODIFY_LINE: lambda item: f"Have {item.offering.provider} change the line",
    plan.CHANGE_SERVICE: lambda item: (
        f"Change your line to {item.bundle or item.offering}"
        if item.action == ProductOrderItem.Action.MODIFY
        else "Change what comes with your line"
    ),
    plan.SUSPEND_SERVICE: lambda item: "Pause your line",
    plan.RESUME_SERVICE: lambda item: "Let your line work again",
    plan.CEASE_SERVICE: lambda item: f"End your line with {item.bundle or item.offering}",
    plan.APPLY_TO_SESSION: lambda item: "Bring it to the connection that is open now",
}

_STATUS = {
    State.PENDING: "Comes after the steps above",
    State.READY: "In progress",
    State.COMPLETED: "Done",
    State.SKIPPED: "Settled in another way",
    State.FALLOUT: "Takes longer: one of us is looking into it",
    State.CANCELLED: "Cancelled",
}


def _status(task: OrderTask) -> str:
    if task.state == State.READY and not task.attempts and task.begins_at == task.next_attempt_at:
        return "Waits for its day" if task.begins_at else _STATUS[State.READY]
    if task.state == State.AWAITING and task.service_order:
        return _waiting(task.service_order)
    if task.state == State.AWAITING and task.kind == plan.INSTALL_VISIT:
        return "Waits for the visit"
    if task.cause == "check_refused":
        return "We could not confirm this. Your order is kept: please call us"
    if task.state == State.AWAITING and task.awaited_check and task.awaited_check.state == ASKING:
        return "We ask for it, which takes a few minutes"
    if task.state == State.AWAITING:
        return "One of us looks at it, within a working day"
    return _STATUS[State(task.state)]


def _waiting(asked: ServiceOrder) -> str:
    said = f": “{asked.message}”" if asked.message else ""
    if asked.progress == ServiceOrder.Progress.HELD:
        return f"Paused by {asked.partner}{said}"
    if asked.progress == ServiceOrder.Progress.IN_PROGRESS:
        return f"{asked.partner} works on it{said}"
    return f"Waiting for {asked.partner}"


@dataclass(frozen=True, slots=True)
class Online:
    """What the network last said of a line: `since`, `ip` and the rest are None when it is off."""

    is_online: bool
    last_heard_at: datetime | None
    since: datetime | None = None
    ip: str | None = None
    device: str | None = None
    nas_ip: str | None = None


def online(line: Service, at: datetime) -> Online:
    """Say whether a line is in use, by its sessions; of several, by the one that began last.

    A session from which nothing was heard for `SILENT_AFTER` counts as ended. One indexed read, and
    another for a line whose last session has ended.
    """
    latest_first = AccessSession.objects.filter(service=line).order_by("-started_at", "-pk")
    last = latest_first.first()
    if last is None:
        return Online(is_online=False, last_heard_at=None)
    live = last
    if last.ended_at is not None:
        live = latest_first.filter(ended_at__isnull=True).first() or last
    if live.ended_at is not None or live.last_heard_at + SILENT_AFTER <= at:
        return Online(is_online=False, last_heard_at=live.last_heard_at)
    return Online(
        is_online=True,
        last_heard_at=live.last_heard_at,
        since=live.started_at,
        ip=live.framed_ip,
        device=live.calling_station_id,
        nas_ip=live.nas_ip,
    )


def online_now(*, search: str = "", nas_ip: str = "") -> QuerySet[AccessSession]:
    """Return the sessions that are open, newest first, with their lines and subscribers.

    `search` is part of a login, a device or a subscriber's name, or a whole address.
    """
    found = AccessSession.objects.filter(ended_at__isnull=True)
    if nas_ip:
        found = found.filter(nas_ip=nas_ip)
    if search:
        words = (
            Q(username__icontains=search)
            | Q(calling_station_id__icontains=search)
            | Q(service__subscriber__name__icontains=search)
        )
        with contextlib.suppress(ValueError):
            words |= Q(framed_ip=selection.parse_address(search))
        found = found.filter(words)
    return found.select_related(
        "service__subscriber", "service__offering", "service__premises"
    ).order_by("-started_at", "-pk")


def in_trouble(sessions: QuerySet[AccessSession]) -> QuerySet[AccessSession]:
    """Keep the sessions that a person has to see to, the longest unheard first."""
    return sessions.exclude(trouble="").order_by("last_heard_at", "pk")


def last_sessions(lines: Iterable[Service], *, most: int) -> dict[UUID, list[AccessSession]]:
    """Return the last sessions of each line, the newest first, with what was told about each.

    Two reads, for however many lines.
    """
    rank = Window(RowNumber(), partition_by="service", order_by=("-started_at", "-pk"))
    numbered = AccessSession.objects.filter(service__in=list(lines)).annotate(rank=rank)
    found: dict[UUID, list[AccessSession]] = {}
    commands = Prefetch("commands", SessionCommand.objects.order_by("pk"))
    newest = numbered.filter(rank__lte=most).prefetch_related(commands)
    for session in newest.order_by("-started_at", "-pk"):
        found.setdefault(session.service_id, []).append(session)
    return found


def online_by_server() -> list[tuple[str | None, str, int]]:
    """Return each access server with open sessions: its address, its name and how many."""
    counts = (
        AccessSession.objects.filter(ended_at__isnull=True)
        .values_list("nas_ip")
        .annotate(sessions=Count("pk"))
        .order_by("-sessions", "nas_ip")
    )
    names = dict(AccessServer.objects.values_list("nas_ip", "name"))
    return [(nas_ip, names.get(nas_ip, ""), number) for nas_ip, number in counts]


def open_suspensions(lines: Iterable[Service]) -> list[ServiceSuspension]:
    """Return why lines are suspended today, the oldest reason first."""
    found = ServiceSuspension.objects.filter(service__in=list(lines), ended_at__isnull=True)
    return list(
        found.select_related("service__offering", "service__bundle", "service__premises").order_by(
            "started_at", "pk"
        )
    )


def open_slowdowns(lines: Iterable[Service]) -> dict[UUID, Slowdown]:
    """Return by what lines are slow at the moment, by their keys."""
    found = Slowdown.objects.filter(service__in=list(lines), ended_at__isnull=True)
    return {row.service_id: row for row in found}
