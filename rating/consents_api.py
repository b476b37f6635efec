"""What subscribers' programs answer to what partners ask for, and let them do unasked."""

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import InvalidInput, NotFound, Refusal
from ispops.parties.models import Partner, Subscriber, User
from ispops.parties.rest import calling_login, idempotent
from rating import claim_queries, consents, offers, standing
from rating.models import Purchase, PurchaseRequest, StandingConsent


class PriceShownOut(serializers.Serializer[Any]):
    """What it costs; `shown` stands for it when you agree."""

    shown = serializers.CharField(source="digest")
    currency = serializers.CharField()
    in_words = serializers.CharField()
    now_net = serializers.DecimalField(max_digits=20, decimal_places=6)
    now_tax = serializers.DecimalField(max_digits=20, decimal_places=6)
    once_net = serializers.DecimalField(max_digits=20, decimal_places=6)
    once_tax = serializers.DecimalField(max_digits=20, decimal_places=6)
    month_net = serializers.DecimalField(max_digits=20, decimal_places=6)
    month_tax = serializers.DecimalField(max_digits=20, decimal_places=6)
    usage_terms = serializers.CharField()


class AskedOut(serializers.ModelSerializer[PurchaseRequest]):
    """What a partner asks for, what it costs, and the answer."""

    id = serializers.CharField(source="public_id")
    subscriber = serializers.CharField(source="subscriber.public_id")
    line = serializers.CharField(source="line.public_id")
    partner = serializers.CharField(source="partner.name")
    offering = serializers.CharField(source="offering.code")
    name = serializers.CharField(source="offering.name")
    purchase = serializers.CharField(source="consent.purchase.public_id", default=None)

    class Meta:
        model = PurchaseRequest
        fields = [
            "id", "state", "subscriber", "line", "partner", "offering", "name", "words",
            "requested_at", "expires_at", "answered_at", "purchase",
        ]  # fmt: skip


class AskedWithPriceOut(AskedOut):
    offer = serializers.SerializerMethodField(help_text="Null where it cannot be bought now.")

    class Meta(AskedOut.Meta):
        fields = [*AskedOut.Meta.fields, "offer"]

    @extend_schema_field(PriceShownOut(allow_null=True))
    def get_offer(self, asked: PurchaseRequest) -> Any:
        if asked.state != PurchaseRequest.State.WAITING:
            return None
        try:
            shown = offers.offer(
                subscriber=asked.subscriber,
                line=asked.line,
                offering=asked.offering,
                at=timezone.now(),
            )
        except Refusal:
            return None
        return PriceShownOut(shown).data


class AgreementIn(serializers.Serializer[Any]):
    shown = serializers.CharField(
        max_length=64, help_text="That of the offer that the subscriber has seen."
    )


class StandingIn(serializers.Serializer[Any]):
    subscriber = serializers.CharField(
        required=False, help_text="Needed only by a login that belongs to several accounts."
    )
    partner = serializers.SlugField(max_length=50, help_text="The partner's code.")
    monthly_limit = serializers.DecimalField(max_digits=12, decimal_places=2)


class StandingOut(serializers.ModelSerializer[StandingConsent]):
    """What a partner may sell unasked, and how much of it is left this month."""

    id = serializers.CharField(source="public_id")
    subscriber = serializers.CharField(source="subscriber.public_id")
    partner = serializers.CharField(source="partner.code")
    monthly_limit = serializers.DecimalField(max_digits=20, decimal_places=6)
    words = serializers.CharField(source="shown")
    left = serializers.SerializerMethodField()

    class Meta:
        model = StandingConsent
        fields = [
            "id", "subscriber", "partner", "monthly_limit", "currency", "words", "given_at",
            "ended_at", "left",
        ]  # fmt: skip

    @extend_schema_field(serializers.DecimalField(max_digits=20, decimal_places=6))
    def get_left(self, consent: StandingConsent) -> str:
        if consent.ended_at is not None:
            return "0.000000"
        return f"{standing.left_of_month(consent, timezone.now()):.6f}"


