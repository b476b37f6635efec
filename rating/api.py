"""What partners report and see of use and money (TMF635 usage, TMF678 and settlement).

A partner sees its own purchases, its own reports and its own shares, and nothing of anybody else:
no amount that a subscriber pays, and no name of a subscriber but its own reference.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.db import opaque_id
from ispops.errors import InvalidInput, NotFound
from ispops.parties.rest import calling_partner, idempotent
from rating import intake, queries, reported, usage, usage_stream
from rating.models import Charge, Purchase, SettlementStatement, Usage
from rating.usage_lines import Counts, outcome
from rating.usage_parsers import ReportParser

# --- What goes over the wire --------------------------------------------------------------------


class UsageEventIn(serializers.Serializer[Any]):
    """One use of a product by a subscriber. Only described here: each field is checked by the verb,
    so that one bad event of ten thousand costs that event and no other."""

    event_id = serializers.CharField(
        max_length=120, help_text="Your own id of the event; it counts once, for ever."
    )
    subscriber_ref = serializers.CharField(
        max_length=40, help_text="The subscriber, as the service order named it."
    )
    offering = serializers.CharField(max_length=50, help_text="The code of your product.")
    started_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(required=False, allow_null=True)
    quantity = serializers.IntegerField(min_value=1, help_text="Whole units.")
    unit = serializers.CharField(max_length=20, help_text="The unit, such as `minute`.")
    attributes = serializers.DictField(required=False)


class UsageReportIn(serializers.Serializer[Any]):
    events = serializers.ListField(child=UsageEventIn(), max_length=usage.MOST_EVENTS)


class RowResultOut(serializers.Serializer[Any]):
    """What became of one event, in the order of the report."""

    event_id = serializers.CharField()
    status = serializers.ChoiceField(
        choices=["accepted", "duplicate", "conflict", "error", "rejected"],
        help_text="`accepted`: it will be rated. `duplicate`: known, nothing changed. `conflict`: "
        "known with other content, which stays. `error`: it is stored, and waits for us; counted "
        "in `in_error`. `rejected`: it is not stored; correct what the `field` names, and send it "
        "again.",
    )
    code = serializers.CharField()
    reason = serializers.CharField()
    field = serializers.CharField()


class UsageReportOut(serializers.Serializer[Any]):
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    conflicts = serializers.IntegerField()
    in_error = serializers.IntegerField(help_text="Stored, and waiting for what is missing.")
    rejected = serializers.IntegerField(help_text="Not stored: correct them and send them again.")
    results = RowResultOut(many=True)


class UsageOut(serializers.ModelSerializer[Usage]):
    """A reported use and how far it is."""

    id = serializers.SerializerMethodField()
    offering = serializers.CharField(source="product_ref")
    state = serializers.ChoiceField(choices=Usage.State.choices)
    is_charged = serializers.BooleanField(
        help_text="A charge adds it up, so your part is among the settlement shares. What is rated "
        "is charged at the latest after the next night."
    )
    share = serializers.DecimalField(
        max_digits=20,
        decimal_places=6,
        allow_null=True,
        help_text="Your own part of what it came to; null while it is not rated.",
    )
    currency = serializers.CharField(allow_null=True)

    class Meta:
        model = Usage
        fields = [
            "id", "event_id", "subscriber_ref", "offering", "started_at", "ended_at", "quantity",
            "unit", "attributes", "received_at", "state", "error_code", "error", "is_charged",
            "share", "currency",
        ]  # fmt: skip

    def get_id(self, use: Usage) -> str:
        return opaque_id("usg", use.pk)


class PurchaseOut(serializers.ModelSerializer[Purchase]):
    id = serializers.CharField(source="public_id")
    subscriber_ref = serializers.CharField()
    offering = serializers.CharField(source="offering.code")
    service_order = serializers.CharField(source="service_order.public_id", default=None)

    class Meta:
        model = Purchase
        fields = [
            "id", "state", "subscriber_ref", "offering", "channel", "service_order",
            "placed_at", "settled_at", "reason",
        ]  # fmt: skip


class ShareOut(serializers.ModelSerializer[Charge]):
    """The caller's own part of one charge; below zero when a charge was taken back."""

    id = serializers.CharField(source="public_id")
    subscriber_ref = serializers.CharField()
    offering = serializers.CharField(source="offering.code")
    share = serializers.DecimalField(max_digits=20, decimal_places=6)
    reverses = serializers.SerializerMethodField()
    corrects = serializers.SerializerMethodField()

    class Meta:
        model = Charge
        fields = [
            "id", "kind", "subscriber_ref", "offering", "quantity", "unit", "period_start",
            "period_end", "share", "currency", "charged_at", "reverses", "corrects",
        ]  # fmt: skip

    def get_corrects(self, charge: Charge) -> str | None:
        return Charge(pk=charge.corrects_id).public_id if charge.corrects_id else None

    def get_reverses(self, charge: Charge) -> str | None:
        return Charge(pk=charge.reverses_id).public_id if charge.reverses_id else None


