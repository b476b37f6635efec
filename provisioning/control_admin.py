"""What the console offers for the profile of a line and for telling access servers of changes."""

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from ispops.admin_base import ReadOnlyAdmin, ReadOnlyInline, VerbAdmin
from ispops.parties.models import User
from provisioning import control, models, profiles
from provisioning.in_force import Speed


def _reason(label: str) -> forms.CharField:
    return forms.CharField(
        label=label, max_length=300, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )


class ProfileForm(BaseDialogForm):
    """Asks for what a line gets instead of its plan's."""

    download_mbps = forms.IntegerField(
        label="Download, Mbit/s; empty is the plan's",
        required=False,
        min_value=1,
        max_value=1_000_000,
        widget=UnfoldAdminIntegerFieldWidget(),
    )
    upload_mbps = forms.IntegerField(
        label="Upload, Mbit/s",
        required=False,
        min_value=1,
        max_value=1_000_000,
        widget=UnfoldAdminIntegerFieldWidget(),
    )
    sessions_at_once = forms.IntegerField(
        label="Sessions at once; empty is as many as it has addresses",
        required=False,
        min_value=1,
        max_value=profiles.MOST_SESSIONS,
        widget=UnfoldAdminIntegerFieldWidget(),
    )
    reason = _reason("Why does the line get it?")

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if (given.get("download_mbps") is None) != (given.get("upload_mbps") is None):
            self.add_error("upload_mbps", "Give both speeds, or none.")
        return dict(given)

    def speed(self) -> Speed | None:
        down, up = self.cleaned_data["download_mbps"], self.cleaned_data["upload_mbps"]
        return Speed(down * 1000, up * 1000) if down else None


class RevisionInline(ReadOnlyInline):
    model = models.ProfileRevision
    fields = ("revision", "enabled", "treatment", "download_kbps", "upload_kbps", "made_at")
    readonly_fields = fields
    ordering = ("-revision",)
    show_change_link = False


@admin.register(models.AaaCredential)
class AaaCredentialAdmin(VerbAdmin):
    list_display = ("username", "service", "enabled", "treatment", "revision")
    list_filter = ("enabled", "treatment")
    list_select_related = ("service__offering",)
    search_fields = ("username",)
    inlines = (RevisionInline,)
    actions_detail = ("set_profile",)

    def has_write_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("provisioning.change_aaacredential")

    @action(
        description="Set another speed or limit",
        permissions=["write"],
        url_path="set-profile",
        dialog={
            "title": "Set another speed or limit",
            "description": "Live sessions get it within seconds. What is left empty is taken back.",
            "form_class": ProfileForm,
            "form_submit_text": "Set it",
        },
    )
    def set_profile(self, request: HttpRequest, form: ProfileForm, object_id: int) -> HttpResponse:
        self.call_each(
            request,
            models.AaaCredential.objects.filter(pk=object_id).select_related("service"),
            lambda row, at: profiles.set_profile(
                service=row.service,
                speed=form.speed(),
                sessions_at_once=form.cleaned_data["sessions_at_once"],
                actor=cast(User, request.user),
                reason=form.cleaned_data["reason"],
                at=at,
            ),
            done="The line has its new profile.",
        )
        return redirect("admin:provisioning_aaacredential_change", object_id)


class ControlForm(BaseDialogForm):
    """Asks how an access server is told of changes. The secret it has is never shown."""

    kind = forms.ChoiceField(
        label="Attributes that it knows",
        choices=models.AccessServer.Kind.choices,
        widget=UnfoldAdminSelectWidget(),
    )
    coa_host = forms.GenericIPAddressField(
        label="Where it listens; empty is its NAS-IP-Address",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
    )
    coa_port = forms.IntegerField(
        label="Port", initial=3799, min_value=1, max_value=65535,
        widget=UnfoldAdminIntegerFieldWidget(),
    )  # fmt: skip
    coa_secret = forms.CharField(
        label="Secret; empty leaves the one that it has",
        required=False,
        max_length=200,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )
    takes_none = forms.BooleanField(
        label="It takes no changes: forget the secret",
        required=False,
        widget=UnfoldBooleanWidget(),
    )
    clock_is_wrong = forms.BooleanField(
        label="Its clock is wrong: leave the time out, or it throws changes away as too old",
        required=False,
        widget=UnfoldBooleanWidget(),
    )
    reason = _reason("Why is it changed?")

    def secret(self) -> str | None:
        if self.cleaned_data["takes_none"]:
            return ""
        return self.cleaned_data["coa_secret"] or None


class ControlActions(VerbAdmin):
    """What the list of access servers offers for telling them of changes."""

    @admin.display(boolean=True, description="Takes changes")
    def takes_changes(self, server: models.AccessServer) -> bool:
        return bool(server.coa_secret)

    @action(
        description="Set how it takes changes",
        permissions=["write"],
        url_path="set-control",
        dialog={
            "title": "Set how it takes changes",
            "description": "Changes of a live session and disconnects go there (RFC 5176).",
            "form_class": ControlForm,
            "form_submit_text": "Set it",
        },
    )
    def set_control(self, request: HttpRequest, form: ControlForm, object_id: int) -> HttpResponse:
        self.call_each(
            request,
            models.AccessServer.objects.filter(pk=object_id),
            lambda row, at: control.set_control(
                access_server_id=row.pk,
                kind=form.cleaned_data["kind"],
                coa_host=form.cleaned_data["coa_host"] or None,
                coa_port=form.cleaned_data["coa_port"],
                coa_secret=form.secret(),
                coa_says_when=not form.cleaned_data["clock_is_wrong"],
                actor=cast(User, request.user),
                reason=form.cleaned_data["reason"],
                at=at,
            ),
            done="The access server is set.",
        )
        return redirect("admin:provisioning_accessserver_change", object_id)


@admin.register(models.AccessSession)
class AccessSessionAdmin(ReadOnlyAdmin):
    """Who is and was online, newest first, as the accounting messages told."""

    list_display = (
        "started_at", "username", "nas_ip", "framed_ip", "last_heard_at", "ended_at", "end_cause",
        "trouble",
    )  # fmt: skip
    list_filter = (("ended_at", admin.EmptyFieldListFilter), "end_cause", "trouble")
    search_fields = ("username", "=unique_session_id", "=framed_ip")
    ordering = ("-id",)


@admin.register(models.SessionCommand)
class SessionCommandAdmin(ReadOnlyAdmin):
    """What access servers were told about live sessions, newest first, and what they said."""

    list_display = ("sent_at", "kind", "session", "outcome", "detail")
    list_filter = ("kind", "outcome")
    list_select_related = ("session",)
    search_fields = ("session__username",)
    ordering = ("-id",)
