"""Service orders: what partners are asked to deliver, and what they answer (TMF641)."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import NotFound
from ispops.parties.rest import calling_partner, idempotent
from provisioning import partner_orders, queries
from provisioning.models import Service, ServiceOrder

# --- What goes over the wire --------------------------------------------------------------------


class ServiceOrderOut(serializers.ModelSerializer[ServiceOrder]):
    """What a partner may know: its own name for the subscriber, and for a line the address."""

    id = serializers.CharField(source="public_id")
    href = serializers.SerializerMethodField()
    service_ref = serializers.SerializerMethodField()
    offering = serializers.CharField(source="offering.code")
    premises = serializers.SerializerMethodField()

    class Meta:
        model = ServiceOrder
        fields = [
            "id", "href", "kind", "action", "state", "subscriber_ref", "service_ref", "offering",
            "premises", "requested_at", "answer_by", "answered_at", "partner_reference", "reason",
            "progress", "message", "expected_at",
        ]  # fmt: skip

    def get_href(self, order: ServiceOrder) -> str:
        return reverse("service-order", args=[order.public_id])

    def get_service_ref(self, order: ServiceOrder) -> str:
        return Service(pk=order.service_id).public_id

    @extend_schema_field(
        {
            "type": "object",
            "nullable": True,
            "description": "Where the line is wanted; null for an entitlement.",
            "properties": {
                "address": {"type": "string"},
                "location_id": {"type": "string", "nullable": True},
                "latitude": {"type": "string", "nullable": True},
                "longitude": {"type": "string", "nullable": True},
            },
        }
    )
    def get_premises(self, order: ServiceOrder) -> dict[str, Any] | None:
        if order.kind != ServiceOrder.Kind.LINE:
            return None
        return partner_orders.premises_for_partner(order.service)


class CompletionIn(serializers.Serializer[Any]):
    reference = serializers.CharField(
        max_length=100, required=False, allow_blank=True, default="", help_text="Your own number."
    )


class RefusalIn(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=300, help_text="Why it cannot be delivered.")


class ProgressIn(serializers.Serializer[Any]):
    progress = serializers.ChoiceField(
        ["in_progress", "held"], help_text="Whether you work on it, or it has to wait."
    )
    message = serializers.CharField(
        max_length=300, required=False, allow_blank=True, default="",
        help_text="For the subscriber's eyes: what it waits for, for example.",
    )  # fmt: skip
    expected_at = serializers.DateTimeField(
        required=False, help_text="When you will have delivered, where that has changed."
    )


class ServiceOrderFilter(serializers.Serializer[Any]):
    """What a list of service orders may be narrowed down by."""

    state = serializers.ChoiceField(ServiceOrder.State.choices, required=False)
    kind = serializers.ChoiceField(ServiceOrder.Kind.choices, required=False)
    action = serializers.ChoiceField(ServiceOrder.Action.choices, required=False)
    overdue = serializers.BooleanField(
        required=False, default=False, help_text="Only what should have been answered by now."
    )
    subscriber_ref = serializers.CharField(required=False, max_length=40)
    service_ref = serializers.CharField(required=False, max_length=40)
    requested_from = serializers.DateTimeField(required=False)
    requested_to = serializers.DateTimeField(required=False, help_text="Before this moment.")


# --- Service orders -----------------------------------------------------------------------------


class ServiceOrders(generics.ListAPIView[ServiceOrder]):
    """What the calling partner was asked to deliver."""

    scope_area = "service_orders"
    serializer_class = ServiceOrderOut

    def get_queryset(self) -> QuerySet[ServiceOrder]:
        if getattr(self, "swagger_fake_view", False):
            return ServiceOrder.objects.none()
        asked = ServiceOrderFilter(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        own = queries.partner_service_orders(calling_partner(self.request))
        return queries.narrowed(own, asked.validated_data, at=timezone.now())

    @extend_schema(
        summary="List service orders",
        parameters=[ServiceOrderFilter],
        responses={200: ServiceOrderOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


def _key(public_id: str) -> UUID:
    key = ServiceOrder.key_of(public_id)
    if key is None:
        raise NotFound("There is no such service order.")
    return key


class OneServiceOrder(APIView):
    scope_area = "service_orders"

    @extend_schema(summary="See a service order", responses={200: ServiceOrderOut})
    def get(self, request: Request, public_id: str) -> Response:
        own = queries.partner_service_orders(calling_partner(request))
        order = own.filter(pk=_key(public_id)).first()
        if order is None:
            raise NotFound("There is no such service order.")
        return Response(ServiceOrderOut(order).data)


class Completion(APIView):
    scope_area = "service_orders"

    @extend_schema(
        summary="Confirm that it is delivered",
        description="Confirming again changes nothing. A closed order is refused with 409.",
        request=CompletionIn,
        responses={200: ServiceOrderOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        said = CompletionIn(data=request.data)
        said.is_valid(raise_exception=True)
        order = partner_orders.complete(
            service_order_id=_key(public_id),
            partner=calling_partner(request),
            reference=said.validated_data["reference"],
            at=timezone.now(),
        )
        return Response(ServiceOrderOut(order).data)


class Refusal(APIView):
    scope_area = "service_orders"

    @extend_schema(
        summary="Say that it cannot be delivered",
        description="Refusing again changes nothing. A closed order is refused with 409.",
        request=RefusalIn,
        responses={200: ServiceOrderOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        said = RefusalIn(data=request.data)
        said.is_valid(raise_exception=True)
        order = partner_orders.fail(
            service_order_id=_key(public_id),
            partner=calling_partner(request),
            reason=said.validated_data["reason"],
            at=timezone.now(),
        )
        return Response(ServiceOrderOut(order).data)


class Progress(APIView):
    scope_area = "service_orders"

    @extend_schema(
        summary="Say how far it is",
        description="The subscriber sees it. With a later date you have longer to answer. A closed "
        "order is refused with 409.",
        request=ProgressIn,
        responses={200: ServiceOrderOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        said = ProgressIn(data=request.data)
        said.is_valid(raise_exception=True)
        order = partner_orders.report_progress(
            service_order_id=_key(public_id),
            partner=calling_partner(request),
            progress=partner_orders.Progress(
                state=said.validated_data["progress"],
                message=said.validated_data["message"],
                expected_at=said.validated_data.get("expected_at"),
            ),
            at=timezone.now(),
        )
        return Response(ServiceOrderOut(order).data)
