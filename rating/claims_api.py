"""What a partner does about its own purchases and shares: ask for, cancel, give back, dispute."""

from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import InvalidInput, NotFound
from ispops.parties.models import Partner
from ispops.parties.rest import calling_partner, idempotent
from rating import cancelling, claim_queries, consents, disputes, queries, refunds
from rating.api import PurchaseOut, ShareOut
from rating.models import Charge, Dispute, Purchase, PurchaseRequest


class ReasonIn(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=300, help_text="For the subscriber's eyes.")


class RefundIn(ReasonIn):
    """How much of a charge goes back; by neither of the two, all that is left."""

    percent = serializers.DecimalField(
        max_digits=6, decimal_places=3, required=False, help_text="Of the whole charge."
    )
    amount = serializers.DecimalField(
        max_digits=18, decimal_places=6, required=False, help_text="With tax, as it was paid."
    )


class DisputeIn(serializers.Serializer[Any]):
    words = serializers.CharField(max_length=1000, help_text="What is wrong with the share.")


class DisputeOut(serializers.ModelSerializer[Dispute]):
    """A dispute of an own share, and what came of it."""

    id = serializers.CharField(source="public_id")
    share = serializers.CharField(source="charge.public_id")
    correction = serializers.CharField(
        source="correction.public_id",
        default=None,
        help_text="The share that puts it right, once it is upheld.",
    )

    class Meta:
        model = Dispute
        fields = ["id", "state", "share", "words", "opened_at", "answered_at", "answer",
                  "correction"]  # fmt: skip


class PurchaseRequestIn(serializers.Serializer[Any]):
    """What a subscriber is asked to buy."""

    subscriber_ref = serializers.CharField(
        max_length=40, help_text="The subscriber, as the service order named it."
    )
    offering = serializers.CharField(max_length=50, help_text="The code of your product.")
    service_ref = serializers.CharField(
        max_length=40,
        required=False,
        default="",
        help_text="A service of yours on the line that is meant; needed where there are several.",
    )
    words = serializers.CharField(
        max_length=300, required=False, allow_blank=True, default="",
        help_text="What you say of it to the subscriber.",
    )  # fmt: skip


class PurchaseRequestOut(serializers.ModelSerializer[PurchaseRequest]):
    """What a subscriber was asked to buy, and the answer."""

    id = serializers.CharField(source="public_id")
    href = serializers.SerializerMethodField()
    subscriber_ref = serializers.CharField()
    offering = serializers.CharField(source="offering.code")
    purchase = serializers.CharField(
        source="consent.purchase.public_id", default=None, help_text="Once it was agreed to."
    )

    class Meta:
        model = PurchaseRequest
        fields = [
            "id", "href", "state", "subscriber_ref", "offering", "words", "requested_at",
            "expires_at", "answered_at", "reason", "purchase",
        ]  # fmt: skip

    def get_href(self, request: PurchaseRequest) -> str:
        return reverse("purchase-request", args=[request.public_id])


