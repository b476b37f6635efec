"""Terms, who accepted them, and how subscribers pay, in the console."""

from typing import Any, cast

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from ispops.admin_base import ReadOnlyAdmin, VerbAdmin, VerbForm
from ispops.parties import terms
from ispops.parties.models import (
    CheckInquiry,
    CheckProvider,
    Invitation,
    PaymentMethod,
    SubscriberCheck,
    TermsAcceptance,
    TermsVersion,
    User,
)


class TermsForm(VerbForm):
    """New terms, which are in force from the moment they are saved and are never changed."""

    verb = staticmethod(terms.publish_terms)

    class Meta:
        model = TermsVersion
        fields = ("version", "text")
        help_texts = {
            "version": "Such as 2027-01. People see it beside the terms.",
            "text": "Markdown. Whoever orders from now on accepts this text; it cannot be changed "
            "once it is published, only followed by another version.",
        }

    def perform(self, **more: Any) -> models.Model:
        return super().perform(**{"actor": None} | more)


@admin.register(TermsVersion)
class TermsVersionAdmin(VerbAdmin):
    list_display = ("version", "published_at", "published_by")
    list_select_related = ("published_by",)
    ordering = ("-id",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("parties.publish_termsversion")  # type: ignore[union-attr]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        return super().get_form(request, obj, change, **kwargs) if obj else TermsForm

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return super().get_fields(request, obj) if obj else list(TermsForm.Meta.fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return super().get_readonly_fields(request, obj) if obj else []

    def save_model(self, request: HttpRequest, obj: TermsVersion, form: Any, change: bool) -> None:
        made = form.perform(actor=cast(User, request.user))
        obj.pk = made.pk
        obj._state.adding = False


@admin.register(TermsAcceptance)
class TermsAcceptanceAdmin(ReadOnlyAdmin):
    list_display = ("accepted_at", "subscriber", "version", "channel", "how", "user")
    list_filter = ("version", "channel", "how")
    list_select_related = ("subscriber", "version", "user")
    search_fields = ("subscriber__name", "subscriber__email")
    ordering = ("-accepted_at",)


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    list_display = ("email", "subscriber", "invited_by", "created_at", "accepted_at", "expires_at")
    list_filter = (("accepted_at", admin.EmptyFieldListFilter),)
    list_select_related = ("subscriber", "invited_by")
    search_fields = ("email", "subscriber__name")
    ordering = ("-created_at",)


@admin.register(SubscriberCheck)
class SubscriberCheckAdmin(ReadOnlyAdmin):
    list_display = ("subscriber", "kind", "state", "asked_at", "decided_at", "decided_by")
    list_filter = ("kind", "state")
    list_select_related = ("subscriber", "decided_by")
    search_fields = ("subscriber__name", "subscriber__email")
    ordering = ("-asked_at",)


@admin.register(CheckInquiry)
class CheckInquiryAdmin(ReadOnlyAdmin):
    """How often checkers outside were asked, and what they said."""

    list_display = ("subscriber_check", "asked_at", "outcome", "detail")
    list_filter = ("outcome", "asked_at", "subscriber_check__kind")
    list_select_related = ("subscriber_check__subscriber",)
    search_fields = ("subscriber_check__subscriber__name", "detail")
    ordering = ("-asked_at",)


@admin.register(CheckProvider)
class CheckProviderAdmin(ReadOnlyAdmin):
    list_display = ("kind", "failures", "open_until", "last_error")


@admin.register(PaymentMethod)
class PaymentMethodAdmin(ReadOnlyAdmin):
    list_display = ("label", "subscriber", "kind", "gateway", "state", "created_at", "ended_at")
    list_filter = ("kind", "gateway", "state")
    list_select_related = ("subscriber",)
    search_fields = ("reference", "subscriber__name", "subscriber__email")
    ordering = ("-created_at",)
