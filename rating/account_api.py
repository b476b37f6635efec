"""What subscribers' programs see and do about what they buy and pay (TMF622, TMF678)."""

from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, NotFound
from ispops.parties.models import User
from ispops.parties.rest import calling_login, idempotent
from provisioning.models import Service
from provisioning.queries import lines_of_user
from rating import cancelling, claim_queries, disputes, purchases, queries, topping_up
from rating.models import Charge, Dispute, Purchase


class BuyIn(serializers.Serializer[Any]):
    line = serializers.CharField(help_text="The id of the line that it is for, such as `svc_...`.")
    offering = serializers.SlugField(
        max_length=50,
        help_text="The code of a partner's product, of a bundle of them, or of a pack of data.",
    )


class PurchasePartOut(serializers.ModelSerializer[Purchase]):
    """A partner's product in a bundle, and whether that partner has confirmed it."""

    id = serializers.CharField(source="public_id")
    offering = serializers.CharField(source="offering.code")
    name = serializers.CharField(source="offering.name")
    partner = serializers.CharField(source="offering.provider.name")

    class Meta:
        model = Purchase
        fields = ["id", "state", "offering", "name", "partner", "settled_at"]


class AccountPurchaseOut(serializers.ModelSerializer[Purchase]):
    """Something that was bought from a partner, and how far it is."""

    id = serializers.CharField(source="public_id")
    href = serializers.SerializerMethodField()
    subscriber = serializers.CharField(source="subscriber.public_id")
    line = serializers.CharField(source="line.public_id")
    offering = serializers.CharField(source="offering.code")
    name = serializers.CharField(source="offering.name")
    partner = serializers.CharField(source="offering.provider.name", default=None)
    parts = PurchasePartOut(many=True, help_text="Of a bundle: all must come, or none is charged.")

    class Meta:
        model = Purchase
        fields = [
            "id", "href", "state", "subscriber", "line", "offering", "name", "partner", "channel",
            "placed_at", "settled_at", "cancelled_at", "reason", "parts",
        ]  # fmt: skip

    def get_href(self, purchase: Purchase) -> str:
        return reverse("account-purchase", args=[purchase.public_id])


class WhyOut(serializers.Serializer[Any]):
    """*Why this amount*: the rule, the arithmetic, and who gets which part."""

    rule = serializers.CharField()
    price = serializers.CharField()
    arithmetic = serializers.CharField()
    tax = serializers.CharField()
    because = serializers.CharField()
    shares = serializers.ListField(child=serializers.CharField())
    caused_by = serializers.CharField()
    cause_id = serializers.CharField()


class AccountDisputeOut(serializers.ModelSerializer[Dispute]):
    id = serializers.CharField(source="public_id")
    charge = serializers.CharField(source="charge.public_id")
    correction = serializers.CharField(source="correction.public_id", default=None)

    class Meta:
        model = Dispute
        fields = ["id", "state", "charge", "words", "opened_at", "answered_at", "answer",
                  "correction"]  # fmt: skip


class AccountChargeOut(serializers.ModelSerializer[Charge]):
    """A charge; below zero where something is given back."""

    id = serializers.CharField(source="public_id")
    subscriber = serializers.CharField(source="subscriber.public_id")
    offering = serializers.CharField(source="offering.code")
    amount_net = serializers.DecimalField(max_digits=20, decimal_places=6)
    amount_tax = serializers.DecimalField(max_digits=20, decimal_places=6)
    corrects = serializers.SerializerMethodField()
    bill = serializers.SerializerMethodField()
    why = serializers.SerializerMethodField()

    class Meta:
        model = Charge
        fields = [
            "id", "kind", "subscriber", "offering", "quantity", "unit", "period_start",
            "period_end", "amount_net", "amount_tax", "currency", "charged_at", "corrects", "bill",
            "why",
        ]  # fmt: skip

    def get_corrects(self, charge: Charge) -> str | None:
        other = charge.corrects_id or charge.reverses_id
        return Charge(pk=other).public_id if other else None

    def get_bill(self, charge: Charge) -> int | None:
        return charge.bill_line.bill.number if charge.bill_line else None

    @extend_schema_field(WhyOut)
    def get_why(self, charge: Charge) -> Any:
        return WhyOut(queries.why(charge)).data


class WordsIn(serializers.Serializer[Any]):
    words = serializers.CharField(max_length=1000, help_text="What is wrong with the charge.")


