"""Partners, logins, messages and the trail of what was done, in the console.

Everything is shown and nothing is saved except through a verb; see `ispops.admin_base`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, cast

from allauth.account.models import EmailAddress
from allauth.idp.oidc.admin import ClientAdmin as AllauthClientAdmin
from allauth.idp.oidc.models import Client, Token
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin

from ispops.admin_base import ReadOnlyAdmin, VerbAdmin
from ispops.models import Event, EventDelivery, WorkerHeartbeat
from ispops.parties import (
    accounts,
    admin_accounts,  # noqa: F401  (more tables of this department)
    audit,
    outbox,
    partners,
    roles,
    webhooks,
)
from ispops.parties.destinations import DestinationRefused
from ispops.parties.models import AuditEntry, Partner, Subscriber, User, WebhookDelivery

for registered_elsewhere in (Authenticator, Client, EmailAddress, Group, Token, UserSession):
    admin.site.unregister(registered_elsewhere)


def signed_in(request: HttpRequest) -> User:
    """Return who works at the console; the site lets nobody in without a login."""
    return cast(User, request.user)


class NewLoginForm(forms.ModelForm):  # type: ignore[type-arg]
    """A login for a member of staff, who sets the password by "forgot password"."""

    class Meta:
        model = User
        fields = ("email", "first_name", "last_name", "groups")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = Group.objects.exclude(name__in=set(roles.ROLES) - set(roles.STAFF_ROLES))
        cast(forms.ModelMultipleChoiceField, self.fields["groups"]).queryset = offered


@admin.register(User)
class UserAdmin(VerbAdmin):
    list_display = ("email", "first_name", "last_name", "is_staff", "is_active", "last_login")
    list_filter = ("is_staff", "is_active", "groups")
    search_fields = ("email", "first_name", "last_name")
    ordering = ("email",)
    actions = ("lock_out", "let_in", "remove_second_factor")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("parties.add_user")  # type: ignore[union-attr]

    def has_manage_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("parties.change_user")  # type: ignore[union-attr]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        return super().get_form(request, obj, change, **kwargs) if obj else NewLoginForm

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return super().get_fields(request, obj) if obj else list(NewLoginForm.Meta.fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*super().get_readonly_fields(request, obj), "groups"] if obj else []

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        made = accounts.create_login(
            email=obj.email,
            name=f"{obj.first_name} {obj.last_name}",
            groups=[group.name for group in form.cleaned_data["groups"]],
            is_staff=True,
            actor=signed_in(request),
            at=timezone.now(),
        )
        obj.pk = made.pk
        obj._state.adding = False

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The verb has written the groups."""

    @admin.action(description="Lock out", permissions=["manage"])
    def lock_out(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._set_active(request, queryset, active=False, done="{n} people are locked out.")

    @admin.action(description="Let in again", permissions=["manage"])
    def let_in(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._set_active(request, queryset, active=True, done="{n} people can log in again.")

    @admin.action(description="Remove the second factor", permissions=["manage"])
    def remove_second_factor(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self.call_each(
            request,
            queryset,
            lambda row, at: accounts.remove_second_factor(
                user_id=row.pk,
                actor=signed_in(request),
                at=at,
            ),
            done="{n} people must set up a new second factor.",
        )

    def _set_active(
        self, request: HttpRequest, queryset: QuerySet[User], *, active: bool, done: str
    ) -> None:
        self.call_each(
            request,
            queryset,
            lambda row, at: accounts.set_login_active(
                user_id=row.pk,
                active=active,
                actor=signed_in(request),
                at=at,
            ),
            done=done,
        )


@admin.register(Subscriber)
class SubscriberAdmin(ReadOnlyAdmin):
    list_display = ("name", "email", "kind", "standing", "created_at")
    list_filter = ("kind", "standing", "created_at")
    search_fields = ("name", "email", "phone")
    ordering = ("-created_at",)


class PartnerForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean_webhook_url(self) -> str:
        """Say beside the field what `create_partner` would refuse."""
        url: str = self.cleaned_data["webhook_url"]
        try:
            partners.check_webhook_url(url)
        except DestinationRefused as refused:
            raise forms.ValidationError(refused.detail) from refused
        return url


@admin.register(Partner)
class PartnerAdmin(VerbAdmin):
    """Where a partner's messages go is edited, and what the FCC knows a network by; what else it
    is, its contract says. On another host the messages have another secret."""

    list_display = (
        "name", "code", "kind", "is_on_net", "fcc_provider_id", "active", "webhook_url",
    )  # fmt: skip
    list_filter = ("kind", "is_on_net", "active")
    search_fields = ("name", "code", "contact_email")
    ordering = ("name",)
    actions = ("stop", "resume", "change_secret")
    formfield_overrides: ClassVar[dict[Any, Any]] = {models.URLField: {"assume_scheme": "https"}}

    NEW = ("code", "name", "kind", "is_on_net", "contact_email", "webhook_url")
    FCC = ("fcc_provider_id", "brand_name")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("parties.add_partner")  # type: ignore[union-attr]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("parties.change_partner")  # type: ignore[union-attr]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return super().get_fields(request, obj) if obj else list(self.NEW)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return []
        is_network = obj.kind == Partner.Kind.NETWORK_PROVIDER
        edited = {"webhook_url", *(self.FCC if is_network else ()), *self.get_exclude(request, obj)}
        return [field.name for field in Partner._meta.fields if field.name not in edited]

    def save_model(self, request: HttpRequest, obj: Partner, form: Any, change: bool) -> None:
        actor, now = signed_in(request), timezone.now()
        if change:
            moved = partners.set_webhook_url(
                partner_id=obj.pk, webhook_url=obj.webhook_url, actor=actor, at=now
            )
            if moved.webhook_url and moved.webhook_secret != obj.webhook_secret:
                self._show_secret(request, moved)
            partners.set_fcc_identity(
                partner_id=obj.pk,
                fcc_provider_id=obj.fcc_provider_id,
                brand_name=obj.brand_name,
                actor=actor,
                at=now,
            )
            return
        made = partners.create_partner(
            **{name: form.cleaned_data[name] for name in self.NEW},
            actor=actor,
            at=now,
        )
        obj.pk = made.pk
        obj._state.adding = False

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        return super().get_form(request, obj, change, form=PartnerForm, **kwargs)

    @admin.action(description="Stop dealing with them", permissions=["change"])
    def stop(self, request: HttpRequest, queryset: QuerySet[Partner]) -> None:
        self._set_active(request, queryset, active=False, done="{n} partners are stopped.")

    @admin.action(description="Resume dealing with them", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Partner]) -> None:
        self._set_active(request, queryset, active=True, done="{n} partners are active.")

    @admin.action(description="Change the secret of their webhooks", permissions=["change"])
    def change_secret(self, request: HttpRequest, queryset: QuerySet[Partner]) -> None:
        """Show each new secret once; messages are signed by the old one, too, for a day."""

        def change(row: Partner, at: datetime) -> None:
            changed, _ = partners.rotate_webhook_secret(
                partner_id=row.pk, actor=signed_in(request), at=at
            )
            self._show_secret(request, changed)

        self.call_each(
            request, queryset, change, done="New secrets: {n}. The old ones are good for a day."
        )

    def _show_secret(self, request: HttpRequest, row: Partner) -> None:
        self.message_user(
            request,
            f"{row}: {row.webhook_secret} is the new secret. Give it to them; it is not shown "
            "again.",
        )

    def _set_active(
        self, request: HttpRequest, queryset: QuerySet[Partner], *, active: bool, done: str
    ) -> None:
        self.call_each(
            request,
            queryset,
            lambda row, at: partners.set_partner_active(
                partner_id=row.pk,
                active=active,
                actor=signed_in(request),
                at=at,
            ),
            done=done,
        )


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(VerbAdmin):
    list_display = (
        "kind", "partner", "subject", "sequence", "state", "attempts", "response_status",
        "last_error", "created_at", "delivered_at",
    )  # fmt: skip
    list_filter = ("state", "partner", "kind", "created_at")
    list_select_related = ("partner",)
    search_fields = ("subject",)
    ordering = ("-created_at",)
    actions = ("send_again",)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("parties.replay_webhookdelivery")  # type: ignore[union-attr]

    @admin.action(description="Send again", permissions=["replay"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        self.call_each(
            request,
            queryset.select_related("partner"),
            lambda row, at: webhooks.replay(
                delivery_id=row.pk,
                actor=signed_in(request),
                at=at,
            ),
            done="{n} messages will be sent again.",
        )


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor_name", "action", "subject", "subscriber", "reason")
    list_filter = ("action", "at")
    list_select_related = ("subscriber",)
    search_fields = ("subject", "actor_name", "subscriber__name", "subscriber__email")
    ordering = ("-at",)


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ("occurred_at", "kind", "subject")
    list_filter = ("kind", "occurred_at")
    search_fields = ("subject",)
    ordering = ("-id",)


@admin.register(EventDelivery)
class EventDeliveryAdmin(VerbAdmin):
    list_display = (
        "event", "handler", "attempts", "next_attempt_at", "delivered_at", "last_error",
    )  # fmt: skip
    list_filter = (
        "handler",
        ("delivered_at", admin.EmptyFieldListFilter),
        ("next_attempt_at", admin.EmptyFieldListFilter),
    )
    list_select_related = ("event",)
    search_fields = ("event__subject", "event__kind")
    ordering = ("-id",)
    actions = ("retry",)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("ispops.change_eventdelivery")  # type: ignore[union-attr]

    @admin.action(description="Try again", permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[EventDelivery]) -> None:
        self.call_each(
            request,
            queryset.select_related("event"),
            lambda row, at: outbox.retry_event(
                delivery_id=row.pk,
                actor=signed_in(request),
                at=at,
            ),
            done="{n} events will be handled again.",
        )


@admin.register(WorkerHeartbeat)
class WorkerHeartbeatAdmin(ReadOnlyAdmin):
    list_display = ("name", "beat_at")


@admin.register(Client)
class ApiClientAdmin(AllauthClientAdmin, ModelAdmin):
    """allauth makes the secret and shows it once; we note who made or changed the client."""

    list_display = ("name", "id", "type", "owner", "created_at")
    list_filter = ("type",)
    autocomplete_fields = ("owner",)
    raw_id_fields: Sequence[str] = ()

    def save_model(self, request: HttpRequest, obj: Client, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        audit.record(
            actor=signed_in(request),
            action="api_client.changed" if change else "api_client.created",
            subject=f"api_client_{obj.pk}"[:80],
            at=timezone.now(),
            changed=form.changed_data,
        )


@admin.register(Token)
class TokenAdmin(ReadOnlyAdmin):
    list_display = ("client", "type", "user", "created_at", "expires_at")
    list_filter = ("type",)
    list_select_related = ("client", "user")
    exclude: ClassVar[tuple[str, ...]] = ("hash", "data")
    ordering = ("-id",)


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnlyAdmin):
    list_display = ("email", "user", "primary", "verified")
    list_filter = ("primary", "verified")
    list_select_related = ("user",)
    search_fields = ("email",)


@admin.register(Authenticator)
class AuthenticatorAdmin(ReadOnlyAdmin):
    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    exclude: ClassVar[tuple[str, ...]] = ("data",)


@admin.register(UserSession)
class UserSessionAdmin(ReadOnlyAdmin):
    list_display = ("user", "created_at", "last_seen_at", "ip", "user_agent")
    list_select_related = ("user",)
    search_fields = ("user__email", "ip")
    exclude: ClassVar[tuple[str, ...]] = ("session_key", "data")


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Groups of the operator's own; the roles are made equal to the code by each migration."""
