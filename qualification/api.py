"""Service qualifications for partners and subscribers' programs (figure 2; TM Forum TMF645)."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import InvalidInput, NotFound
from ispops.parties import limits
from ispops.parties.models import Subscriber, User
from ispops.parties.rest import active_caller, idempotent
from provisioning.models import Service
from provisioning.queries import services_named_by
from qualification import locating, qualify, queries
from qualification.addresses import LONGEST
from qualification.gazetteer import LEAST_TYPED, suggest
from qualification.models import (
    Premises,
    ProviderInquiry,
    QualifiedOffer,
    ServiceQualification,
)

Channel = ServiceQualification.Channel
State = ServiceQualification.State
RETRY_AFTER_SECONDS = "2"

# --- What goes over the wire --------------------------------------------------------------------


class CandidateOut(serializers.Serializer[Any]):
    """One place to choose; ask again with its id as `premises_id`."""

    id = serializers.CharField()
    address = serializers.CharField()
    distance_m = serializers.IntegerField(
        required=False, help_text="How far it is from the coordinates that were asked for."
    )


class PlaceOut(serializers.Serializer[Any]):
    """The place that was found, as it was written then."""

    id = serializers.CharField()
    address = serializers.CharField()
    location_id = serializers.CharField(allow_null=True)


class OfferOut(serializers.ModelSerializer[QualifiedOffer]):
    """One offering: what is promised of it, or why it cannot be had. Amounts are net of tax."""

    offering = serializers.CharField(source="offering.code")
    name = serializers.CharField(source="offering_name")
    kind = serializers.CharField(source="offering.kind")
    provider = serializers.CharField(source="provider.code", default=None, allow_null=True)
    guaranteed_until = serializers.SerializerMethodField(
        help_text="Until when it can be ordered on these terms; null when it cannot be had."
    )
    alternative = serializers.SerializerMethodField(
        help_text="The `offering` of these offers that comes closest to a refused plan."
    )
    planned_date = serializers.DateField(
        allow_null=True, help_text="When the network is to reach the place, in `planned`."
    )
    low_latency = serializers.BooleanField(
        allow_null=True, help_text="Whether the line answers quickly; null for what is no line."
    )
    confidence = serializers.ChoiceField(
        choices=ServiceQualification.Confidence.choices,
        help_text="How sure it is, as MEF Sonata's serviceability confidence.",
    )
    is_subscription = serializers.BooleanField(
        help_text="Of a partner product: it can be ordered together with the line.",
    )
    includes = serializers.SerializerMethodField(
        help_text="The `offering`s that an aggregated plan is made of."
    )
    technology_name = serializers.CharField(source="get_technology_display", allow_null=True)
    one_off_amount = serializers.DecimalField(max_digits=18, decimal_places=6)
    recurring_amount = serializers.DecimalField(max_digits=18, decimal_places=6)
    construction_fee = serializers.DecimalField(max_digits=18, decimal_places=6)

    class Meta:
        model = QualifiedOffer
        fields = [
            "offering", "name", "kind", "provider", "provider_name", "eligible", "confidence",
            "guaranteed_until", "reason_code", "reason", "alternative", "planned_date",
            "technology", "technology_name", "download_kbps", "upload_kbps", "low_latency",
            "install_days", "currency", "one_off_amount", "recurring_amount", "construction_fee",
            "usage_terms", "is_subscription", "includes",
        ]  # fmt: skip

    def get_guaranteed_until(self, offer: QualifiedOffer) -> datetime | None:
        return offer.qualification.expires_at if offer.eligible else None

    def get_includes(self, offer: QualifiedOffer) -> list[str]:
        return [part["code"] for part in offer.parts]

    def get_alternative(self, offer: QualifiedOffer) -> str | None:
        return offer.closest.offering.code if offer.closest else None


class InquiryOut(serializers.ModelSerializer[ProviderInquiry]):
    """An off-net network that was asked about the place, and whether it has answered."""

    provider = serializers.CharField(source="connection.partner.code")
    provider_name = serializers.CharField(source="connection.partner.name")
    state = serializers.ChoiceField(choices=ProviderInquiry.State.choices)

    class Meta:
        model = ProviderInquiry
        fields = ["provider", "provider_name", "state"]


class QualificationSummaryOut(serializers.ModelSerializer[ServiceQualification]):
    id = serializers.CharField(source="public_id")
    href = serializers.SerializerMethodField()
    address = serializers.CharField(source="asked_text", help_text="What was asked for.")
    premises = serializers.SerializerMethodField()
    coordinates = serializers.SerializerMethodField()
    candidates = CandidateOut(many=True, help_text="Places to choose from, in state `choose`.")

    class Meta:
        model = ServiceQualification
        fields = [
            "id", "href", "state", "address", "coordinates", "premises", "confidence", "remark",
            "candidates",
            "subscriber_kind", "channel", "asked_at", "expires_at",
        ]  # fmt: skip

    def get_href(self, answer: ServiceQualification) -> str:
        return reverse("service-qualification", args=[answer.public_id])

    @extend_schema_field(PlaceOut(allow_null=True))
    def get_premises(self, answer: ServiceQualification) -> Any:
        if answer.premises_id is None:
            return None
        return {
            "id": Premises(pk=answer.premises_id).public_id,
            "address": answer.address,
            "location_id": answer.location_id or None,
        }

    @extend_schema_field(
        {
            "type": "object",
            "nullable": True,
            "description": "The point that was asked for, in degrees of WGS 84.",
            "required": ["latitude", "longitude"],
            "properties": {"latitude": {"type": "number"}, "longitude": {"type": "number"}},
        }
    )
    def get_coordinates(self, answer: ServiceQualification) -> dict[str, float] | None:
        if answer.latitude is None or answer.longitude is None:
            return None
        return {"latitude": float(answer.latitude), "longitude": float(answer.longitude)}


class QualificationOut(QualificationSummaryOut):
    settled_at = serializers.DateTimeField(
        allow_null=True, help_text="When the last network answered; null if none was waited for."
    )
    inquiries = serializers.SerializerMethodField(
        help_text="The networks that were asked. In state `pending` one of them at least has not "
        "answered: `offers` then has what can be ordered already."
    )
    offers = serializers.SerializerMethodField()

    class Meta(QualificationSummaryOut.Meta):
        fields = [*QualificationSummaryOut.Meta.fields, "settled_at", "inquiries", "offers"]

    @extend_schema_field(InquiryOut(many=True))
    def get_inquiries(self, answer: ServiceQualification) -> Any:
        return InquiryOut(queries.inquiries_of(answer), many=True).data

    @extend_schema_field(OfferOut(many=True))
    def get_offers(self, answer: ServiceQualification) -> Any:
        return OfferOut(queries.offers_of(answer), many=True).data


class DegreesField(serializers.Field[Any, Any, Any, Any]):
    """A coordinate; a text is none, even if it looks like one."""

    def __init__(self, most: int, **kwargs: Any) -> None:
        self.most = most
        super().__init__(**kwargs)

    def to_internal_value(self, data: float) -> Decimal:
        try:
            return locating.degrees(data, str(self.field_name), self.most)
        except InvalidInput as refused:
            raise serializers.ValidationError(refused.detail) from refused

    def to_representation(self, value: Decimal) -> float:
        return float(value)


@extend_schema_field({"type": "number", "minimum": -90, "maximum": 90, "example": 41.7718})
class LatitudeField(DegreesField):
    pass


@extend_schema_field({"type": "number", "minimum": -180, "maximum": 180, "example": -72.5215})
class LongitudeField(DegreesField):
    pass


class CoordinatesIn(serializers.Serializer[Any]):
    """A point in degrees of WGS 84."""

    latitude = LatitudeField(90)
    longitude = LongitudeField(180)


class QualificationIn(serializers.Serializer[Any]):
    """Name the place in exactly one way."""

    WAYS = ("address", "premises_id", "location_id", "coordinates", "service_id")

    address = serializers.CharField(
        required=False,
        trim_whitespace=False,
        allow_blank=True,
        help_text="On one line or several: street number, street, unit, city, state, ZIP code.",
    )
    premises_id = serializers.CharField(
        required=False, max_length=40, help_text="The id of a place, as a candidate has it."
    )
    location_id = serializers.CharField(
        required=False,
        max_length=40,
        help_text="The location id of the FCC's fabric, or of our own list.",
    )
    coordinates = CoordinatesIn(required=False)
    service_id = serializers.CharField(
        required=False,
        max_length=40,
        help_text="A service of yours: what else can its place have? Needs a token.",
    )
    as_written = serializers.BooleanField(
        default=False,
        help_text="The address is right as it is: do not take it for a known one misspelt.",
    )
    subscriber_kind = serializers.ChoiceField(
        choices=Subscriber.Kind.choices, default=Subscriber.Kind.CONSUMER
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = [way for way in self.WAYS if way in attrs]
        if len(given) != 1:
            field = given[1] if given else "address"
            words = f"Give exactly one of {', '.join(self.WAYS)}."
            raise serializers.ValidationError({field: [words]})
        return attrs


class SuggestionOut(serializers.Serializer[Any]):
    """How an address may go on. A street has no id: its number is still to be typed."""

    text = serializers.CharField()
    premises_id = serializers.CharField(allow_null=True)


class SuggestionsOut(serializers.Serializer[Any]):
    items = SuggestionOut(many=True)


# --- The calls ----------------------------------------------------------------------------------


class ServiceQualifications(generics.ListAPIView[ServiceQualification]):
    """Whether a place can be served, by whom, how fast and for how much."""

    scope_area = "qualification"
    open_to_strangers: ClassVar = {"POST": limits.QUALIFY}
    asks_networks = True
    serializer_class = QualificationSummaryOut

    def get_queryset(self) -> QuerySet[ServiceQualification]:
        if getattr(self, "swagger_fake_view", False):
            return ServiceQualification.objects.none()
        own = queries.asked_by(queries.asker_of(_caller(self.request)))
        wanted = self.request.query_params.get("state")
        if wanted is None:
            return own
        if wanted not in ServiceQualification.State.values:
            choices = ", ".join(ServiceQualification.State.values)
            raise InvalidInput(f"Use one of {choices}.", field="state")
        return own.filter(state=wanted)

    @extend_schema(
        summary="List your qualifications",
        parameters=[OpenApiParameter("state", enum=ServiceQualification.State.values)],
        responses={200: QualificationSummaryOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        summary="Qualify a place",
        description="The answer is stored, and its prices are a promise until `expires_at`. "
        "In state `choose`, ask again with the id of one of the `candidates`. In state `pending` "
        "the status is 202 and a network is still being asked: look again at `Location` after the "
        "seconds of `Retry-After`; a partner is also told by the webhook `qualification.settled`. "
        "A visitor's program needs no token; whoever knows the id of its answer may read it.",
        request=QualificationIn,
        responses={201: QualificationOut, 202: QualificationOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = QualificationIn(data=request.data)
        asked.is_valid(raise_exception=True)
        caller = _caller(request)
        partner = hasattr(caller, "partner")
        answer = qualify.qualify_address(
            **_place(asked.validated_data, caller),
            subscriber_kind=asked.validated_data["subscriber_kind"],
            channel=Channel.PARTNER if partner else Channel.CLIENT,
            asker=queries.asker_of(caller),
            at=timezone.now(),
        )
        headers = {"Location": reverse("service-qualification", args=[answer.public_id])}
        status = 202 if answer.state == State.PENDING else 201
        return Response(
            QualificationOut(answer).data, status=status, headers=headers | _look_again(answer)
        )


class OneServiceQualification(APIView):
    scope_area = "qualification"
    open_to_strangers: ClassVar = {"GET": limits.LOOK}

    @extend_schema(
        summary="See one of your qualifications, as it was answered",
        description="Without a token: one that was asked for without a token.",
        responses={200: QualificationOut},
    )
    def get(self, request: Request, public_id: str) -> Response:
        key = ServiceQualification.key_of(public_id)
        readable = queries.readable_by(_caller(request))
        answer = readable.filter(pk=key).first() if key else None
        if answer is None:
            raise NotFound("There is no such qualification of yours.")
        return Response(QualificationOut(answer).data, headers=_look_again(answer))


def _look_again(answer: ServiceQualification) -> dict[str, str]:
    """Say when to look again at an answer that waits for a network."""
    return {"Retry-After": RETRY_AFTER_SECONDS} if answer.state == State.PENDING else {}


class AddressSuggestions(APIView):
    scope_area = "qualification"
    open_to_strangers: ClassVar = {"GET": limits.SUGGEST}

    @extend_schema(
        summary="Complete an address that is being typed",
        description="At most eight, from our location lists alone; the street number, the street "
        "or the ZIP code may come first. None for less than three characters.",
        parameters=[
            OpenApiParameter("text", required=True, description="What has been typed so far.")
        ],
        responses={200: SuggestionsOut},
    )
    def get(self, request: Request) -> Response:
        _caller(request)
        text = request.query_params.get("text", "")
        if not text.strip():
            raise InvalidInput("Give what has been typed so far.", field="text")
        if len(text) > LONGEST or not text.isprintable():
            words = f"Up to {LONGEST} characters are possible, and no control characters."
            raise InvalidInput(words, field="text")
        found = suggest(text) if len(text.strip()) >= LEAST_TYPED else []
        items = [{"text": one.text, "premises_id": one.premises_id or None} for one in found]
        return Response({"items": items})


def _caller(request: Request) -> User | None:
    """Return who calls, or None for a stranger; a partner that is no longer active is refused."""
    return active_caller(request) if request.user else None


def _place(asked: dict[str, Any], caller: User | None) -> dict[str, Any]:
    """Return where the place is, in the words of the verb."""
    if point := asked.get("coordinates"):
        return dict(point)
    if service_id := asked.get("service_id"):
        key = Service.key_of(service_id)
        service = services_named_by(caller).filter(pk=key).first() if key else None
        if service is None:
            raise NotFound("There is no such service of yours.", field="service_id")
        return {"premises_id": service.premises.public_id}
    names = {"address": "text", "premises_id": "premises_id", "location_id": "location_id"}
    place = {names[name]: value for name, value in asked.items() if name in names}
    return place | {"as_written": asked["as_written"]}
