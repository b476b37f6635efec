"""Orders, steps, services and the accounting inbox in the console; changed by verbs alone."""

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from ispops.admin_base import ReadOnlyAdmin, ReadOnlyInline, VerbAdmin
from ispops.parties.models import User
from provisioning import (
    accounting,
    delivery_admin,
    dhcp_admin,
    equipment_admin,
    fallout,
    inbox,
    models,
    visit_admin,
)
from provisioning.control_admin import ControlActions

__all__ = ["delivery_admin", "dhcp_admin", "equipment_admin", "visit_admin"]


def _actor(request: HttpRequest) -> User:
    """Return who works at the console; the site lets nobody in without a login."""
    return cast(User, request.user)


class ReasonForm(BaseDialogForm):
    """Asks why, before something is done that somebody will ask about later."""

    reason = forms.CharField(
        label="Why can it be skipped?",
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )


class ItemInline(ReadOnlyInline):
    model = models.ProductOrderItem
    fields = ("action", "offering", "bundle", "service")
    readonly_fields = fields


class TaskInline(ReadOnlyInline):
    model = models.OrderTask
    fields = ("position", "kind", "state", "cause", "attempts", "finished_at")
    readonly_fields = fields
    ordering = ("position",)


@admin.register(models.ProductOrder)
class ProductOrderAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "subscriber", "state", "channel", "placed_at", "expected_at")
    list_filter = ("state", "channel")
    list_select_related = ("subscriber",)
    search_fields = ("subscriber__name", "subscriber__email")
    inlines = (ItemInline, TaskInline)


@admin.register(models.Registration)
class RegistrationAdmin(ReadOnlyAdmin):
    list_display = (
        "public_id", "state", "channel", "user", "clerk", "offering", "changed_at", "expires_at",
    )  # fmt: skip
    list_filter = ("state", "channel", "changed_at")
    list_select_related = ("user", "clerk", "offering")
    search_fields = ("user__email", "name", "email")
    ordering = ("-changed_at",)
    exclude = ("idempotency_key",)


class AttemptInline(ReadOnlyInline):
    model = models.TaskAttempt
    fields = ("number", "started_at", "ended_at", "outcome", "detail")
    readonly_fields = fields
    ordering = ("number",)
    show_change_link = False


@admin.register(models.OrderTask)
class OrderTaskAdmin(VerbAdmin):
    """The steps of all orders; `state__exact=fallout` is the fallout queue."""

    list_display = ("kind", "order", "item", "state", "cause", "attempts", "next_attempt_at")
    list_filter = ("state", "kind", "cause")
    list_select_related = ("order", "item__offering")
    search_fields = ("order__subscriber__name", "order__subscriber__email")
    inlines = (AttemptInline,)
    actions = ("retry",)
    actions_detail = ("skip",)

    def has_work_fallout_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("provisioning.work_fallout")

    @admin.action(description="Try again", permissions=["work_fallout"])
    def retry(self, request: HttpRequest, rows: QuerySet[models.OrderTask]) -> None:
        self.call_each(
            request,
            rows.select_related("order"),
            lambda task, at: fallout.retry_task(task_id=task.pk, actor=_actor(request), at=at),
            done="Steps that will be tried again: {n}.",
        )

    @action(
        description="Skip this step",
        permissions=["work_fallout"],
        url_path="skip",
        dialog={
            "title": "Skip this step",
            "description": "The order goes on without it. Nothing of it is charged.",
            "form_class": ReasonForm,
            "form_submit_text": "Skip it",
        },
    )
    def skip(self, request: HttpRequest, form: ReasonForm, object_id: int) -> HttpResponse:
        task = models.OrderTask.objects.filter(pk=object_id)
        self.call_each(
            request,
            task,
            lambda row, at: fallout.skip_task(
                task_id=row.pk, actor=_actor(request), reason=form.cleaned_data["reason"], at=at
            ),
            done="The step is skipped.",
        )
        return redirect("admin:provisioning_ordertask_change", object_id)


class PeriodInline(ReadOnlyInline):
    model = models.ServicePeriod
    fields = ("state", "offering", "started_at", "ended_at")
    readonly_fields = fields
    ordering = ("started_at",)
    show_change_link = False


@admin.register(models.Service)
class ServiceAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "offering", "subscriber", "premises", "state", "created_at")
    list_filter = ("state", "offering__kind")
    list_select_related = ("offering", "subscriber", "premises")
    search_fields = ("subscriber__name", "subscriber__email", "credential__username")
    inlines = (PeriodInline,)