class StatementOut(serializers.ModelSerializer[SettlementStatement]):
    id = serializers.CharField(source="public_id")
    amount = serializers.DecimalField(max_digits=20, decimal_places=6)

    class Meta:
        model = SettlementStatement
        fields = [
            "id", "period_start", "period_end", "currency", "charge_count", "amount", "issued_at",
        ]  # fmt: skip


# --- Usage --------------------------------------------------------------------------------------


class UsageReports(generics.ListAPIView[Usage]):
    """The usage that the calling partner reported."""

    scope_area = "usage"
    serializer_class = UsageOut
    parser_classes = [ReportParser]

    def get_queryset(self) -> QuerySet[Usage]:
        if getattr(self, "swagger_fake_view", False):
            return Usage.objects.none()
        partner = calling_partner(self.request)
        own = queries.partner_usage(partner)
        if (event_id := self.request.query_params.get("event_id")) is not None:
            own = own.filter(pk__in=reported.of_events(partner.code, [event_id]).values("pk"))
        return _filtered(own, self.request, state=Usage.State.values)

    @extend_schema(
        summary="List reported usage",
        description="`share` is your part of what it came to, as soon as it is rated. It is among "
        "the settlement shares when it has been charged, at the latest after the next night.",
        parameters=[
            OpenApiParameter("state", enum=Usage.State.values),
            OpenApiParameter("event_id"),
        ],
        responses={200: UsageOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        summary="Report usage",
        description=(
            "One event, or up to 10,000 in `events`. Each gets its own answer, and good ones are "
            "kept whatever the others are. Sending an event again changes nothing, so a report may "
            "be repeated without an `Idempotency-Key`; with one, its first answer is repeated.\n\n"
            "Any number of events can be sent as `application/x-ndjson`, one on each line. They "
            "are stored some thousands at a time. The answer is NDJSON, too, and comes meanwhile: "
            "for each line an object as in `results` with the number of the `line`, empty lines "
            "not counted, and at the end an object `summary` with the counts, `is_complete`, and "
            "the `problem` where the stream stopped early. What was answered is stored."
        ),
        request={
            "application/json": PolymorphicProxySerializer(
                component_name="EventOrReport",
                serializers=[UsageEventIn, UsageReportIn],
                resource_type_field_name=None,
            ),
            usage_stream.MEDIA_TYPE: OpenApiTypes.STR,
        },
        responses={200: UsageReportOut, (200, usage_stream.MEDIA_TYPE): OpenApiTypes.STR},
        parameters=[
            OpenApiParameter("Idempotency-Key", location=OpenApiParameter.HEADER, required=False)
        ],
    )
    def post(self, request: Request) -> HttpResponseBase:
        if request.content_type.partition(";")[0].strip().lower() == usage_stream.MEDIA_TYPE:
            return usage_stream.answer(request._request, calling_partner(request))
        if "Idempotency-Key" in request.headers:
            return self._report_once(request)
        return self._report(request)

    @idempotent
    def _report_once(self, request: Request) -> Response:
        return self._report(request)

    def _report(self, request: Request) -> Response:
        results = intake.take_in(
            partner=calling_partner(request),
            rows=_events(request.data),
            received_at=timezone.now(),
        )
        counts = Counts()
        counts.add(results)
        # As `UsageReportOut`, which would take longer over ten thousand rows than it took to store.
        told = [result._asdict() | {"status": outcome(result)} for result in results]
        return Response({**asdict(counts), "results": told})


def _events(body: Any) -> Sequence[Any]:
    """Take the events out of a body: one object, or a list of them in `events`."""
    if not isinstance(body, dict):
        raise InvalidInput("Send one event, or an object with a list of them in events.")
    if "events" not in body:
        return [body]
    if not isinstance(body["events"], list):
        raise InvalidInput("This must be a list of events.", field="events")
    return body["events"]


# --- Purchases, shares and statements -----------------------------------------------------------


class Purchases(generics.ListAPIView[Purchase]):
    """The purchases of the calling partner's products."""

    scope_area = "purchases"
    serializer_class = PurchaseOut

    def get_queryset(self) -> QuerySet[Purchase]:
        if getattr(self, "swagger_fake_view", False):
            return Purchase.objects.none()
        own = queries.partner_purchases(calling_partner(self.request))
        return _filtered(own, self.request, state=Purchase.State.values)

    @extend_schema(
        summary="List purchases",
        parameters=[OpenApiParameter("state", enum=Purchase.State.values)],
        responses={200: PurchaseOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class OnePurchase(APIView):
    scope_area = "purchases"

    @extend_schema(summary="See a purchase", responses={200: PurchaseOut})
    def get(self, request: Request, public_id: str) -> Response:
        own = queries.partner_purchases(calling_partner(request))
        key = Purchase.key_of(public_id)
        purchase = own.filter(pk=key).first() if key else None
        if purchase is None:
            raise NotFound("There is no such purchase.")
        return Response(PurchaseOut(purchase).data)


class SettlementShares(generics.ListAPIView[Charge]):
    """The calling partner's own parts of charges."""

    scope_area = "settlement"
    serializer_class = ShareOut

    def get_queryset(self) -> QuerySet[Charge]:
        if getattr(self, "swagger_fake_view", False):
            return Charge.objects.none()
        own = queries.partner_charges(calling_partner(self.request))
        return _filtered(own, self.request, kind=Charge.Kind.values)

    @extend_schema(
        summary="List own shares of charges",
        description="Of purchases at once. Of usage after it has been charged: when the "
        "subscriber's bill is made, and every night. Until then your share of it is in `GET "
        "/usage` alone, and on no statement yet.",
        parameters=[OpenApiParameter("kind", enum=Charge.Kind.values)],
        responses={200: ShareOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class Statements(generics.ListAPIView[SettlementStatement]):
    """The calling partner's settlement statements."""

    scope_area = "settlement"
    serializer_class = StatementOut

    def get_queryset(self) -> QuerySet[SettlementStatement]:
        if getattr(self, "swagger_fake_view", False):
            return SettlementStatement.objects.none()
        return queries.statements_of(calling_partner(self.request))

    @extend_schema(
        summary="List statements",
        description="Each is the sum of your shares of all charges that were made in its period, "
        "in one currency; what was charged in another is on a statement of its own. Usage that was "
        "not charged before the period's end is on the next one.",
        responses={200: StatementOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


def _filtered(rows: QuerySet[Any], request: Request, **filters: list[str] | None) -> QuerySet[Any]:
    """Apply the filters that the address names; `None` takes any text.

    Raises:
        InvalidInput: a value is not one of those that the filter takes.
    """
    for name, choices in filters.items():
        wanted = request.query_params.get(name)
        if wanted is None:
            continue
        if choices is not None and wanted not in choices:
            raise InvalidInput(f"Use one of {', '.join(choices)}.", field=name)
        rows = rows.filter(**{name: wanted})
    return rows
