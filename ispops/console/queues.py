"""The queues that people work through, and how much waits in each: one query for all."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, IntegerField, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from ipam.models import BlockRequest, BlockReturn, OverallocationRequest
from ispops.models import EventDelivery
from ispops.notices.models import Notice
from ispops.parties.models import CheckProvider, SubscriberCheck, User, WebhookDelivery
from provisioning import queries as provisioning_queries
from provisioning import visit_days, worklist
from provisioning.models import (
    AccessSession,
    AccountingInbox,
    Delivery,
    DeliveryConnection,
    OrderTask,
    OutsideSystem,
    ProductOrder,
    ServiceOrder,
)
from qualification.models import CoverageImport, ProviderConnection
from rating import reported
from rating.models import Dispute

# Nobody works through more than this at a sitting, and counting on would cost a page its speed.
MOST = 999
OPEN_ORDERS = ("acknowledged", "in_progress", "held")


@dataclass(frozen=True, slots=True)
class Queue:
    """Rows that wait for somebody: where they are listed, and who may see them."""

    key: str
    title: str
    permission: str
    address: str
    query: str
    rows: Callable[[], QuerySet[Any]]
    # A queue of things that went wrong is shown as such as soon as it is not empty.
    is_trouble: bool = True

    @property
    def href(self) -> str:
        return reverse(self.address) + (f"?{self.query}" if self.query else "")


QUEUES: tuple[Queue, ...] = (
    Queue(
        "checks",
        "People to look into",
        "parties.view_subscribercheck",
        "admin:console_checks",
        "",
        lambda: SubscriberCheck.objects.filter(state=SubscriberCheck.State.PENDING),
        is_trouble=False,
    ),
    Queue(
        "checkers",
        "Checkers that do not answer",
        "parties.view_subscribercheck",
        "admin:console_checks",
        "state=asking",
        lambda: CheckProvider.objects.filter(open_until__isnull=False),
    ),
    Queue(
        "orders",
        "Orders in progress",
        "provisioning.view_productorder",
        "admin:console_orders",
        "state=open",
        lambda: ProductOrder.objects.filter(state__in=OPEN_ORDERS),
        is_trouble=False,
    ),
    Queue(
        "fallout",
        "Fallout",
        "provisioning.view_productorder",
        "admin:console_fallout",
        "",
        lambda: OrderTask.objects.filter(state=OrderTask.State.FALLOUT),
    ),
    Queue(
        "visits",
        "Visits to close",
        "provisioning.view_appointment",
        "admin:console_visits",
        "show=overdue",
        lambda: visit_days.overdue(timezone.now()),
    ),
    Queue(
        "stuck",
        "Tasks that nobody works on",
        "provisioning.view_productorder",
        "admin:console_fallout",
        "",
        lambda: worklist.without_owner(OrderTask.objects.all(), timezone.now()),
    ),
    Queue(
        "late_partners",
        "Partners that are late",
        "provisioning.view_productorder",
        "admin:console_partner_orders",
        "show=overdue",
        lambda: provisioning_queries.overdue(ServiceOrder.objects.all(), timezone.now()),
    ),
    Queue(
        "not_taken_back",
        "Not taken back by a partner",
        "provisioning.view_productorder",
        "admin:console_partner_orders",
        "show=stuck",
        lambda: Delivery.objects.filter(state=Delivery.State.PARKED),
    ),
    Queue(
        "sessions",
        "Sessions that stay as they were",
        "provisioning.view_accesssession",
        "admin:console_online",
        "trouble=1",
        lambda: AccessSession.objects.filter(ended_at__isnull=True).exclude(trouble=""),
    ),
    Queue(
        "systems",
        "Systems that tasks wait for",
        "provisioning.view_productorder",
        "admin:console_systems",
        "",
        lambda: OutsideSystem.objects.filter(open_until__isnull=False),
    ),
    Queue(
        "requests",
        "Address requests",
        "ipam.view_overallocationrequest",
        "admin:console_overallocation",
        "",
        lambda: OverallocationRequest.objects.filter(state=OverallocationRequest.State.PENDING),
        is_trouble=False,
    ),
    Queue(
        "blocks",
        "Servers that need addresses",
        "ipam.view_blockrequest",
        "admin:console_block_requests",
        "",
        lambda: BlockRequest.objects.filter(state=BlockRequest.State.ASKED),
        is_trouble=False,
    ),
    Queue(
        "stuck_blocks",
        "Further blocks to look at",
        "ipam.view_blockrequest",
        "admin:console_block_requests",
        "show=trouble",
        lambda: BlockRequest.objects.filter(
            Q(state=BlockRequest.State.PARKED)
            | Q(state=BlockRequest.State.REFUSED, seen_at__isnull=True)
        ),
    ),
    Queue(
        "stuck_returns",
        "Blocks that do not go back",
        "ipam.view_blockrequest",
        "admin:ipam_blockreturn_changelist",
        "state__exact=parked",
        lambda: BlockReturn.objects.filter(state=BlockReturn.State.PARKED),
    ),
    Queue(
        "lists",
        "Coverage lists to decide on",
        "qualification.change_coverageimport",
        "admin:console_imports",
        "state=previewed",
        lambda: CoverageImport.objects.filter(state=CoverageImport.State.PREVIEWED),
        is_trouble=False,
    ),
    Queue(
        "networks",
        "Networks that do not answer",
        "qualification.view_providerconnection",
        "admin:qualification_providerconnection_changelist",
        "open_until__isempty=0",
        lambda: ProviderConnection.objects.filter(open_until__isnull=False, active=True),
    ),
    Queue(
        "accounting",
        "Unreadable accounting",
        "provisioning.view_accountinginbox",
        "admin:provisioning_accountinginbox_changelist",
        "fault__isempty=0",
        lambda: AccountingInbox.objects.exclude(fault=""),
    ),
    Queue(
        "ordering",
        "Networks that take no orders",
        "provisioning.view_deliveryconnection",
        "admin:provisioning_deliveryconnection_changelist",
        "open_until__isempty=0",
        lambda: DeliveryConnection.objects.filter(open_until__isnull=False, active=True),
    ),
    Queue(
        "usage",
        "Rating errors",
        "rating.view_usage",
        "admin:console_rating_errors",
        "",
        reported.in_error,
    ),
    Queue(
        "disputes",
        "Disputes to answer",
        "rating.view_dispute",
        "admin:console_disputes",
        "",
        lambda: Dispute.objects.filter(state=Dispute.State.OPEN),
        is_trouble=False,
    ),
    Queue(
        "webhooks",
        "Parked webhooks",
        "parties.view_webhookdelivery",
        "admin:console_webhooks",
        "state=parked",
        lambda: WebhookDelivery.objects.filter(state=WebhookDelivery.State.PARKED),
    ),
    Queue(
        "notices",
        "Parked notices",
        "notices.view_notice",
        "admin:notices_notice_changelist",
        "state__exact=parked",
        lambda: Notice.objects.filter(state=Notice.State.PARKED),
    ),
    Queue(
        "events",
        "Parked events",
        "ispops.view_eventdelivery",
        "admin:ispops_eventdelivery_changelist",
        "delivered_at__isempty=1&next_attempt_at__isempty=1",
        lambda: EventDelivery.objects.filter(
            delivered_at__isnull=True, next_attempt_at__isnull=True
        ),
    ),
)


class CountUpTo(Subquery):
    """The number of rows of a query, counted no further than the query's own limit."""

    template = "(SELECT count(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


