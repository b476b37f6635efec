"""Places, networks and answers in the console: to be read; imports and verbs change them."""

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminURLInputWidget

from ispops.admin_base import ReadOnlyAdmin, ReadOnlyInline, VerbAdmin, VerbForm
from ispops.breaker import CLOSED, HALF_OPEN, OPEN
from ispops.parties.models import Partner, User
from qualification import asking, cells, connections, countries, gazetteer, letters, waitlist
from qualification.models import (
    AccessNode,
    AccessPort,
    CoverageArea,
    Premises,
    ProviderAnswer,
    ProviderConnection,
    ProviderInquiry,
    QualifiedOffer,
    ReachedCell,
    ServiceQualification,
    WaitlistEntry,
)
from qualification.models.places import is_free


def _actor(request: HttpRequest) -> User:
    """Return who works at the console; the site lets nobody in without a login."""
    return cast(User, request.user)


class CoverageInline(ReadOnlyInline):
    model = CoverageArea
    fields = (
        "provider", "technology", "max_download_kbps", "max_upload_kbps", "install_days",
        "loop_length_m", "node", "valid_from", "valid_to",
    )  # fmt: skip
    fk_name = "premises"


@admin.register(Premises)
class PremisesAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "location_id", "h3_res8", "source", "created_at")
    list_filter = ("source", "region")
    search_fields = ("location_id", "postal_code__startswith")
    search_help_text = "An address as far as you know it, a ZIP code, a location id or a prm_ id"
    ordering = ("match_key", "unit")
    inlines = (CoverageInline,)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Premises], search_term: str
    ) -> tuple[QuerySet[Premises], bool]:
        """Find an address by how it begins, from the indexes that the portal completes from."""
        begins = Q()
        for begun in countries.here().beginnings(search_term):
            begins |= gazetteer.beginning_with(begun)
        rows, has_duplicates = super().get_search_results(request, queryset, search_term)
        return (rows | queryset.filter(begins) if begins else rows), has_duplicates


@admin.register(AccessNode)
class AccessNodeAdmin(ReadOnlyAdmin):
    list_display = ("name", "provider", "technology", "free", "total")
    list_filter = ("provider", "technology")
    list_select_related = ("provider",)
    search_fields = ("name",)
    readonly_fields = ("free", "total")
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccessNode]:
        return (
            super()
            .get_queryset(request)
            .annotate(
                total_ports=Count("ports"),
                free_ports=Count("ports", filter=is_free(timezone.now(), through="ports__")),
            )
        )

    @admin.display(description="Free ports", ordering="free_ports")
    def free(self, node: Any) -> int:
        return node.free_ports

    @admin.display(description="Ports", ordering="total_ports")
    def total(self, node: Any) -> int:
        return node.total_ports


@admin.register(AccessPort)
class AccessPortAdmin(ReadOnlyAdmin):
    list_display = ("node", "number", "service_ref", "taken_at", "held_for", "held_until")
    list_filter = ("node__provider", ("service_ref", admin.EmptyFieldListFilter))
    list_select_related = ("node",)
    search_fields = ("service_ref", "held_for", "node__name")
    ordering = ("node", "number")


@admin.register(CoverageArea)
class CoverageAreaAdmin(ReadOnlyAdmin):
    list_display = (
        "provider", "technology", "premises", "h3_res8", "max_download_kbps", "max_upload_kbps",
        "node", "valid_from", "valid_to",
    )  # fmt: skip
    list_filter = ("provider", "technology", ("valid_to", admin.EmptyFieldListFilter))
    list_select_related = ("provider", "premises", "node")
    search_fields = ("h3_res8", "premises__postal_code__startswith", "node__name")
    ordering = ("-pk",)


class OfferInline(ReadOnlyInline):
    model = QualifiedOffer
    fields = (
        "offering", "provider", "eligible", "reason", "download_kbps", "upload_kbps",
        "install_days", "one_off_amount", "recurring_amount", "construction_fee", "usage_terms",
    )  # fmt: skip
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[QualifiedOffer]:
        rows = super().get_queryset(request).select_related("offering", "provider")
        return rows.order_by("-eligible", "pk")


