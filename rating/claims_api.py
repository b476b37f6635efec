"""What a partner does about its own purchases and shares: cancel, give back, dispute."""

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import InvalidInput, NotFound
from ispops.parties.models import Partner
from ispops.parties.rest import calling_partner, idempotent
from rating import cancelling, disputes, queries, refunds
from rating.api import PurchaseOut, ShareOut
from rating.models import Charge, Dispute, Purchase


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
        own = queries.partner_disputes(calling_partner(self.request))
        state = self.request.query_params.get("state")
        if state is not None and state not in Dispute.State.values:
            raise InvalidInput(f"Use one of {', '.join(Dispute.State.values)}.", field="state")
        return own.filter(state=state) if state else own

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
        own = queries.partner_disputes(calling_partner(request))
        dispute = own.filter(pk=key).first() if key else None
        if dispute is None:
            raise NotFound("There is no such dispute.")
        return Response(DisputeOut(dispute).data)
