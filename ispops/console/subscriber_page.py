"""Everything of one subscriber, in a number of queries that grows with its lines alone."""

import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.conf import settings

from ipam import queries as ipam_queries
from ipam.models import Allocation, ExtraAddress, OverallocationRequest
from ispops.catalog import fair_use
from ispops.console import charts, order_page, timeline
from ispops.console.session_page import SessionView
from ispops.parties.models import PaymentMethod, Subscriber, User, WebhookDelivery
from ispops.periods import Period, billing_period
from provisioning import queries as provisioning_queries
from provisioning.models import (
    PartnerSubscriber,
    ProductOrder,
    Service,
    ServiceOrder,
    ServiceSuspension,
)
from qualification.models import AccessPort
from rating import balances, billing
from rating import queries as rating_queries
from rating.claim_queries import PARTS, with_dispute
from rating.models import CustomerBill, PassedThreshold, Purchase
from rating.standings import standings

# How many of the newest rows of each kind are on the page; the lists hold the rest.
MOST = 12
MOST_SESSIONS = 5


def everything(subscriber: Subscriber, user: User, at: datetime) -> dict[str, Any]:
    """Return the page about a subscriber, with the parts that this user may see.

    A part that the user may not see is missing from the dictionary, and so from the page.
    """
    services = _services(subscriber)
    lines = [service for service in services if service.line_id is None]
    page: dict[str, Any] = {
        "subscriber": subscriber,
        "logins": list(subscriber.users.order_by("email")),
        "lines": _lines(lines, services, at),
        **_invitation(subscriber, at),
        "acceptances": list(
            subscriber.terms_acceptances.select_related("version", "user").order_by("-accepted_at")
        ),
        "payment_methods": list(
            subscriber.payment_methods.exclude(state=PaymentMethod.State.ENDED).order_by("pk")
        ),
    }
    names = {subscriber.public_id: ""}
    names |= {service.public_id: service.offering.name for service in services}
    if user.has_perm("provisioning.view_productorder"):
        page["orders"] = _orders(subscriber)
        page["may_order"] = user.has_perm("provisioning.add_productorder")
        page["service_orders"] = _service_orders(subscriber)
        page["references"] = list(
            PartnerSubscriber.objects.filter(subscriber=subscriber).select_related("partner")
        )
        names |= {order.row.public_id: "" for order in page["orders"]}
        names |= {
            asked.public_id: f"{asked.partner}: {asked.offering}"
            for asked in page["service_orders"]
        }
    if user.has_perm("ipam.view_overallocationrequest"):
        page["requests"] = _requests(subscriber)
        # A line has asked before it asks too often, so those that did are among these.
        flooded = [row.holder for row in page["requests"] if row.holder.refused_by_limit]
        page["floods"] = list({holder.pk: holder for holder in flooded}.values())
        page["addresses"] = _addresses(subscriber)
        page["static_addresses"] = ipam_queries.static_addresses_of(subscriber)
        page["extras"] = _extras(subscriber)
        names |= {row.public_id: row.device for row in [*page["requests"], *page["extras"]]}
    if user.has_perm("rating.view_charge"):
        page |= _money(subscriber, services, at)
        names |= {row.public_id: row.offering.name for row in page["purchases"]}
        names |= {charge["row"].public_id: "" for charge in page["charges"]}
        names |= {bill.public_id: f"Bill {bill.number}" for bill in page["bills"]}
    if user.has_perm("parties.view_webhookdelivery"):
        page["webhooks"] = _webhooks(names)
    if user.has_perm("notices.view_notice"):
        page["notices"] = list(subscriber.notices.order_by("-created_at")[:MOST])
    page["timeline"] = timeline.of(
        names,
        subscriber,
        may_see_audit=user.has_perm("parties.view_auditentry"),
        notices=page.get("notices", ()),
    )
    page["waiting"] = _waiting(page)
    return page


def _invitation(subscriber: Subscriber, at: datetime) -> dict[str, Any]:
    """The newest invitation to make the login, and what has become of it."""
    row = subscriber.invitations.order_by("-created_at").first()
    return {"invitation": row, "invitation_state": row.state_at(at) if row else ""}


def _services(subscriber: Subscriber) -> list[Service]:
    return list(
        subscriber.services.select_related(
            "offering__provider", "bundle", "premises", "line", "credential"
        ).order_by("-created_at")
    )


def _lines(lines: list[Service], services: list[Service], at: datetime) -> list[dict[str, Any]]:
    """Each line with what it carries, its port, its login and what the network last said of it."""
    ports = {
        port.service_ref: port
        for port in AccessPort.objects.filter(
            service_ref__in=[line.public_id for line in lines]
        ).select_related("node")
    }
    last = provisioning_queries.last_sessions(lines, most=MOST_SESSIONS)
    suspensions: dict[Any, list[ServiceSuspension]] = {}
    for row in provisioning_queries.open_suspensions(lines):
        suspensions.setdefault(row.service_id, []).append(row)
    slowdowns = provisioning_queries.open_slowdowns(lines)
    sessions = {key: [SessionView(row) for row in rows] for key, rows in last.items()}
    return [
        {
            "row": line,
            "port": ports.get(line.public_id),
            "online": provisioning_queries.online(line, at),
            "credential": getattr(line, "credential", None),
            "sessions": sessions.get(line.pk, []),
            "in_trouble": any(session.trouble for session in sessions.get(line.pk, [])),
            "suspensions": suspensions.get(line.pk, []),
            "slowdown": slowdowns.get(line.pk),
            # Of the form that changes it: sent twice, it is one order.
            "key": f"console-{secrets.token_urlsafe(16)}",
            "carried": [service for service in services if service.line_id == line.pk],
        }
        for line in lines
    ]