class CancelIn(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")


class AccountPurchases(generics.ListAPIView[Purchase]):
    """What the accounts of the login bought from partners."""

    scope_area = "purchases"
    serializer_class = AccountPurchaseOut

    def get_queryset(self) -> QuerySet[Purchase]:
        if getattr(self, "swagger_fake_view", False):
            return Purchase.objects.none()
        return claim_queries.purchases_of_user(calling_login(self.request))

    @extend_schema(
        summary="Buy a partner's product, or more data",
        description="One-off, a subscription, a pack of units or a bundle. The partner is told, "
        "and the purchase is `completed` when it has confirmed. A bundle of several partners' "
        "products is one purchase: when one of them does not come, all of it is taken back. More "
        "data for a plan of ours is there at once, and makes a line fast again that its fair use "
        "has slowed.",
        request=BuyIn,
        responses={201: AccountPurchaseOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = BuyIn(data=request.data)
        asked.is_valid(raise_exception=True)
        user = calling_login(request)
        line = own_line(user, asked.validated_data["line"])
        offering = offering_of(asked.validated_data["offering"])
        is_ours = offering.addon_type == topping_up.DATA_PACK
        buy = topping_up.top_up if is_ours else purchases.place_purchase
        placed = buy(
            subscriber=line.subscriber,
            line=line,
            offering=offering,
            channel=Purchase.Channel.CLIENT,
            placed_by=user,
            idempotency_key=request.headers["Idempotency-Key"].strip(),
            at=timezone.now(),
        )
        bought = claim_queries.purchases_of_user(user).get(pk=placed.pk)
        headers = {"Location": reverse("account-purchase", args=[bought.public_id])}
        return Response(AccountPurchaseOut(bought).data, status=201, headers=headers)

    @extend_schema(summary="List what was bought", responses={200: AccountPurchaseOut(many=True)})
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class OneAccountPurchase(APIView):
    scope_area = "purchases"

    @extend_schema(summary="See what was bought", responses={200: AccountPurchaseOut})
    def get(self, request: Request, public_id: str) -> Response:
        return Response(AccountPurchaseOut(_own_purchase(calling_login(request), public_id)).data)


class AccountPurchaseCancellation(APIView):
    scope_area = "purchases"

    @extend_schema(
        summary="Cancel a purchase, or end a subscription",
        description="What the partner has not confirmed is taken back in full. Of a subscription, "
        "the time that is charged and still to come is given back. A bundle ends as a whole.",
        request=CancelIn,
        responses={200: AccountPurchaseOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        said = CancelIn(data=request.data)
        said.is_valid(raise_exception=True)
        user = calling_login(request)
        cancelling.cancel_purchase(
            purchase_id=_own_purchase(user, public_id).pk,
            reason=said.validated_data["reason"].strip() or "Cancelled by the subscriber.",
            actor=user,
            at=timezone.now(),
        )
        return Response(AccountPurchaseOut(_own_purchase(user, public_id)).data)


class AccountCharges(generics.ListAPIView[Charge]):
    """What the accounts of the login were charged, and what was given back."""

    scope_area = "purchases"
    serializer_class = AccountChargeOut

    def get_queryset(self) -> QuerySet[Charge]:
        if getattr(self, "swagger_fake_view", False):
            return Charge.objects.none()
        return claim_queries.charges_of_user(calling_login(self.request))

    @extend_schema(
        summary="List charges, and why each amount", responses={200: AccountChargeOut(many=True)}
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class ChargeDisputes(APIView):
    scope_area = "purchases"

    @extend_schema(
        summary="Dispute a charge",
        description="One that is open already is returned as it is. The charge stays on the bill "
        "until it is answered.",
        request=WordsIn,
        responses={201: AccountDisputeOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        said = WordsIn(data=request.data)
        said.is_valid(raise_exception=True)
        user = calling_login(request)
        key = Charge.key_of(public_id)
        charge = claim_queries.charges_of_user(user).filter(pk=key).first() if key else None
        if charge is None:
            raise NotFound("There is no such charge.")
        dispute = disputes.open_dispute(
            charge=charge, words=said.validated_data["words"], actor=user, at=timezone.now()
        )
        return Response(AccountDisputeOut(dispute).data, status=201)


class AccountDisputes(generics.ListAPIView[Dispute]):
    """What the accounts of the login disputed."""

    scope_area = "purchases"
    serializer_class = AccountDisputeOut

    def get_queryset(self) -> QuerySet[Dispute]:
        if getattr(self, "swagger_fake_view", False):
            return Dispute.objects.none()
        return claim_queries.disputes_of_user(calling_login(self.request))

    @extend_schema(
        summary="List disputes, with our answers", responses={200: AccountDisputeOut(many=True)}
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


def own_line(user: User, public_id: str) -> Service:
    """Return a line of the login's accounts.

    Raises:
        InvalidInput: there is none of that id.
    """
    key = Service.key_of(public_id)
    own = lines_of_user(user).select_related("subscriber")
    line = own.filter(pk=key).first() if key else None
    if line is None:
        raise InvalidInput("You have no such line.", field="line")
    return line


def offering_of(code: str) -> ProductOffering:
    offering = ProductOffering.objects.select_related("provider").filter(code=code).first()
    if offering is None:
        raise InvalidInput("There is no such product.", field="offering")
    return offering


def _own_purchase(user: User, public_id: str) -> Purchase:
    key = Purchase.key_of(public_id)
    purchase = claim_queries.purchases_of_user(user).filter(pk=key).first() if key else None
    if purchase is None:
        raise NotFound("There is no such purchase.")
    return purchase