class AccountPurchaseRequests(generics.ListAPIView[PurchaseRequest]):
    """What partners asked the accounts of the login to buy."""

    scope_area = "purchases"
    serializer_class = AskedOut

    def get_queryset(self) -> QuerySet[PurchaseRequest]:
        if getattr(self, "swagger_fake_view", False):
            return PurchaseRequest.objects.none()
        return claim_queries.requests_to_user(calling_login(self.request))

    @extend_schema(summary="List what partners ask for", responses={200: AskedOut(many=True)})
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class OneAccountPurchaseRequest(APIView):
    scope_area = "purchases"

    @extend_schema(
        summary="See what a partner asks for, with its price", responses={200: AskedWithPriceOut}
    )
    def get(self, request: Request, public_id: str) -> Response:
        return Response(AskedWithPriceOut(_asked(calling_login(request), public_id)).data)


class Agreement(APIView):
    scope_area = "purchases"

    @extend_schema(
        summary="Agree to what a partner asks for",
        description="It is bought at the price that was shown; at another one, it is refused.",
        request=AgreementIn,
        responses={200: AskedOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        said = AgreementIn(data=request.data)
        said.is_valid(raise_exception=True)
        user = calling_login(request)
        consents.agree(
            request_id=_asked(user, public_id).pk,
            user=user,
            channel=Purchase.Channel.CLIENT,
            digest=said.validated_data["shown"],
            at=timezone.now(),
        )
        return Response(AskedOut(_asked(user, public_id)).data)


class Refusing(APIView):
    scope_area = "purchases"

    @extend_schema(
        summary="Decline what a partner asks for", request=None, responses={200: AskedOut}
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        user = calling_login(request)
        consents.decline(request_id=_asked(user, public_id).pk, user=user, at=timezone.now())
        return Response(AskedOut(_asked(user, public_id)).data)


class StandingConsents(generics.ListAPIView[StandingConsent]):
    """What partners may sell to the accounts of the login unasked."""

    scope_area = "purchases"
    serializer_class = StandingOut

    def get_queryset(self) -> QuerySet[StandingConsent]:
        if getattr(self, "swagger_fake_view", False):
            return StandingConsent.objects.none()
        return claim_queries.standing_of_user(calling_login(self.request))

    @extend_schema(
        summary="Let a partner sell single things unasked, up to an amount a month",
        description="Another amount replaces the one before. Subscriptions, and what is paid by "
        "use, always ask.",
        request=StandingIn,
        responses={201: StandingOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        said = StandingIn(data=request.data)
        said.is_valid(raise_exception=True)
        user, wanted = calling_login(request), said.validated_data
        partner = Partner.objects.filter(code=wanted["partner"]).first()
        if partner is None:
            raise InvalidInput("There is no such partner.", field="partner")
        given = standing.give(
            subscriber=account_of(user, wanted.get("subscriber")),
            partner=partner,
            monthly_limit=wanted["monthly_limit"],
            user=user,
            at=timezone.now(),
        )
        return Response(StandingOut(given).data, status=201)

    @extend_schema(
        summary="List standing consents, also those that ended",
        responses={200: StandingOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class StandingWithdrawal(APIView):
    scope_area = "purchases"

    @extend_schema(summary="Withdraw a standing consent", request=None,
                   responses={200: StandingOut})  # fmt: skip
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        key = StandingConsent.key_of(public_id)
        if key is None:
            raise NotFound("There is no such consent.")
        user = calling_login(request)
        ended = standing.withdraw(consent_id=key, user=user, at=timezone.now())
        return Response(StandingOut(ended).data)


def account_of(user: User, public_id: str | None) -> Subscriber:
    """Return the account that is meant: the login's only one, or the one that is named.

    Raises:
        InvalidInput: the login has none of that id, or several and none is named.
    """
    own = list(user.subscribers.order_by("created_at"))
    if public_id is not None:
        own = [account for account in own if account.public_id == public_id]
    if len(own) == 1:
        return own[0]
    words = "has several accounts: name one" if own else "has no such account"
    raise InvalidInput(f"This login {words}.", field="subscriber")


def _asked(user: User, public_id: str) -> PurchaseRequest:
    key = PurchaseRequest.key_of(public_id)
    own = claim_queries.requests_to_user(user).filter(pk=key).first() if key else None
    if own is None:
        raise NotFound("There is no such request.")
    return own
