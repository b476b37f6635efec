"""What a partner was told by webhook: it sees its own messages, and has them sent again."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import NotFound
from ispops.parties import webhooks
from ispops.parties.models import WebhookDelivery
from ispops.parties.rest import active_caller, calling_partner, idempotent


class WebhookDeliveryOut(serializers.ModelSerializer[WebhookDelivery]):
    id = serializers.CharField(source="public_id", help_text="The `webhook-id` of the message.")
    href = serializers.SerializerMethodField()

    class Meta:
        model = WebhookDelivery
        fields = [
            "id", "href", "kind", "subject", "sequence", "state", "attempts", "response_status",
            "last_error", "created_at", "next_attempt_at", "delivered_at", "body",
        ]  # fmt: skip

    def get_href(self, delivery: WebhookDelivery) -> str:
        return reverse("webhook-delivery", args=[delivery.public_id])


class WebhookFilter(serializers.Serializer[Any]):
    """What a list of messages may be narrowed down by."""

    state = serializers.ChoiceField(WebhookDelivery.State.choices, required=False)
    kind = serializers.CharField(required=False, max_length=80)
    subject = serializers.CharField(required=False, max_length=80)
    created_from = serializers.DateTimeField(required=False)
    created_to = serializers.DateTimeField(required=False, help_text="Before this moment.")


class RedeliveryIn(serializers.Serializer[Any]):
    created_from = serializers.DateTimeField()
    created_to = serializers.DateTimeField(help_text="Before this moment.")
    parked_only = serializers.BooleanField(
        default=False, help_text="Only what we have given up sending."
    )


class RedeliveryOut(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="How many messages will be sent again.")


class WebhookDeliveries(generics.ListAPIView[WebhookDelivery]):
    """The messages to the calling partner."""

    scope_area = "webhooks"
    serializer_class = WebhookDeliveryOut

    def get_queryset(self) -> QuerySet[WebhookDelivery]:
        if getattr(self, "swagger_fake_view", False):
            return WebhookDelivery.objects.none()
        asked = WebhookFilter(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        names = {"created_from": "created_at__gte", "created_to": "created_at__lt"}
        given = {names.get(name, name): value for name, value in asked.validated_data.items()}
        return calling_partner(self.request).webhooks.filter(**given)

    @extend_schema(
        summary="List the messages to you",
        parameters=[WebhookFilter],
        responses={200: WebhookDeliveryOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


def _own(request: Request, public_id: str) -> WebhookDelivery:
    """Return a message to the caller; another partner's is not there (invariant 7)."""
    key: UUID | None = WebhookDelivery.key_of(public_id)
    own = calling_partner(request).webhooks.filter(pk=key) if key else None
    delivery = own.first() if own is not None else None
    if delivery is None:
        raise NotFound("There is no such message.")
    return delivery


class OneWebhookDelivery(APIView):
    scope_area = "webhooks"

    @extend_schema(summary="See a message to you", responses={200: WebhookDeliveryOut})
    def get(self, request: Request, public_id: str) -> Response:
        return Response(WebhookDeliveryOut(_own(request, public_id)).data)


class Redelivery(APIView):
    scope_area = "webhooks"

    @extend_schema(
        summary="Have a message sent again",
        description="It keeps its `webhook-id`.",
        request=None,
        responses={202: WebhookDeliveryOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        delivery = webhooks.replay(
            delivery_id=_own(request, public_id).pk,
            actor=active_caller(request),
            at=timezone.now(),
        )
        return Response(WebhookDeliveryOut(delivery).data, status=202)


class Redeliveries(APIView):
    scope_area = "webhooks"

    @extend_schema(
        operation_id="webhook_deliveries_redeliver_span",
        summary="Have the messages of a span sent again",
        description="At most 1,000 at a time; each keeps its `webhook-id` and its order.",
        request=RedeliveryIn,
        responses={202: RedeliveryOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = RedeliveryIn(data=request.data)
        asked.is_valid(raise_exception=True)
        partner = calling_partner(request)
        count = webhooks.replay_span(
            partner=partner,
            since=asked.validated_data["created_from"],
            until=asked.validated_data["created_to"],
            state="parked" if asked.validated_data["parked_only"] else "",
            actor=active_caller(request),
            at=timezone.now(),
        )
        return Response({"count": count}, status=202)