def _orders(subscriber: Subscriber) -> list[order_page.OrderView]:
    orders = order_page.with_work(
        ProductOrder.objects.filter(subscriber=subscriber).order_by("-placed_at")[:MOST]
    )
    return [order_page.describe(order) for order in orders]


def _service_orders(subscriber: Subscriber) -> list[ServiceOrder]:
    return list(
        ServiceOrder.objects.filter(service__subscriber=subscriber)
        .select_related("partner", "offering", "delivery")
        .prefetch_related("delivery__tries", "delivery__notices")
        .order_by("-requested_at")[:MOST]
    )


def _requests(subscriber: Subscriber) -> list[OverallocationRequest]:
    return list(
        OverallocationRequest.objects.filter(holder__subscriber=subscriber)
        .select_related("server", "addon", "decided_by_user", "holder")
        .order_by("-asked_at")[:MOST]
    )


def _addresses(subscriber: Subscriber) -> list[Allocation]:
    return list(ipam_queries.addresses_of(subscriber))


def _extras(subscriber: Subscriber) -> list[ExtraAddress]:
    return list(
        ExtraAddress.objects.filter(holder__subscriber=subscriber)
        .select_related("addon")
        .order_by("-granted_at")[:MOST]
    )


def _money(subscriber: Subscriber, services: list[Service], at: datetime) -> dict[str, Any]:
    period = billing_period(
        at, anchor_day=subscriber.billing_anchor_day, zone=settings.BILLING_TIME_ZONE
    )
    return {
        "period": period,
        "running_bill": (running := billing.running_bill(subscriber=subscriber, at=at)),
        "prepaid": next(balances.prepaid(subscriber, at, running.coming), None),
        "bills": list(
            CustomerBill.objects.filter(subscriber=subscriber).order_by("-period_start")[:MOST]
        ),
        "charges": [
            {
                "row": row,
                "why": rating_queries.why(row),
                "can_refund": row.amount_net > 0 and not row.corrects_id,
                # Of the form that gives it back: sent twice, it is given back once.
                "key": f"console-{secrets.token_urlsafe(16)}",
            }
            # Use within the allowance is a charge of nothing, and there is one every few minutes.
            for row in with_dispute(rating_queries.charges_of(subscriber).exclude(amount_net=0))[
                :MOST
            ]
        ],
        "purchases": list(
            Purchase.objects.filter(subscriber=subscriber, part_of__isnull=True)
            .select_related("offering", "service_order", "service", "line__offering", "placed_by")
            .prefetch_related(PARTS)
            .order_by("-placed_at")[:MOST]
        ),
        # Of the forms that give a bundle back: each purchase has refunds of its own.
        "refund_key": f"console-{secrets.token_urlsafe(16)}",
        "usage": _usage(subscriber, services, period, at),
    }


def _usage(
    subscriber: Subscriber, services: list[Service], period: Period, at: datetime
) -> list[dict[str, Any]]:
    """The use of each line in the running period, and what was told of it and of what it carries.

    The bars are of everything of which something is included.
    """
    found = standings(services, at)
    passed: dict[Any, list[PassedThreshold]] = {}
    rows = PassedThreshold.objects.filter(
        service__in=[service.pk for service in services], period_start=period.start
    )
    for row in rows.order_by("passed_at", "percent"):
        passed.setdefault((row.service_id, row.price_id), []).append(row)
    rules = fair_use.fair_use_at(
        at, {key for s in services for key in (s.offering_id, s.bundle_id) if key}
    )
    return [
        {
            **_traffic(subscriber, line, period),
            "rule": fair_use.rule_of(line.offering_id, line.bundle_id, rules),
            "standings": [
                {
                    "row": standing,
                    "passed": passed.get((standing.service.pk, standing.price.pk), []),
                }
                for standing in found
                if line.pk in (standing.service.pk, standing.service.line_id)
                and (standing.included or standing.used)
            ],
        }
        for line in services
        if line.line_id is None
    ]


def _traffic(subscriber: Subscriber, line: Service, period: Period) -> dict[str, Any]:
    days = rating_queries.usage_by_day(subscriber, line, period)
    return {
        "line": line,
        "days": days,
        "bars": charts.bars([(f"{day.day:%d %b}", day.total_bytes) for day in days]),
        "total_bytes": sum(day.total_bytes for day in days),
    }


def _webhooks(ids: Iterable[str]) -> list[WebhookDelivery]:
    return list(
        WebhookDelivery.objects.filter(subject__in=list(ids))
        .select_related("partner")
        .order_by("-created_at")[:MOST]
    )


def _waiting(page: dict[str, Any]) -> dict[str, Any]:
    """What somebody has to do for this subscriber now: shown first."""
    return {
        "requests": [row for row in page.get("requests", []) if row.state == "pending"],
        "fallout": [
            {"order": order.row, "task": step.task}
            for order in page.get("orders", [])
            for step in order.steps
            if step.task.state == "fallout"
        ],
        "webhooks": [row for row in page.get("webhooks", []) if row.state == "parked"],
        "notices": [row for row in page.get("notices", []) if row.state == "parked"],
    }
