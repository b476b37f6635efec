"""What every table of the console shares: it shows everything and edits nothing by itself.

Rows are written by verbs alone, so an admin that could save a form would be a second writer
without locks, events or audit. `ReadOnlyAdmin` only shows; `VerbAdmin` also offers verbs as
actions on chosen rows, which Django runs on POST after the rows were ticked; `VerbForm` hands
what was filled in to a verb.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db import models, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin, TabularInline

from ispops.db import EncryptedTextField, PublicIdModel
from ispops.errors import Refusal


class _OnlyView:
    """Whoever may view a table sees it; nobody adds, changes or deletes a row in a form."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Keep secrets off the screen, whether or not the admin of the table thought of them."""
        named: Iterable[str] = super().get_exclude(request, obj) or ()  # type: ignore[misc]
        return [*named, *secret_fields(self.model)]  # type: ignore[attr-defined]


class ReadOnlyAdmin(_OnlyView, ModelAdmin):
    """A table of the console that is read: list, search, filters and the whole of each row.

    The search box also finds a row by its public id, such as `ord_0190...`. Subclasses set
    `list_display`, `list_filter`, `search_fields` and, for every key that the list shows,
    `list_select_related`.
    """

    list_per_page = 50
    # Counting a whole table to write "3 of 4,000,000" costs more than the page itself.
    show_full_result_count = False
    list_fullwidth = True
    list_filter_sheet = False
    actions: Any = ()

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Write the times of a list as all of the console does: to the minute, exact on hover."""
        return [_column(self.model, name) for name in super().get_list_display(request)]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        named = [str(name) for name in super().get_readonly_fields(request, obj)]
        if issubclass(self.model, PublicIdModel):
            named.insert(0, "public_id")
        return named

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Show every column and the calculated fields, the public id first."""
        if self.fields:
            return list(self.fields)
        hidden = {"id", *self.get_exclude(request, obj)}
        columns = [field.name for field in self.model._meta.fields if field.name not in hidden]
        extra = [name for name in self.get_readonly_fields(request, obj) if name not in columns]
        first = [name for name in extra if name == "public_id"]
        return first + columns + [name for name in extra if name != "public_id"]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """Give a table that has a public id a search box even when it names no field."""
        named = list(super().get_search_fields(request))
        return named or (["pk"] if issubclass(self.model, PublicIdModel) else [])

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        if issubclass(self.model, PublicIdModel):
            key = self.model.key_of(search_term.strip())
            if key is not None:
                return queryset.filter(pk=key), False
        return super().get_search_results(request, queryset, search_term)


class ReadOnlyInline(_OnlyView, TabularInline):
    """Rows that belong to the row on the page, as a table that cannot be edited."""

    extra = 0
    show_change_link = True
    can_delete = False


class VerbAdmin(ReadOnlyAdmin):
    """A table whose rows are changed by verbs, offered as actions on the rows that were ticked.

    An action is a method with a `permissions=["..."]` of its own (and the matching
    `has_..._permission` method) that hands the rows to `call_each`:

        actions = ["send_again"]

        @admin.action(description="Send again", permissions=["replay"])
        def send_again(self, request, queryset):
            self.call_each(request, queryset, lambda row, at: webhooks.replay(
                delivery_id=row.pk, actor=request.user, at=at), done="{n} messages will be sent.")
    """

    def call_each(
        self,
        request: HttpRequest,
        rows: Iterable[Any],
        verb: Callable[..., Any],
        *,
        done: str,
    ) -> int:
        """Call `verb(row, at)` for each row; say how many were done, and every refusal.

        Each row is its own transaction, so that one refusal does not undo the others. `done` is
        shown with `{n}` replaced by the count. Returns the count.
        """
        count = 0
        for row in rows:
            try:
                verb(row, timezone.now())
            except Refusal as refusal:
                self.message_user(request, f"{row}: {refusal.detail}", messages.ERROR)
            else:
                count += 1
        if count:
            self.message_user(request, done.format(n=count), messages.SUCCESS)
        return count


class VerbForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form whose values are handed to a verb, and that says beside the field what it refuses."""

    verb: ClassVar[Callable[..., models.Model]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("valid_from", "sold_from"):
            if name in self.fields:
                self.fields[name].required = False
                self.fields[name].help_text = "Leave it empty for now."

    def clean(self) -> dict[str, Any]:
        """Try the verb and take it back, so that its refusals are shown before anything is done."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        with transaction.atomic():
            try:
                self.perform()
            except Refusal as refusal:
                # A secret is never shown, so its field asks for a new one: `new_token`.
                named = (refusal.field, f"new_{refusal.field}")
                field = next((name for name in named if name in self.fields), None)
                self.add_error(field, refusal.detail)
            transaction.set_rollback(True)
        return cleaned

    def perform(self, **more: Any) -> models.Model:
        given = {name: value for name, value in self.cleaned_data.items() if value is not None}
        return type(self).verb(**given, at=timezone.now(), **more)

    def _post_clean(self) -> None:
        """The verb has checked what the model would check here, with better words."""


@cache
def _column(model: type[models.Model], name: Any) -> Any:
    """Return what a list shows for the name of a column: a time is shown by a function."""
    fields = {field.name: field for field in model._meta.fields}
    if not isinstance(fields.get(name), models.DateTimeField):
        return name

    @admin.display(description=fields[name].verbose_name, ordering=name)
    def moment(row: models.Model) -> str | None:
        value = getattr(row, name)
        if value is None:
            return None
        shown = timezone.localtime(value)
        return format_html(
            '<time datetime="{}" title="{}">{}</time>',
            value.isoformat(), f"{shown:%d %b %Y %H:%M:%S %Z}", f"{shown:%d %b %Y %H:%M}",
        )  # fmt: skip

    moment.__name__ = name
    return moment


_SECRET_NAMES: frozenset[str] = frozenset({"secret", "password", "secret_digest"})


def secret_fields(model: type[models.Model]) -> list[str]:
    """Name the columns of a model that nobody may read on a screen."""
    return [
        field.name
        for field in model._meta.fields
        if isinstance(field, EncryptedTextField) or field.name in _SECRET_NAMES
    ]
