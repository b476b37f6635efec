"""Networks that take orders by an API of their own, in the console; see `provisioning.admin`."""

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminURLInputWidget

from ispops.admin_base import ReadOnlyAdmin, VerbAdmin, VerbForm
from ispops.breaker import CLOSED, HALF_OPEN, OPEN
from ispops.parties.models import Partner, User
from provisioning import delivering, delivery_connections, models


class DeliveryForm(VerbForm):
    """How a provider is ordered from. The tokens are written here and never shown."""

    base_url = forms.URLField(
        assume_scheme="https",
        label="Address of its API",
        help_text="What comes before /serviceOrder (TM Forum TMF641, version 4).",
        widget=UnfoldAdminURLInputWidget(),
    )
    new_token = forms.CharField(
        required=False,
        max_length=2_000,
        label="Token",
        help_text="Sent as a bearer token. It is never shown; leave it empty to keep the one that "
        "is there.",
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
    )
    new_callback_token = forms.CharField(
        required=False,
        max_length=200,
        label="Token with which it calls us",
        help_text="16 random letters and digits or more, for /tmf-api/serviceOrdering/v4/listener. "
        "Only its digest is kept; leave it empty to keep it. Without one, orders are looked at.",
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
    )

    class Meta:
        model = models.DeliveryConnection
        fields = (
            "partner", "base_url", "active", "timeout_seconds", "at_once", "look_every_seconds",
            "breaker_threshold", "breaker_pause_seconds",
        )  # fmt: skip
        labels: ClassVar[dict[str, str]] = {
            "timeout_seconds": "Answers within (seconds)",
            "at_once": "Called at the same time (orders)",
            "look_every_seconds": "Looked at when nothing is heard for (seconds)",
            "breaker_threshold": "Left alone after (failures in a row)",
            "breaker_pause_seconds": "Left alone for (seconds)",
        }

    def perform(self, **more: Any) -> models.DeliveryConnection:
        given = dict(self.cleaned_data)
        given["token"] = given.pop("new_token", "")
        given["callback_token"] = given.pop("new_callback_token", "")
        if self.instance.pk:
            given.pop("partner", None)
            return delivery_connections.change_delivery(
                connection_id=self.instance.pk, at=timezone.now(), **given, **more
            )
        return delivery_connections.connect_delivery(at=timezone.now(), **given, **more)


@admin.register(models.DeliveryConnection)
class DeliveryConnectionAdmin(VerbAdmin):
    """Networks that are ordered from by an API of their own, and whether they are answering."""

    form = DeliveryForm
    list_display = ("partner", "answering", "open_until", "failures", "last_error", "active")
    list_filter = ("active", ("open_until", admin.EmptyFieldListFilter))
    list_select_related = ("partner",)
    search_fields = ("partner__name", "partner__code", "base_url")
    ordering = ("partner__name",)
    READ = ("answering", "failures", "open_until", "last_error")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("provisioning.add_deliveryconnection")  # type: ignore[union-attr]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("provisioning.change_deliveryconnection")  # type: ignore[union-attr]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = [*DeliveryForm.Meta.fields]
        if self.has_change_permission(request):
            where = fields.index("base_url") + 1
            fields[where:where] = ["new_token", "new_callback_token"]
        return [*fields, *self.READ] if obj else fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["partner", *self.READ] if obj else []

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the networks that have an API to order from and are not connected yet."""
        if db_field.name == "partner":
            kwargs["queryset"] = Partner.objects.filter(
                kind=Partner.Kind.NETWORK_PROVIDER, is_on_net=False, delivery_connection=None
            ).order_by("name")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        made = form.perform(actor=cast(User, request.user))
        obj.pk = made.pk
        obj._state.adding = False
        obj.refresh_from_db()

    @admin.display(description="Answering")
    def answering(self, connection: models.DeliveryConnection) -> str:
        """Say in words what the circuit breaker does."""
        state = delivering.breaker_of(connection).state(timezone.now())
        return {
            CLOSED: "✓ called as usual" if not connection.failures else "! failing, still called",
            OPEN: "✕ left alone for now",
            HALF_OPEN: "◔ the next call is a test",
        }[state]


@admin.register(models.Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = (
        "service_order", "connection", "state", "provider_state", "reference", "attempts",
        "next_attempt_at", "last_error",
    )  # fmt: skip
    list_filter = ("state", "connection")
    list_select_related = ("connection__partner", "service_order")
    search_fields = ("reference", "last_error")
    ordering = ("-pk",)


@admin.register(models.DeliveryNotice)
class DeliveryNoticeAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "connection", "kind", "delivery", "outcome", "detail")
    list_filter = ("outcome", "connection", "received_at")
    list_select_related = ("connection__partner", "delivery__connection__partner")
    search_fields = ("event_id", "delivery__reference")
    ordering = ("-pk",)
