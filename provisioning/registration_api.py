"""Registering by a program of the subscriber's own (figure 5): terms, payment, account, order."""

from collections.abc import Mapping
from typing import Any, ClassVar

from allauth.account.adapter import get_adapter
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import InvalidInput, NotFound
from ispops.parties import limits, payments, terms
from ispops.parties.gateways import registry
from ispops.parties.models import PaymentMethod, Subscriber, TermsAcceptance, User
from ispops.parties.rest import idempotent
from ispops.parties.terms import Acceptance
from provisioning import registrations
from provisioning.models import Registration
from qualification.models import QualifiedOffer, ServiceQualification
from qualification.queries import offers_of

PLANS = ("access", "bundle")


class TermsOut(serializers.Serializer[Any]):
    version = serializers.CharField(help_text="Sent back as `terms_version` by who accepts them.")
    published_at = serializers.DateTimeField()
    text = serializers.CharField(help_text="Markdown.")


class WayToPayOut(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=PaymentMethod.Kind.choices)
    name = serializers.CharField()


class AccountOut(serializers.ModelSerializer[Subscriber]):
    id = serializers.CharField(source="public_id")
    terms_to_accept = serializers.SerializerMethodField(
        help_text="The version in force, when this account has not agreed to it yet."
    )
    pays_by = serializers.SerializerMethodField()

    class Meta:
        model = Subscriber
        fields = ["id", "name", "email", "kind", "standing", "terms_to_accept", "pays_by"]

    def get_terms_to_accept(self, subscriber: Subscriber) -> str | None:
        newest = terms.in_force()
        return None if terms.has_accepted(subscriber, newest) else newest.version

    def get_pays_by(self, subscriber: Subscriber) -> str | None:
        method = payments.in_use(subscriber)
        return method.label if method else None


class RegistrationIn(serializers.Serializer[Any]):
    qualification = serializers.CharField(
        max_length=40,
        help_text="The id of an answer to *can this place be served?*, such as `qlf_...`.",
    )
    offering_codes = serializers.ListField(
        child=serializers.SlugField(max_length=50),
        min_length=1,
        max_length=20,
        help_text="One internet plan or one aggregated plan, and partner products for its line.",
    )
    name = serializers.CharField(
        max_length=200,
        required=False,
        default="",
        help_text="On the bill. A login without an account has to give it.",
    )
    phone = serializers.CharField(max_length=40, required=False, default="", allow_blank=True)
    payment_kind = serializers.ChoiceField(
        choices=PaymentMethod.Kind.choices,
        required=False,
        default="",
        help_text="A login without an account has to give it.",
    )
    terms_version = serializers.CharField(
        max_length=20, help_text="The version that was shown and accepted."
    )
    premises_answer = serializers.ChoiceField(
        choices=Registration.Premises.choices,
        required=False,
        default="",
        help_text="Asked for by the refusal `premises_served`.",
    )
    is_another_person = serializers.BooleanField(
        required=False, default=False, help_text="Asked for by the refusal `person_known`."
    )


class RegistrationOut(serializers.ModelSerializer[Registration]):
    id = serializers.CharField(source="public_id")
    qualification = serializers.CharField(source="qualification.public_id")
    offering_codes = serializers.SerializerMethodField()
    subscriber = serializers.CharField(source="order.subscriber.public_id")
    order = serializers.CharField(source="order.public_id")
    order_href = serializers.SerializerMethodField()

    class Meta:
        model = Registration
        fields = [
            "id", "state", "channel", "qualification", "offering_codes", "subscriber", "order",
            "order_href", "created_at",
        ]  # fmt: skip

    def get_offering_codes(self, row: Registration) -> list[str]:
        return [row.offering.code, *(row.extras or [])]

    def get_order_href(self, row: Registration) -> str:
        order = row.order
        return reverse("product-order", args=[order.public_id]) if order else ""


def _user(request: Request) -> User:
    """Return the login that calls; a partner's program registers nobody."""
    user = request.user
    if not isinstance(user, User) or hasattr(user, "partner"):
        raise exceptions.PermissionDenied("This call is for the logins of subscribers.")
    return user


class Terms(APIView):
    scope_area = "registration"
    open_to_strangers: ClassVar = {"GET": limits.LOOK}

    @extend_schema(summary="Read the terms of service in force", responses={200: TermsOut})
    def get(self, request: Request) -> Response:
        return Response(TermsOut(terms.in_force()).data)


class PaymentKinds(APIView):
    scope_area = "registration"
    open_to_strangers: ClassVar = {"GET": limits.LOOK}

    @extend_schema(summary="List the ways to pay", responses={200: WayToPayOut(many=True)})
    def get(self, request: Request) -> Response:
        kinds = [
            {"kind": kind, "name": PaymentMethod.Kind(kind).label} for kind in registry.kinds()
        ]
        return Response(WayToPayOut(kinds, many=True).data)


class Accounts(APIView):
    scope_area = "registration"

    @extend_schema(
        summary="List the accounts that the login belongs to",
        responses={200: AccountOut(many=True)},
    )
    def get(self, request: Request) -> Response:
        own = _user(request).subscribers.order_by("created_at", "pk")
        return Response(AccountOut(own, many=True).data)


class Registrations(APIView):
    scope_area = "registration"

    @extend_schema(
        summary="Register, and order a line",
        description="Opens the account of the login where it has none, notes how it pays and that "
        "the terms were accepted, and places the order: all of it, or nothing.",
        request=RegistrationIn,
        responses={201: RegistrationOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        user, asked = _user(request), RegistrationIn(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        plan, extras = _plan_and_extras(wanted)
        given = ("name", "phone", "payment_kind", "premises_answer", "is_another_person")
        row = registrations.register(
            offer=plan,
            user=user,
            terms_version=wanted["terms_version"],
            acceptance=Acceptance(
                by=user,
                channel=TermsAcceptance.Channel.CLIENT,
                ip=get_adapter().get_client_ip(request),
            ),
            at=timezone.now(),
            extras=extras,
            **{name: wanted[name] for name in given},
        )
        headers = {"Location": reverse("registration", args=[row.public_id])}
        return Response(RegistrationOut(row).data, status=201, headers=headers)


class OneRegistration(APIView):
    scope_area = "registration"

    @extend_schema(summary="See a registration and its order", responses={200: RegistrationOut})
    def get(self, request: Request, public_id: str) -> Response:
        key = Registration.key_of(public_id)
        row = _own(_user(request)).filter(pk=key).first() if key else None
        if row is None:
            raise NotFound("There is no such registration.")
        return Response(RegistrationOut(row).data)


def _own(user: User) -> QuerySet[Registration]:
    placed = Registration.objects.filter(user=user, state=Registration.State.PLACED)
    return placed.select_related("qualification", "offering", "order__subscriber")


def _plan_and_extras(wanted: Mapping[str, Any]) -> tuple[QualifiedOffer, list[str]]:
    """Return the promised plan among what is wanted, and the codes of the rest."""
    key = ServiceQualification.key_of(wanted["qualification"])
    asked = ServiceQualification.objects.select_related("premises")
    answer = asked.filter(pk=key).first() if key else None
    if answer is None:
        raise InvalidInput("There is no such qualification.", field="qualification")
    codes = wanted["offering_codes"]
    plans = [
        offer
        for offer in offers_of(answer)
        if offer.eligible and offer.offering.code in codes and offer.offering.kind in PLANS
    ]
    if len(plans) != 1:
        raise InvalidInput(
            "Name exactly one plan that the answer offers here.", field="offering_codes"
        )
    return plans[0], [code for code in codes if code != plans[0].offering.code]