@admin.register(models.ServiceOrder)
class ServiceOrderAdmin(ReadOnlyAdmin):
    list_display = (
        "public_id",
        "partner",
        "kind",
        "offering",
        "state",
        "requested_at",
        "answer_by",
    )
    list_filter = ("state", "kind", "partner")
    list_select_related = ("partner", "offering")
    search_fields = ("subscriber_ref", "partner_reference")


ACCESS_SERVER_FIELDS = ("name", "nas_ip", "counters_reversed", "radius_secret", "radius_source")


class AccessServerForm(BaseDialogForm):
    """Asks for what has to be known of an access server."""

    name = forms.SlugField(max_length=50, widget=UnfoldAdminTextInputWidget())
    nas_ip = forms.GenericIPAddressField(
        label="NAS-IP-Address", widget=UnfoldAdminTextInputWidget()
    )
    counters_reversed = forms.BooleanField(
        label="It counts downloads as input",
        required=False,
        widget=UnfoldBooleanWidget(),
    )
    radius_secret = forms.CharField(
        label="RADIUS secret, if it asks our RADIUS server",
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )
    radius_source = forms.GenericIPAddressField(
        label="Source of its packets, if another address",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
    )


class ClientForm(ReasonForm):
    """Asks for the secret that an access server shares with FreeRADIUS; empty is none."""

    radius_secret = AccessServerForm.base_fields["radius_secret"]
    radius_source = AccessServerForm.base_fields["radius_source"]
    field_order = ("radius_secret", "radius_source", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].label = "Why is it changed?"


class DirectionForm(ReasonForm):
    """Asks why an access server is to be read the other way round."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].label = "How do you know?"


@admin.register(models.AccessServer)
class AccessServerAdmin(ControlActions):
    list_display = (
        "name", "nas_ip", "kind", "counters_reversed", "asks_our_server", "takes_changes"
    )  # fmt: skip
    search_fields = ("name",)
    actions_list = ("register",)
    actions_detail = ("set_client", "set_control", "turn_round")

    @admin.display(boolean=True, description="Asks our RADIUS server")
    def asks_our_server(self, server: models.AccessServer) -> bool:
        return bool(server.radius_secret)

    def has_write_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("provisioning.change_accessserver")

    @action(
        description="Register an access server",
        permissions=["write"],
        url_path="register",
        dialog={
            "title": "Register an access server",
            "description": "Sessions of a server that is not registered are counted by RFC 2866.",
            "form_class": AccessServerForm,
            "form_submit_text": "Register it",
        },
    )
    def register(self, request: HttpRequest, form: AccessServerForm) -> HttpResponse:
        asked = {name: form.cleaned_data[name] for name in ACCESS_SERVER_FIELDS}
        asked["radius_source"] = asked["radius_source"] or None
        self.call_each(
            request,
            [asked["name"]],
            lambda _, at: accounting.register_access_server(**asked, actor=_actor(request), at=at),
            done="The access server is registered.",
        )
        return redirect("admin:provisioning_accessserver_changelist")

    @action(
        description="Set its RADIUS secret",
        permissions=["write"],
        url_path="set-client",
        dialog={
            "title": "Set its RADIUS secret",
            "description": "It counts once FreeRADIUS was started with a new file of clients.",
            "form_class": ClientForm,
            "form_submit_text": "Set it",
        },
    )
    def set_client(self, request: HttpRequest, form: ClientForm, object_id: int) -> HttpResponse:
        self.call_each(
            request,
            models.AccessServer.objects.filter(pk=object_id),
            lambda row, at: accounting.set_radius_client(
                access_server_id=row.pk,
                radius_secret=form.cleaned_data["radius_secret"],
                radius_source=form.cleaned_data["radius_source"] or None,
                actor=_actor(request),
                reason=form.cleaned_data["reason"],
                at=at,
            ),
            done="The secret is set.",
        )
        return redirect("admin:provisioning_accessserver_change", object_id)

    @action(
        description="Count the other way round",
        permissions=["write"],
        url_path="turn-round",
        dialog={
            "title": "Count the other way round",
            "description": "What is metered from now on has download and upload exchanged.",
            "form_class": DirectionForm,
            "form_submit_text": "Exchange them",
        },
    )
    def turn_round(self, request: HttpRequest, form: DirectionForm, object_id: int) -> HttpResponse:
        self.call_each(
            request,
            models.AccessServer.objects.filter(pk=object_id),
            lambda row, at: accounting.set_counters_reversed(
                access_server_id=row.pk,
                counters_reversed=not row.counters_reversed,
                actor=_actor(request),
                reason=form.cleaned_data["reason"],
                at=at,
            ),
            done="Download and upload are exchanged from now on.",
        )
        return redirect("admin:provisioning_accessserver_change", object_id)


class ForgetForm(ReasonForm):
    """Asks why nothing can be made of a message."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].label = "Why can nothing be made of it?"