class PurchaseRequests(generics.ListAPIView[PurchaseRequest]):
    """What the calling partner asked subscribers to buy."""

    scope_area = "purchases"
    serializer_class = PurchaseRequestOut

    def get_queryset(self) -> QuerySet[PurchaseRequest]:
        if getattr(self, "swagger_fake_view", False):
            return PurchaseRequest.objects.none()
        own = claim_queries.partner_requests(calling_partner(self.request))
        return _of_state(own, self.request, PurchaseRequest.State.values)

    @extend_schema(
        summary="Ask a subscriber to buy a product",
        description="Nothing is charged before the subscriber has agreed: the request waits, and "
        "expires after three days. You hear of the answer by the webhook "
        "`purchase_request.agreed`, `.declined` or `.expired`. What the subscriber's standing "
        "consent covers is agreed to at once. What was declined is not asked for again within "
        "seven days, and nobody is asked more than ten times a day.",
        request=PurchaseRequestIn,
        responses={201: PurchaseRequestOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = PurchaseRequestIn(data=request.data)
        asked.is_valid(raise_exception=True)
        partner, wanted = calling_partner(request), asked.validated_data
        made = consents.request_purchase(
            partner=partner,
            subscriber_ref=wanted["subscriber_ref"],
            offering_code=wanted["offering"],
            service_ref=wanted["service_ref"],
            words=wanted["words"],
            idempotency_key=request.headers["Idempotency-Key"].strip(),
            at=timezone.now(),
        )
        shown = PurchaseRequestOut(_own_request(partner, made.public_id)).data
        return Response(shown, status=201, headers={"Location": shown["href"]})

    @extend_schema(
        summary="List what subscribers were asked to buy",
        parameters=[OpenApiParameter("state", enum=PurchaseRequest.State.values)],
        responses={200: PurchaseRequestOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class OnePurchaseRequest(APIView):
    scope_area = "purchases"

    @extend_schema(
        summary="See what a subscriber was asked, and the answer",
        responses={200: PurchaseRequestOut},
    )
    def get(self, request: Request, public_id: str) -> Response:
        own = _own_request(calling_partner(request), public_id)
        return Response(PurchaseRequestOut(own).data)


class PurchaseRequestWithdrawal(APIView):
    scope_area = "purchases"

    @extend_schema(
        summary="Take a request back that waits",
        description="Taking it back again changes nothing. One that is answered is refused: 409.",
        request=None,
        responses={200: PurchaseRequestOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        partner = calling_partner(request)
        own = _own_request(partner, public_id)
        consents.withdraw(request_id=own.pk, partner=partner, at=timezone.now())
        return Response(PurchaseRequestOut(_own_request(partner, public_id)).data)


def _own_request(partner: Partner, public_id: str) -> PurchaseRequest:
    key = PurchaseRequest.key_of(public_id)
    own = claim_queries.partner_requests(partner).filter(pk=key).first() if key else None
    if own is None:
        raise NotFound("There is no such request.")
    return own


def _of_state(rows: QuerySet[Any], request: Request, states: list[str]) -> QuerySet[Any]:
    state = request.query_params.get("state")
    if state is not None and state not in states:
        raise InvalidInput(f"Use one of {', '.join(states)}.", field="state")
    return rows.filter(state=state) if state else rows


def own_purchase(partner: Partner, public_id: str) -> Purchase:
    key = Purchase.key_of(public_id)
    purchase = queries.partner_purchases(partner).filter(pk=key).first() if key else None
    if purchase is None:
        raise NotFound("There is no such purchase.")
    return purchase


def _own_share(partner: Partner, public_id: str) -> Charge:
    key = Charge.key_of(public_id)
    charge = queries.partner_charges(partner).filter(pk=key).first() if key else None
    if charge is None:
        raise NotFound("There is no such share.")
    return charge


class PurchaseCancellation(APIView):
    scope_area = "purchases"

    @extend_schema(
        summary="Cancel a purchase of an own product",
        description="What is not confirmed is taken back in full. Of a subscription, the time that "
        "is charged and still to come is given back. Cancelling again changes nothing.",
        request=ReasonIn,
        responses={200: PurchaseOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        said = ReasonIn(data=request.data)
        said.is_valid(raise_exception=True)
        partner = calling_partner(request)
        cancelling.cancel_purchase(
            purchase_id=own_purchase(partner, public_id).pk,
            reason=said.validated_data["reason"],
            partner=partner,
            at=timezone.now(),
        )
        return Response(PurchaseOut(own_purchase(partner, public_id)).data)


class ShareRefunds(APIView):
    scope_area = "settlement"

    @extend_schema(
        summary="Give a charge for an own product back, in part or in whole",
        description="The same part of every share goes back. The answer is your own part of it.",
        request=RefundIn,
        responses={201: ShareOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        said = RefundIn(data=request.data)
        said.is_valid(raise_exception=True)
        partner = calling_partner(request)
        refund = refunds.refund_charge(
            charge_id=_own_share(partner, public_id).pk,
            amount=said.validated_data.get("amount"),
            percent=said.validated_data.get("percent"),
            because=said.validated_data["reason"],
            idempotency_key=request.headers["Idempotency-Key"].strip(),
            partner=partner,
            at=timezone.now(),
        )
        return Response(ShareOut(_own_share(partner, refund.public_id)).data, status=201)


class ShareDisputes(APIView):
    scope_area = "settlement"

    @extend_schema(
        summary="Dispute an own share",
        description="One that is open already is returned as it is. You hear of the answer by the "
        "webhook `dispute.upheld` or `dispute.rejected`.",
        request=DisputeIn,
        responses={201: DisputeOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        said = DisputeIn(data=request.data)
        said.is_valid(raise_exception=True)
        partner = calling_partner(request)
        dispute = disputes.open_dispute(
            charge=_own_share(partner, public_id),
            words=said.validated_data["words"],
            partner=partner,
            at=timezone.now(),
        )
        return Response(DisputeOut(dispute).data, status=201)


class Disputes(generics.ListAPIView[Dispute]):
    """What the calling partner disputed of its own shares."""

    scope_area = "settlement"
    serializer_class = DisputeOut

    def get_queryset(self) -> QuerySet[Dispute]:
        if getattr(self, "swagger_fake_view", False):
            return Dispute.objects.none()
        own = claim_queries.partner_disputes(calling_partner(self.request))
        return _of_state(own, self.request, Dispute.State.values)

    @extend_schema(
        summary="List disputes of own shares",
        parameters=[OpenApiParameter("state", enum=Dispute.State.values)],
        responses={200: DisputeOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class OneDispute(APIView):
    scope_area = "settlement"

    @extend_schema(summary="See a dispute", responses={200: DisputeOut})
    def get(self, request: Request, public_id: str) -> Response:
        key = Dispute.key_of(public_id)
        own = claim_queries.partner_disputes(calling_partner(request))
        dispute = own.filter(pk=key).first() if key else None
        if dispute is None:
            raise NotFound("There is no such dispute.")
        return Response(DisputeOut(dispute).data)
