"""What may be asked about use and money; who may see what is decided here."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import (
    BigIntegerField,
    Case,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, TruncDate
from django.db.models.lookups import IsNull

from ispops.money import AmountField, format_money
from ispops.parties.models import Partner, Subscriber
from ispops.periods import Period
from provisioning.models import PartnerSubscriber, Service
from rating.metered import SOURCE
from rating.models import Charge, Purchase, RatedUsage, SettlementStatement, Usage


@dataclass(frozen=True, slots=True)
class DayUsage:
    """The traffic of a line on one day of the ISP's time zone."""

    day: date
    download_bytes: int
    upload_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.download_bytes + self.upload_bytes


def usage_by_day(subscriber: Subscriber, line: Service, period: Period) -> list[DayUsage]:
    """Return a line's traffic by day: every day from the period's first to the last with any.

    A slice counts on the day on which it began. Empty when there was none.
    """
    zone = ZoneInfo(settings.BILLING_TIME_ZONE)
    rows = (
        _traffic(subscriber, line, period)
        .annotate(day=TruncDate("started_at", tzinfo=zone))
        .values("day")
        .annotate(down=Sum(_octets("download_bytes")), up=Sum(_octets("upload_bytes")))
        .order_by("day")
    )
    known = {row["day"]: DayUsage(row["day"], row["down"] or 0, row["up"] or 0) for row in rows}
    if not known:
        return []
    first = period.start.astimezone(zone).date()
    days = [first + timedelta(days=n) for n in range((max(known) - first).days + 1)]
    return [known.get(day, DayUsage(day, 0, 0)) for day in days]


def _traffic(subscriber: Subscriber, line: Service, period: Period) -> QuerySet[Usage]:
    return Usage.objects.filter(
        source=SOURCE,
        subscriber=subscriber,
        service=line,
        started_at__gte=period.start,
        started_at__lt=period.end,
    )


def _octets(name: str) -> Any:
    return Cast(KeyTextTransform(name, "attributes"), BigIntegerField())


def charges_of(subscriber: Subscriber, period: Period | None = None) -> QuerySet[Charge]:
    """Return a subscriber's charges, of one billing period or of all time, newest first."""
    charges = Charge.objects.filter(subscriber=subscriber)
    if period is not None:
        charges = charges.filter(period_start__gte=period.start, period_start__lt=period.end)
    return charges.select_related(
        "offering", "bundle", "price", "bsp", "network_provider", "bill_line__bill"
    ).order_by("-charged_at", "-pk")


_RULES = {
    "one_off": "A price that is paid once",
    "recurring": "A price for a billing period, for the part of it that was used",
    "usage": "A price by use: what all use of the period costs, less what it cost before",
    "minimum": "What use costs at least in a period, less what it cost",
    "reversal": "A charge that was taken back",
    "rerating": "What use comes to at the right price, less what was charged for it",
    "refund": "A part of a charge that was given back: the same part of each share and of the tax",
    "share": "A partner's share that was put right; what you pay stays the same",
    "reservation": "A part of what was held for a partner, as you let it do",
}
_CAUSES = {
    "purchase": "The purchase",
    "use": "The use",
    "recurring": "What was active",
    "activation": "What became active",
    "construction": "Building the line",
    "minimum": "The end of the period",
    "rerating": "Putting a price right",
    "reversal": "The charge that was taken back",
    "refund": "The charge that was given back in part",
    "unused": "The charge for time that was not used",
    "share": "The charge that is shared",
    "reservation": "The reservation",
}


def why(charge: Charge) -> dict[str, Any]:
    """Say why a charge is what it is: *why this amount*, in words, from the charge alone.

    Keys: `rule`, `price` (its name and version), `arithmetic`, `bundle`, `tax`, `because`,
    `shares` as a list of words, `caused_by` and `cause_id`; what does not apply is empty. Costs no
    query for a charge of `charges_of`.
    """
    kind, _, rest = charge.cause.partition(":")
    explained = charge.explanation
    version = explained.get("price_version", "")
    name = charge.price.name if charge.price else ""
    if explained.get("rule") == "rerating":
        # The price it is about is the wrong one, by which it does not come to this.
        name = version = ""
    return {
        "rule": _RULES.get(explained.get("rule", ""), ""),
        "price": f"{name} ({version})" if name else version,
        "arithmetic": explained.get("arithmetic", ""),
        "bundle": explained.get("bundle", ""),
        "tax": explained.get("tax", ""),
        "because": explained.get("because", ""),
        "shares": _shares(charge),
        "caused_by": _CAUSES.get(kind, kind),
        "cause_id": rest.partition(":")[0],
    }