@admin.register(models.AccountingInbox)
class AccountingInboxAdmin(VerbAdmin):
    """What FreeRADIUS has stored and no worker has read; `fault__isempty=0` could not be read."""

    list_display = ("received_at", "server", "source", "status_type", "session_id", "fault")
    fields = (
        "fault",
        *(f.name for f in models.AccountingInbox._meta.fields if f.name not in {"id", "fault"}),
    )
    list_filter = (("fault", admin.EmptyFieldListFilter), "server")
    search_fields = ("=session_id",)
    ordering = ("-id",)
    actions = ("read_again",)
    actions_detail = ("forget",)

    def has_work_fallout_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("provisioning.change_accountinginbox")

    @admin.action(description="Read again", permissions=["work_fallout"])
    def read_again(self, request: HttpRequest, rows: QuerySet[models.AccountingInbox]) -> None:
        self.call_each(
            request,
            rows,
            lambda row, at: inbox.read_again(message_id=row.pk, actor=_actor(request), at=at),
            done="Messages that can be read now: {n}.",
        )

    @action(
        description="Forget this message",
        permissions=["work_fallout"],
        url_path="forget",
        dialog={
            "title": "Forget this message",
            "description": "It is never accounted. The audit trail keeps what it said.",
            "form_class": ForgetForm,
            "form_submit_text": "Forget it",
        },
    )
    def forget(self, request: HttpRequest, form: ForgetForm, object_id: int) -> HttpResponse:
        self.call_each(
            request,
            models.AccountingInbox.objects.filter(pk=object_id),
            lambda row, at: inbox.forget_unreadable(
                message_id=row.pk,
                actor=_actor(request),
                reason=form.cleaned_data["reason"],
                at=at,
            ),
            done="The message is forgotten.",
        )
        return redirect("admin:provisioning_accountinginbox_changelist")


@admin.register(models.AccountingRecord)
class AccountingRecordAdmin(ReadOnlyAdmin):
    """The accounting inbox, newest first, as the address servers sent it."""

    list_display = (
        "received_at", "status_type", "username", "session_id", "framed_ip", "session_seconds",
        "input_octets", "output_octets", "is_counted",
    )  # fmt: skip
    list_filter = ("status_type", "server")
    search_fields = ("username", "=unique_session_id")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.AccountingRecord]:
        waits = models.WaitingAccounting.objects.filter(
            reader=models.WaitingAccounting.Reader.METERING,
            first__lte=OuterRef("pk"),
            last__gte=OuterRef("pk"),
        )
        return super().get_queryset(request).annotate(is_counted=~Exists(waits))

    @admin.display(boolean=True, description="Counted")
    def is_counted(self, record: models.AccountingRecord) -> bool:
        """Say whether metering has seen the message."""
        return bool(record.is_counted)  # type: ignore[attr-defined]


@admin.register(models.ServiceSuspension)
class ServiceSuspensionAdmin(ReadOnlyAdmin):
    """For what and from when to when lines were suspended, newest first."""

    list_display = ("started_at", "service", "reason", "treatment", "ended_at")
    list_filter = ("reason", "treatment", ("ended_at", admin.EmptyFieldListFilter))
    list_select_related = ("service__offering",)
    ordering = ("-id",)


@admin.register(models.Slowdown)
class SlowdownAdmin(ReadOnlyAdmin):
    """Which lines were held to less than their plan's speed, from when to when, newest first."""

    list_display = (
        "started_at", "service", "download_kbps", "upload_kbps", "holds_until", "ended_at",
        "ended_for",
    )  # fmt: skip
    list_filter = ("ended_for", ("ended_at", admin.EmptyFieldListFilter))
    list_select_related = ("service__offering",)
    ordering = ("-id",)