def visible(user: User) -> list[Queue]:
    """Return the queues that this member of staff may see, in the order of work."""
    return [queue for queue in QUEUES if user.has_perm(queue.permission)]


def counts(request: HttpRequest) -> dict[str, int]:
    """Return how much waits in each queue that the user may see, up to `MOST` + 1.

    Asked for by the sidebar and the dashboard of one page, so it is kept on the request.
    """
    kept: dict[str, int] | None = getattr(request, "_console_queue_counts", None)
    if kept is None:
        kept = _count(request.user, visible(request.user))  # type: ignore[arg-type]
        request._console_queue_counts = kept  # type: ignore[attr-defined]
    return kept


def _count(user: User, queues: Iterable[Queue]) -> dict[str, int]:
    asked = {
        queue.key: CountUpTo(queue.rows().order_by().values("pk")[: MOST + 1]) for queue in queues
    }
    if not asked:
        return {}
    # The user's own row is the one row that every such query needs to hang on.
    counted: Any = User.objects.filter(pk=user.pk).values(**asked).get()
    return dict(counted)


def shown(count: int) -> str:
    """Write a count for people: `999+` where counting stopped."""
    return f"{MOST}+" if count > MOST else str(count)


def by_state(rows: QuerySet[Any]) -> dict[str, int]:
    """Return how many rows are in each state."""
    return dict(rows.order_by().values_list("state").annotate(Count("pk")))