def uses_of(charge: Charge) -> QuerySet[RatedUsage]:
    """Return the rated uses that a charge adds up, in the order in which they were rated."""
    if charge.step_after is None:
        return RatedUsage.objects.none()
    return RatedUsage.objects.filter(
        service=charge.service_id,
        price=charge.price_id,
        period_start=charge.period_start,
        offering=charge.offering_id,
        bsp=charge.bsp_id,
        network_provider=charge.network_provider_id,
        step__gt=charge.step_before,
        step__lte=charge.step_after,
    ).order_by("step")


def _shares(charge: Charge) -> list[str]:
    parts = [(settings.ISP_NAME, charge.isp_share), (charge.bsp, charge.bsp_share)]
    parts.append((charge.network_provider, charge.network_provider_share))
    return [f"{who}: {format_money(amount, charge.currency)}" for who, amount in parts if who]


# --- What a partner may see ---------------------------------------------------------------------


def shares_of(partner: Partner) -> QuerySet[Charge]:
    """Return the charges in which a partner has a part, with that part as `share`.

    A partner that is BSP and network provider of one charge gets both parts.
    """

    def part(role: str) -> Case:
        return Case(
            When(**{role: partner}, then=F(f"{role}_share")),
            default=Value(0),
            output_field=AmountField(),
        )

    share = ExpressionWrapper(part("bsp") + part("network_provider"), output_field=AmountField())
    own = Charge.objects.filter(Q(bsp=partner) | Q(network_provider=partner))
    return own.annotate(share=share)


def partner_charges(partner: Partner) -> QuerySet[Charge]:
    """Return what a partner may know of the charges that it shares in: its own part, newest first.

    Amounts of the subscriber and shares of others are not read at all; the subscriber is named by
    the partner's own `subscriber_ref`, empty where it never got one.
    """
    return (
        shares_of(partner)
        .annotate(subscriber_ref=reference_of(partner))
        .select_related("offering")
        .only("offering__code", "kind", "quantity", "unit", "currency", "period_start",
              "period_end", "charged_at", "cause", "reverses_id", "corrects_id")
        .order_by("-charged_at", "-pk")
    )  # fmt: skip


def partner_purchases(partner: Partner) -> QuerySet[Purchase]:
    """Return the purchases of a partner's own offerings, newest first, by its own references."""
    return (
        Purchase.objects.filter(offering__provider=partner)
        .annotate(subscriber_ref=reference_of(partner))
        .select_related("offering", "service_order")
        .order_by("-placed_at", "-pk")
    )


def partner_usage(partner: Partner) -> QuerySet[Usage]:
    """Return the usage that a partner reported, newest first: how far each is, and its own part.

    `state`, `is_charged`, which is true once a charge adds it up, and `share`, which is None where
    it is not rated.
    """
    rated = RatedUsage.objects.filter(usage=OuterRef("pk"))
    return (
        Usage.objects.filter(source=partner.code)
        .with_state()
        .annotate(
            is_charged=Exists(rated.filter(Exists(_charge_of_rated()))),
            share=Subquery(rated.filter(bsp=partner).values("bsp_share")[:1]),
            currency=Subquery(rated.values("price__currency")[:1]),
        )
        .order_by("-pk")
    )


def _charge_of_rated() -> QuerySet[Charge]:
    """Return the charge that adds up the rated use of an outer query; see `uses_of`."""
    same = {name: OuterRef(name) for name in ("service", "price", "period_start", "offering")}
    return Charge.objects.filter(
        _same_or_none("bsp"),
        _same_or_none("network_provider"),
        step_before__lt=OuterRef("step"),
        step_after__gte=OuterRef("step"),
        **same,
    )


def _same_or_none(name: str) -> Q:
    is_none = Q(IsNull(OuterRef(name), True), **{f"{name}__isnull": True})
    return Q(**{name: OuterRef(name)}) | is_none


def reference_of(partner: Partner) -> Coalesce:
    """Return a partner's own name for the subscriber of a row; empty where it never got one."""
    known = PartnerSubscriber.objects.filter(partner=partner, subscriber=OuterRef("subscriber"))
    return Coalesce(Subquery(known.values("reference")[:1]), Value(""))


def statements_of(partner: Partner) -> QuerySet[SettlementStatement]:
    """Return a partner's statements, newest first."""
    return SettlementStatement.objects.filter(partner=partner).order_by("-period_start")
