"""Balances and reservations: what is left, and what a partner holds of it (TMF654)."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import InvalidInput, NotFound
from ispops.parties.models import Partner, Subscriber
from ispops.parties.rest import calling_login, calling_partner, idempotent
from provisioning.models import PartnerSubscriber
from rating import balances, claim_queries, held, reservations
from rating.models import Reservation


class BucketOut(serializers.Serializer[Any]):
    """Something that is used up: money, or units of a product (TMF654 Bucket)."""

    kind = serializers.ChoiceField(["spending_limit", "prepaid", "standing_consent", "allowance"])
    name = serializers.CharField()
    subject = serializers.CharField(help_text="The account, the consent or the service.")
    unit = serializers.CharField(help_text="A currency, or the unit of the use.")
    allowed = serializers.DecimalField(max_digits=26, decimal_places=6, allow_null=True)
    used = serializers.DecimalField(max_digits=26, decimal_places=6)
    reserved = serializers.DecimalField(max_digits=26, decimal_places=6)
    remaining = serializers.DecimalField(max_digits=26, decimal_places=6, allow_null=True)


class BalanceOut(serializers.Serializer[Any]):
    """What a subscriber owes by the bills, and what is left (TMF654 AccumulatedBalance)."""

    at = serializers.DateTimeField()
    subscriber = serializers.CharField()
    currency = serializers.CharField()
    owed = serializers.DecimalField(max_digits=20, decimal_places=6)
    buckets = BucketOut(many=True)


class PartnerBalanceOut(serializers.Serializer[Any]):
    """What a partner may know of it: its own consent, and its own products."""

    at = serializers.DateTimeField()
    subscriber_ref = serializers.CharField()
    buckets = BucketOut(many=True)


class ReservationIn(serializers.Serializer[Any]):
    subscriber_ref = serializers.CharField(max_length=40)
    offering = serializers.CharField(max_length=50, help_text="The code of your product.")
    net = serializers.DecimalField(
        max_digits=18, decimal_places=6, required=False, help_text="An amount before tax; or units."
    )
    units = serializers.IntegerField(
        min_value=1, required=False, help_text="So many of it at its one-off price."
    )
    held_until = serializers.DateTimeField(
        help_text="Within seven days; at the latest the end of the calendar month."
    )


class UseIn(serializers.Serializer[Any]):
    """How much of it is used; by neither of the two, all that is left."""

    net = serializers.DecimalField(max_digits=18, decimal_places=6, required=False)
    units = serializers.IntegerField(min_value=1, required=False)
    is_last = serializers.BooleanField(
        required=False, default=False, help_text="The rest is released with it."
    )


class ReservationOut(serializers.ModelSerializer[Reservation]):
    """What is held for the calling partner, before tax, and how much of it is used."""

    id = serializers.CharField(source="public_id")
    href = serializers.SerializerMethodField()
    subscriber_ref = serializers.CharField()
    offering = serializers.CharField(source="offering.code")
    net = serializers.DecimalField(max_digits=20, decimal_places=6)
    used_net = serializers.DecimalField(max_digits=20, decimal_places=6)
    is_live = serializers.SerializerMethodField(help_text="It holds something now.")

    class Meta:
        model = Reservation
        fields = [
            "id", "href", "subscriber_ref", "offering", "currency", "net", "used_net", "units",
            "held_at", "held_until", "released_at", "is_live",
        ]  # fmt: skip

    def get_href(self, row: Reservation) -> str:
        return reverse("reservation", args=[row.public_id])

    def get_is_live(self, row: Reservation) -> bool:
        return row.released_at is None and row.held_until > timezone.now()


class AccountBalances(APIView):
    scope_area = "purchases"

    @extend_schema(
        summary="See what is left, of each account of the login",
        description="To the last charge, hold and rated use.",
        responses={200: BalanceOut(many=True)},
    )
    def get(self, request: Request) -> Response:
        accounts = calling_login(request).subscribers.order_by("created_at", "pk")
        found = [_with_name(account) for account in accounts]
        return Response(BalanceOut(found, many=True).data)


class PartnerBalance(APIView):
    scope_area = "purchases"

    @extend_schema(
        summary="See what is left of what a subscriber lets you charge, and of your products",
        responses={200: PartnerBalanceOut},
    )
    def get(self, request: Request, reference: str) -> Response:
        partner, now = calling_partner(request), timezone.now()
        known = PartnerSubscriber.objects.filter(partner=partner, reference=reference)
        found = known.select_related("subscriber").first()
        if found is None:
            raise NotFound("You have no such subscriber.")
        buckets = balances.balance_for(partner, found.subscriber, now)
        answer = {"at": now, "subscriber_ref": reference, "buckets": buckets}
        return Response(PartnerBalanceOut(answer).data)


class Reservations(generics.ListAPIView[Reservation]):
    """What is or was held for the calling partner."""

    scope_area = "purchases"
    serializer_class = ReservationOut

    def get_queryset(self) -> QuerySet[Reservation]:
        if getattr(self, "swagger_fake_view", False):
            return Reservation.objects.none()
        partner = calling_partner(self.request)
        own = claim_queries.partner_reservations(partner)
        live = self.request.query_params.get("live")
        if live not in {None, "true", "false"}:
            raise InvalidInput("Use true or false.", field="live")
        holding = held.live(timezone.now(), partner=partner).values("pk")
        if live is None:
            return own
        return own.filter(pk__in=holding) if live == "true" else own.exclude(pk__in=holding)

    @extend_schema(
        summary="Hold an amount",
        description="It counts against the subscriber's spending limit, and what its standing "
        "consent lets you charge, until it is used, released, or its time is over; `held_until` "
        "says when that is, never after the end of the calendar month. When the subscriber "
        "withdraws or changes the consent, it is released. Subscriptions cannot be held.",
        request=ReservationIn,
        responses={201: ReservationOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = ReservationIn(data=request.data)
        asked.is_valid(raise_exception=True)
        partner, wanted = calling_partner(request), asked.validated_data
        made = reservations.hold(
            partner=partner,
            subscriber_ref=wanted["subscriber_ref"],
            offering_code=wanted["offering"],
            net=wanted.get("net"),
            units=wanted.get("units"),
            held_until=wanted["held_until"],
            idempotency_key=request.headers["Idempotency-Key"].strip(),
            at=timezone.now(),
        )
        made.subscriber_ref = wanted["subscriber_ref"]  # type: ignore[attr-defined]
        shown = ReservationOut(made).data
        return Response(shown, status=201, headers={"Location": shown["href"]})

    @extend_schema(
        summary="List reservations",
        parameters=[OpenApiParameter("live", enum=["true", "false"])],
        responses={200: ReservationOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class OneReservation(APIView):
    scope_area = "purchases"

    @extend_schema(summary="See a reservation", responses={200: ReservationOut})
    def get(self, request: Request, public_id: str) -> Response:
        return Response(ReservationOut(_own(calling_partner(request), public_id)).data)


class ReservationUses(APIView):
    scope_area = "purchases"

    @extend_schema(
        summary="Use a part of what is held",
        description="It is charged at once. More than is left is refused with 409, and so is use "
        "after the subscriber has withdrawn the consent.",
        request=UseIn,
        responses={200: ReservationOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        asked = UseIn(data=request.data)
        asked.is_valid(raise_exception=True)
        partner, wanted = calling_partner(request), asked.validated_data
        reservations.use(
            reservation_id=_key_of(public_id),
            partner=partner,
            net=wanted.get("net"),
            units=wanted.get("units"),
            is_last=wanted["is_last"],
            idempotency_key=request.headers["Idempotency-Key"].strip(),
            at=timezone.now(),
        )
        return Response(ReservationOut(_own(partner, public_id)).data)


class ReservationRelease(APIView):
    scope_area = "purchases"

    @extend_schema(
        summary="Release what is held and not used", request=None, responses={200: ReservationOut}
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        partner, key = calling_partner(request), _key_of(public_id)
        reservations.release(reservation_id=key, partner=partner, at=timezone.now())
        return Response(ReservationOut(_own(partner, public_id)).data)


def _with_name(account: Subscriber) -> dict[str, Any]:
    balance = balances.balance_of(account, timezone.now())
    return {
        "at": balance.at,
        "subscriber": account.public_id,
        "currency": balance.currency,
        "owed": balance.owed,
        "buckets": balance.buckets,
    }


def _key_of(public_id: str) -> UUID:
    key = Reservation.key_of(public_id)
    if key is None:
        raise NotFound("There is no such reservation.")
    return key


def _own(partner: Partner, public_id: str) -> Reservation:
    own = claim_queries.partner_reservations(partner).filter(pk=_key_of(public_id)).first()
    if own is None:
        raise NotFound("There is no such reservation.")
    return own
