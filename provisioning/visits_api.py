"""Technicians' visits for subscribers' programs (TMF646): the times there are, and choosing one."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import InvalidInput, NotFound
from ispops.parties.rest import idempotent
from provisioning import visiting, visits
from provisioning.models import Appointment, InstallSlot
from provisioning.product_orders_api import login_of, own_order


class InstallSlotOut(serializers.ModelSerializer[InstallSlot]):
    id = serializers.CharField(source="public_id")
    words = serializers.CharField(
        source="in_words", help_text="When it is in the ISP's own time zone."
    )

    class Meta:
        model = InstallSlot
        fields = ["id", "starts_at", "ends_at", "words"]

    def to_representation(self, slot: InstallSlot) -> dict[str, Any]:
        slot.in_words = visiting.in_words(slot)  # type: ignore[attr-defined]
        return super().to_representation(slot)


class AppointmentOut(serializers.ModelSerializer[Appointment]):
    id = serializers.CharField(source="public_id")
    order = serializers.CharField(source="order.public_id")
    state = serializers.CharField()
    slot = InstallSlotOut()

    class Meta:
        model = Appointment
        fields = ["id", "order", "state", "slot", "booked_at"]


class AppointmentIn(serializers.Serializer[Any]):
    slot = serializers.CharField(
        max_length=40, help_text="The id of one of the order's `install_slots`, such as `slt_...`."
    )


class InstallSlots(APIView):
    scope_area = "orders"

    @extend_schema(
        summary="List the times at which a technician can come for an order",
        description="The next free ones. Empty where nobody has to come.",
        responses={200: InstallSlotOut(many=True)},
    )
    def get(self, request: Request, public_id: str) -> Response:
        order = own_order(login_of(request), public_id)
        slots = visiting.offer_slots(order, at=timezone.now())
        return Response(InstallSlotOut(slots, many=True).data)


class OneAppointment(APIView):
    scope_area = "orders"

    @extend_schema(
        summary="See when the technician comes for an order", responses={200: AppointmentOut}
    )
    def get(self, request: Request, public_id: str) -> Response:
        visit = visiting.visit_of(own_order(login_of(request), public_id))
        if visit is None:
            raise NotFound("No visit is booked for this order.")
        return Response(AppointmentOut(visit).data)

    @extend_schema(
        summary="Choose when the technician comes, or another time",
        description="A visit that is booked already is moved. Possible until a day before both.",
        request=AppointmentIn,
        responses={201: AppointmentOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        asked = AppointmentIn(data=request.data)
        asked.is_valid(raise_exception=True)
        user = login_of(request)
        key = InstallSlot.key_of(asked.validated_data["slot"])
        if key is None:
            raise InvalidInput("There is no such time.", field="slot")
        order = own_order(user, public_id)
        visit = visits.book_visit(order_id=order.pk, slot_id=key, actor=user, at=timezone.now())
        return Response(AppointmentOut(visit).data, status=201)
