"""What was written to whom, in the console: read, found, and sent again when it did not go out."""

from typing import ClassVar, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from ispops.admin_base import ReadOnlyAdmin, VerbAdmin
from ispops.notices import delivery, wording
from ispops.notices.models import ContactChoice, Notice, NoticeChannel, NoticeTemplate
from ispops.parties.models import User


@admin.register(Notice)
class NoticeAdmin(VerbAdmin):
    list_display = (
        "created_at", "kind", "channel", "subscriber", "address", "state", "attempts", "report",
        "last_error", "sent_at",
    )  # fmt: skip
    list_filter = ("state", "channel", "kind", "report", "created_at")
    list_select_related = ("subscriber",)
    search_fields = ("address", "cause", "subscriber__name")
    ordering = ("-created_at",)
    actions = ("send_again",)
    exclude: ClassVar[tuple[str, ...]] = ("body", "links")
    readonly_fields = ("text",)

    @admin.display(description="Text")
    def text(self, notice: Notice) -> str:
        """The message as it was written; a secret in it shows as its name alone."""
        return wording.conceal(notice.body)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("notices.retry_notice")  # type: ignore[union-attr]

    @admin.action(description="Send again", permissions=["retry"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Notice]) -> None:
        self.call_each(
            request,
            queryset.select_related("subscriber"),
            lambda row, at: delivery.send_again(
                notice_id=row.pk,
                actor=cast(User, request.user),
                at=at,
            ),
            done="{n} notices will be sent again.",
        )


@admin.register(NoticeTemplate)
class NoticeTemplateAdmin(ReadOnlyAdmin):
    list_display = ("kind", "channel", "version", "is_default", "created_by", "created_at")
    list_filter = ("channel", "kind")
    list_select_related = ("created_by",)
    search_fields = ("kind", "subject")
    ordering = ("-created_at",)


@admin.register(ContactChoice)
class ContactChoiceAdmin(ReadOnlyAdmin):
    list_display = ("subscriber", "sms_number", "confirmed_at", "changed_at")
    exclude = ("code_digest",)
    list_select_related = ("subscriber",)
    search_fields = ("sms_number", "subscriber__name")


@admin.register(NoticeChannel)
class NoticeChannelAdmin(ReadOnlyAdmin):
    list_display = ("channel", "failures", "rests_until")
