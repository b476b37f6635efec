"""Service qualifications for partners and subscribers' programs (figure 2; TM Forum TMF645)."""

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import InvalidInput, NotFound
from ispops.parties.models import Subscriber
from ispops.parties.rest import active_caller, idempotent
from qualification import qualify, queries
from qualification.models import Premises, QualifiedOffer, ServiceQualification

Channel = ServiceQualification.Channel

# --- What goes over the wire --------------------------------------------------------------------


class CandidateOut(serializers.Serializer[Any]):
    """One place to choose; ask again with its id as `premises_id`."""

    id = serializers.CharField()
    address = serializers.CharField()


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
            "usage_terms",
        ]  # fmt: skip

    def get_guaranteed_until(self, offer: QualifiedOffer) -> datetime | None:
        return offer.qualification.expires_at if offer.eligible else None

    def get_alternative(self, offer: QualifiedOffer) -> str | None:
        return offer.closest.offering.code if offer.closest else None


class QualificationSummaryOut(serializers.ModelSerializer[ServiceQualification]):
    id = serializers.CharField(source="public_id")
    href = serializers.SerializerMethodField()
    address = serializers.CharField(source="asked_text", help_text="What was asked for.")
    premises = serializers.SerializerMethodField()
    candidates = CandidateOut(many=True, help_text="Places to choose from, in state `choose`.")

    class Meta:
        model = ServiceQualification
        fields = [
            "id", "href", "state", "address", "premises", "confidence", "remark", "candidates",
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


class QualificationOut(QualificationSummaryOut):
    offers = serializers.SerializerMethodField()

    class Meta(QualificationSummaryOut.Meta):
        fields = [*QualificationSummaryOut.Meta.fields, "offers"]

    @extend_schema_field(OfferOut(many=True))
    def get_offers(self, answer: ServiceQualification) -> Any:
        return OfferOut(queries.offers_of(answer), many=True).data


class QualificationIn(serializers.Serializer[Any]):
    """Give an address or the id of a place."""

    address = serializers.CharField(
        required=False,
        trim_whitespace=False,
        allow_blank=True,
        help_text="On one line or several: street number, street, unit, city, state, ZIP code.",
    )
    premises_id = serializers.CharField(
        required=False, max_length=40, help_text="The id of a place, as a candidate has it."
    )
    subscriber_kind = serializers.ChoiceField(
        choices=Subscriber.Kind.choices, default=Subscriber.Kind.CONSUMER
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("address" in attrs) == ("premises_id" in attrs):
            raise serializers.ValidationError(
                {"address": ["Give an address, or else a premises_id."]}
            )
        return attrs


# --- The calls ----------------------------------------------------------------------------------


class ServiceQualifications(generics.ListAPIView[ServiceQualification]):
    """Whether a place can be served, by whom, how fast and for how much."""

    scope_area = "qualification"
    serializer_class = QualificationSummaryOut

    def get_queryset(self) -> QuerySet[ServiceQualification]:
        if getattr(self, "swagger_fake_view", False):
            return ServiceQualification.objects.none()
        own = queries.asked_by(_asker(self.request))
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
        summary="Qualify an address",
        description="The answer is stored, and its prices are a promise until `expires_at`. "
        "In state `choose`, ask again with the id of one of the `candidates`.",
        request=QualificationIn,
        responses={201: QualificationOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = QualificationIn(data=request.data)
        asked.is_valid(raise_exception=True)
        partner = hasattr(request.user, "partner")
        answer = qualify.qualify_address(
            text=asked.validated_data.get("address"),
            premises_id=asked.validated_data.get("premises_id"),
            subscriber_kind=asked.validated_data["subscriber_kind"],
            channel=Channel.PARTNER if partner else Channel.CLIENT,
            asker=_asker(request),
            at=timezone.now(),
        )
        headers = {"Location": reverse("service-qualification", args=[answer.public_id])}
        return Response(QualificationOut(answer).data, status=201, headers=headers)


class OneServiceQualification(APIView):
    scope_area = "qualification"

    @extend_schema(
        summary="See one of your qualifications, as it was answered",
        responses={200: QualificationOut},
    )
    def get(self, request: Request, public_id: str) -> Response:
        key = ServiceQualification.key_of(public_id)
        own = queries.asked_by(_asker(request))
        answer = own.filter(pk=key).first() if key else None
        if answer is None:
            raise NotFound("There is no such qualification of yours.")
        return Response(QualificationOut(answer).data)


def _asker(request: Request) -> str:
    """Name who calls; a partner that is no longer active is refused."""
    return queries.asker_of(active_caller(request))
