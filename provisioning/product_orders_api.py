"""Product orders, and the lines that come of them, for subscribers' programs (TMF622, TMF638)."""

from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import exceptions, generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import InvalidInput, NotFound
from ispops.parties.models import Subscriber, User
from ispops.parties.rest import calling_login, idempotent
from provisioning import orders, queries
from provisioning.later_api import AmendmentIn, LineOut, ProductOrderIn, amend, place_later
from provisioning.models import ProductOrder, ProductOrderItem, Service
from qualification.models import ServiceQualification


class StepOut(serializers.Serializer[Any]):
    """One step of an order's work, in words for the subscriber."""

    kind = serializers.CharField()
    words = serializers.CharField(help_text="What is done, in plain words.")
    state = serializers.CharField()
    status = serializers.CharField(help_text="How far it is, in plain words.")
    expected_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class OrderItemOut(serializers.ModelSerializer[ProductOrderItem]):
    offering = serializers.CharField(source="offering.code")
    name = serializers.CharField(source="offering.name")
    bundle = serializers.CharField(source="bundle.code", default=None)
    service = serializers.CharField(source="service.public_id", default=None)

    class Meta:
        model = ProductOrderItem
        fields = ["action", "offering", "name", "bundle", "service"]


class ProductOrderOut(serializers.ModelSerializer[ProductOrder]):
    id = serializers.CharField(source="public_id")
    href = serializers.SerializerMethodField()
    subscriber = serializers.CharField(source="subscriber.public_id")
    line = serializers.CharField(source="line.public_id", default=None, allow_null=True)
    qualification = serializers.CharField(
        source="qualification.public_id", default=None, allow_null=True
    )
    items = OrderItemOut(many=True)
    steps = serializers.SerializerMethodField()

    class Meta:
        model = ProductOrder
        fields = [
            "id", "href", "intent", "state", "subscriber", "line", "qualification", "channel",
            "placed_at", "wanted_from", "expected_at", "completed_at", "items", "steps",
        ]  # fmt: skip

    def get_href(self, order: ProductOrder) -> str:
        return reverse("product-order", args=[order.public_id])

    @extend_schema_field(StepOut(many=True))
    def get_steps(self, order: ProductOrder) -> Any:
        return StepOut(queries.order_progress(order), many=True).data


class CancellationIn(serializers.Serializer[Any]):
    reason = serializers.CharField(
        max_length=300, required=False, default="", allow_blank=True, help_text="Why, if you like."
    )


def login_of(request: Request) -> User:
    """Return the login that calls; a partner's program orders nothing for itself."""
    return calling_login(request)