@admin.register(ServiceQualification)
class ServiceQualificationAdmin(ReadOnlyAdmin):
    list_display = ("asked_text", "state", "confidence", "channel", "asked_at", "expires_at")
    list_filter = ("state", "confidence", "channel", "subscriber_kind", "asked_at")
    search_fields = ("asked_text", "asker")
    list_select_related = ("premises",)
    date_hierarchy = "asked_at"
    ordering = ("-asked_at",)
    inlines = (OfferInline,)


class WaitlistStateFilter(admin.SimpleListFilter):
    """What has become of an entry; see the queryset of the model."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("waiting", "Waiting"),
            ("found", "Found, to be told"),
            ("notified", "Told"),
            ("withdrawn", "Left the list"),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        states = {
            "waiting": queryset.waiting,
            "found": queryset.found,
            "notified": queryset.notified,
            "withdrawn": queryset.withdrawn,
        }
        wanted = states.get(self.value() or "")
        return wanted() if wanted else queryset


@admin.register(WaitlistEntry)
class WaitlistEntryAdmin(VerbAdmin):
    list_display = (
        "email", "name", "place", "became", "created_at", "notified_at", "last_error",
    )  # fmt: skip
    list_filter = (WaitlistStateFilter, "channel", "region", "created_at")
    list_select_related = ("qualification__premises",)
    search_fields = ("email", "name", "postal_code", "qualification__asked_text")
    search_help_text = "An e-mail address, a name, an address, a ZIP code or an H3 cell"
    readonly_fields = ("became",)
    ordering = ("-created_at",)
    actions = ("take_off", "write_again")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[WaitlistEntry], search_term: str
    ) -> tuple[QuerySet[WaitlistEntry], bool]:
        """Find who waits in an H3 cell of any size, as the map of demand names it."""
        if cells.is_cell(term := search_term.strip()):
            return queryset.filter(h3_res8__range=cells.span(term)), False
        return super().get_search_results(request, queryset, search_term)

    def has_tend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("qualification.change_waitlistentry")  # type: ignore[union-attr]

    @admin.display(description="Place")
    def place(self, entry: WaitlistEntry) -> str:
        answer = entry.qualification
        return str(answer.premises or answer.asked_text)

    @admin.display(description="State")
    def became(self, entry: WaitlistEntry) -> str:
        return entry.state.capitalize()

    @admin.action(description="Take off the list, for all places", permissions=["tend"])
    def take_off(self, request: HttpRequest, queryset: QuerySet[WaitlistEntry]) -> None:
        self.call_each(
            request,
            queryset,
            lambda row, at: waitlist.leave_waitlist(email=row.email, actor=_actor(request), at=at),
            done="Entries whose e-mail address is off the list now: {n}.",
        )

    @admin.action(description="Write to them again", permissions=["tend"])
    def write_again(self, request: HttpRequest, queryset: QuerySet[WaitlistEntry]) -> None:
        self.call_each(
            request,
            queryset,
            lambda row, at: letters.send_again(entry_id=row.pk, actor=_actor(request), at=at),
            done="Letters that will be tried again: {n}.",
        )


@admin.register(ReachedCell)
class ReachedCellAdmin(ReadOnlyAdmin):
    list_display = ("cell", "provider", "is_reached", "planned_date")
    list_filter = ("provider", "is_reached")
    list_select_related = ("provider",)
    search_fields = ("cell__startswith",)
    ordering = ("cell", "provider")


class ConnectionForm(VerbForm):
    """How a provider is asked. The token is written here and never shown."""

    base_url = forms.URLField(
        required=False,
        assume_scheme="https",
        label="Address of its API",
        help_text="What comes before /checkServiceQualification; unused by the file exchange.",
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

    class Meta:
        model = ProviderConnection
        fields = (
            "partner", "adapter", "base_url", "folder", "active", "asked_everywhere",
            "timeout_seconds", "at_once", "give_up_after_seconds", "answer_valid_seconds",
            "breaker_threshold", "breaker_pause_seconds",
        )  # fmt: skip
        labels: ClassVar[dict[str, str]] = {
            "timeout_seconds": "Answers within (seconds)",
            "at_once": "Asked at the same time (questions)",
            "give_up_after_seconds": "Given up on after (seconds)",
            "answer_valid_seconds": "An answer is good for (seconds)",
            "breaker_threshold": "Left alone after (failures in a row)",
            "breaker_pause_seconds": "Left alone for (seconds)",
        }
        help_texts: ClassVar[dict[str, str]] = {
            "folder": "Of a file exchange: one plain name; unused by the API.",
            "asked_everywhere": "Also where no coverage list says that it may reach.",
            "give_up_after_seconds": "Counted from the question of whoever asks; longer for files.",
        }

    def perform(self, **more: Any) -> ProviderConnection:
        given = dict(self.cleaned_data)
        given["token"] = given.pop("new_token", "")
        if self.instance.pk:
            return connections.change_connection(
                connection_id=self.instance.pk, at=timezone.now(), **given, **more
            )
        return connections.connect_provider(at=timezone.now(), **given, **more)


@admin.register(ProviderConnection)
class ProviderConnectionAdmin(VerbAdmin):
    """Networks that are asked about addresses, and whether they are answering."""

    form = ConnectionForm
    list_display = (
        "partner", "adapter", "answering", "waiting", "failures", "open_until", "last_error",
        "active",
    )  # fmt: skip
    list_filter = ("active", "adapter", ("open_until", admin.EmptyFieldListFilter))
    list_select_related = ("partner",)
    search_fields = ("partner__name", "partner__code", "base_url")
    ordering = ("partner__name",)
    READ = ("answering", "waiting", "failures", "open_until", "last_error")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("qualification.add_providerconnection")  # type: ignore[union-attr]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("qualification.change_providerconnection")  # type: ignore[union-attr]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderConnection]:
        is_open = Q(inquiries__state=ProviderInquiry.State.PENDING)
        return super().get_queryset(request).annotate(open_ones=Count("inquiries", filter=is_open))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = [*ConnectionForm.Meta.fields]
        if self.has_change_permission(request):
            fields.insert(fields.index("base_url") + 1, "new_token")
        return [*fields, *self.READ] if obj else fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["partner", "adapter", *self.READ] if obj else []

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the networks that can be asked and are not asked yet."""
        if db_field.name == "partner":
            kwargs["queryset"] = Partner.objects.filter(
                kind=Partner.Kind.NETWORK_PROVIDER, is_on_net=False,
                qualification_connection__isnull=True,
            ).order_by("name")  # fmt: skip
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        made = form.perform(actor=_actor(request))
        obj.pk = made.pk
        obj._state.adding = False
        obj.refresh_from_db()

    @admin.display(description="Answering")
    def answering(self, connection: ProviderConnection) -> str:
        """Say in words what the circuit breaker does."""
        state = asking.breaker_of(connection).state(timezone.now())
        return {
            CLOSED: "✓ asked as usual" if not connection.failures else "! failing, still asked",
            OPEN: "✕ left alone for now",
            HALF_OPEN: "◔ the next question is a test",
        }[state]

    @admin.display(description="Open inquiries", ordering="open_ones")
    def waiting(self, connection: Any) -> int:
        return connection.open_ones


@admin.register(ProviderInquiry)
class ProviderInquiryAdmin(ReadOnlyAdmin):
    list_display = (
        "asked_at", "connection", "qualification", "state", "attempts", "last_error", "closed_at",
    )  # fmt: skip
    list_filter = ("state", "connection", "asked_at")
    list_select_related = ("connection__partner", "qualification")
    search_fields = ("qualification__asked_text", "reference", "last_error")
    ordering = ("-asked_at",)


@admin.register(ProviderAnswer)
class ProviderAnswerAdmin(ReadOnlyAdmin):
    list_display = (
        "received_at", "connection", "premises", "serviceable", "reason", "expires_at",
    )  # fmt: skip
    list_filter = ("serviceable", "connection", "received_at")
    list_select_related = ("connection__partner", "premises")
    search_fields = ("reference", "premises__postal_code__startswith")
    ordering = ("-pk",)