class ProductOrders(generics.ListAPIView[ProductOrder]):
    """The orders of the accounts that the login belongs to."""

    scope_area = "orders"
    serializer_class = ProductOrderOut

    def get_queryset(self) -> QuerySet[ProductOrder]:
        if getattr(self, "swagger_fake_view", False):
            return ProductOrder.objects.none()
        return queries.orders_of_user(login_of(self.request))

    @extend_schema(
        summary="Place an order",
        description="The order is worked on from now on: its `steps` show how far it is.",
        request=ProductOrderIn,
        responses={201: ProductOrderOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = ProductOrderIn(data=request.data)
        asked.is_valid(raise_exception=True)
        user = login_of(request)
        wanted = asked.validated_data
        named = wanted.get("qualification")
        qualification = _qualification(named) if named else None
        if wanted["intent"] == ProductOrder.Intent.NEW:
            order = _place_new(request, user, wanted, qualification)
        else:
            order = place_later(request, user, wanted, qualification)
        placed = queries.orders_of_user(user).get(pk=order.pk)
        headers = {"Location": reverse("product-order", args=[order.public_id])}
        return Response(ProductOrderOut(placed).data, status=201, headers=headers)

    @extend_schema(summary="List orders", responses={200: ProductOrderOut(many=True)})
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class OneProductOrder(APIView):
    scope_area = "orders"

    @extend_schema(summary="See an order and how far it is", responses={200: ProductOrderOut})
    def get(self, request: Request, public_id: str) -> Response:
        return Response(ProductOrderOut(own_order(login_of(request), public_id)).data)

    @extend_schema(
        summary="Change an order that has not taken effect",
        description="Another day moves what waits for it. Other items or offerings replace those "
        "of the order; what was done for it is undone, and the work begins anew.",
        request=AmendmentIn,
        responses={200: ProductOrderOut},
    )
    def patch(self, request: Request, public_id: str) -> Response:
        asked = AmendmentIn(data=request.data)
        asked.is_valid(raise_exception=True)
        user = login_of(request)
        order = own_order(user, public_id)
        named = asked.validated_data.get("qualification")
        amend(order, user, asked.validated_data, _qualification(named) if named else None)
        return Response(ProductOrderOut(own_order(user, public_id)).data)


class Cancellation(APIView):
    scope_area = "orders"

    @extend_schema(
        summary="Cancel an order",
        description="Possible until it takes effect; what was done is undone. A cancelled order "
        "stays as it is.",
        request=CancellationIn,
        responses={200: ProductOrderOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        said = CancellationIn(data=request.data)
        said.is_valid(raise_exception=True)
        user = login_of(request)
        order = own_order(user, public_id)
        orders.cancel_order(
            order_id=order.pk,
            actor=user,
            reason=said.validated_data["reason"].strip() or "Cancelled by the subscriber.",
            at=timezone.now(),
        )
        return Response(ProductOrderOut(own_order(user, public_id)).data)


class Services(generics.ListAPIView[Service]):
    """The lines of the accounts that the login belongs to, without those that have ended."""

    scope_area = "orders"
    serializer_class = LineOut

    def get_queryset(self) -> QuerySet[Service]:
        if getattr(self, "swagger_fake_view", False):
            return Service.objects.none()
        return queries.lines_of_user(login_of(self.request))

    @extend_schema(
        summary="List lines, with what they carry and why they are suspended",
        responses={200: LineOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


def own_order(user: User, public_id: str) -> ProductOrder:
    key = ProductOrder.key_of(public_id)
    order = queries.orders_of_user(user).filter(pk=key).first() if key else None
    if order is None:
        raise NotFound("There is no such order.")
    return order


def _place_new(
    request: Request,
    user: User,
    wanted: dict[str, Any],
    qualification: ServiceQualification | None,
) -> ProductOrder:
    missing = {
        name: ["This field is required."]
        for name in ("qualification", "offering_codes")
        if not wanted.get(name)
    }
    if missing or qualification is None:
        raise exceptions.ValidationError(missing)
    return orders.place_order(
        subscriber=_account(user, wanted.get("subscriber")),
        qualification=qualification,
        offering_codes=wanted["offering_codes"],
        channel=ProductOrder.Channel.CLIENT,
        placed_by=user,
        idempotency_key=request.headers["Idempotency-Key"].strip(),
        at=timezone.now(),
    )


def _account(user: User, public_id: str | None) -> Subscriber:
    """Return the account to order for: the login's only one, or the one that is named."""
    own = user.subscribers.order_by("created_at")
    if public_id is not None:
        key = Subscriber.key_of(public_id)
        own = own.filter(pk=key) if key else own.none()
    found = list(own[:2])
    if not found:
        raise InvalidInput("This login has no such account.", field="subscriber")
    if len(found) > 1:
        raise InvalidInput("This login has several accounts: name one.", field="subscriber")
    return found[0]


def _qualification(public_id: str) -> ServiceQualification:
    key = ServiceQualification.key_of(public_id)
    asked = ServiceQualification.objects.select_related("premises")
    found = asked.filter(pk=key).first() if key else None
    if found is None:
        raise InvalidInput("There is no such qualification.", field="qualification")
    return found
