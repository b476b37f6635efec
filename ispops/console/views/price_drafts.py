"""A draft of a price: what it means, who works on it, and the click that publishes it."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.catalog import drafts
from ispops.catalog.models import PriceDraft
from ispops.console import actions, pages, price_page
from ispops.console.views.prices import EDIT, first_of_next_month
from ispops.errors import Refusal
from ispops.parties.models import Subscriber
from ispops.wanted_form import begin_of, day_field
from rating import simulations

SIMULATE = "rating.add_simulation"


class PublishForm(forms.Form):
    valid_day = day_field("From the day", "The price before it ends the day before.")


class SimulationForm(forms.Form):
    """On which billing periods a draft is tried, and of whom."""

    first_month = forms.TypedChoiceField(label="From", coerce=date.fromisoformat)
    last_month = forms.TypedChoiceField(label="Until", coerce=date.fromisoformat)
    accounts = forms.CharField(
        label="Only these accounts", required=False, max_length=40_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Ids such as sub_…, separated by spaces. Empty is everybody.",
    )  # fmt: skip

    def __init__(self, data: Any = None, *, at: datetime) -> None:
        months = past_months(at)
        initial = {"first_month": months[1][0], "last_month": months[1][0]}
        super().__init__(data, label_suffix="", initial=initial)
        for name in ("first_month", "last_month"):
            self.fields[name].choices = months  # type: ignore[attr-defined]

    def clean_accounts(self) -> list[Subscriber]:
        refs = self.cleaned_data["accounts"].replace(",", " ").split()
        keys = {ref: Subscriber.key_of(ref) for ref in refs}
        found = Subscriber.objects.in_bulk([key for key in keys.values() if key])
        for ref, key in keys.items():
            if key not in found:
                raise forms.ValidationError(f"There is no account {ref[:40]}.")
        return list(found.values())


def past_months(at: datetime) -> list[tuple[str, str]]:
    """Return the months in which billing periods began, the latest first."""
    day = at.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date().replace(day=1)
    found = []
    for _ in range(simulations.MOST_MONTHS):
        found.append((day.isoformat(), f"{day:%B %Y}"))
        day = (day - timedelta(days=1)).replace(day=1)
    return found


@require_safe
def page(request: HttpRequest, ref: str) -> HttpResponse:
    """Show a draft with its examples."""
    return _show(request, _get(ref))


@require_POST
def publish(request: HttpRequest, ref: str) -> HttpResponse:
    """Make a draft the price from a day on."""
    draft, now = _get(ref), timezone.now()
    form = PublishForm(request.POST, label_suffix="")
    if not form.is_valid():
        return _show(request, draft, form=form)
    try:
        begin = begin_of(form.cleaned_data["valid_day"], now)
        if begin is not None and begin < now:
            form.add_error("valid_day", "Choose today or a day to come.")
            return _show(request, draft, form=form)
        price = drafts.publish_draft(
            draft=draft,
            valid_from=begin,
            actor=request.user,  # type: ignore[arg-type]
            at=now,
        )
    except (drafts.DraftPublished, drafts.DraftDiscarded) as over:
        messages.error(request, f"{over.title}. {over.detail}")
        return redirect("admin:console_price_draft", draft.public_id)
    except Refusal as refused:
        form.add_error(None, refused.detail)
        return _show(request, draft, form=form)
    messages.success(request, f"Published: {price_page.price_words(price)}.")
    return redirect("admin:console_offering_prices", draft.offering.code)


@require_POST
def discard(request: HttpRequest, ref: str) -> HttpResponse:
    """Give a draft up."""
    draft = _get(ref)
    given_up = actions.attempt(
        request,
        drafts.discard_draft,
        done=f"The draft {draft.name} is discarded.",
        draft=draft,
        actor=request.user,
    )
    if not given_up:
        return redirect("admin:console_price_draft", draft.public_id)
    return redirect("admin:console_offering_prices", draft.offering.code)


@require_POST
def simulate(request: HttpRequest, ref: str) -> HttpResponse:
    """Have a draft tried on past use."""
    draft, now = _get(ref), timezone.now()
    asked = SimulationForm(request.POST, at=now)
    if not asked.is_valid():
        return _show(request, draft, asked=asked)
    try:
        row = simulations.simulate_draft(
            draft=draft,
            actor=request.user,  # type: ignore[arg-type]
            at=now,
            **asked.cleaned_data,
        )
    except Refusal as refused:
        asked.add_error(refused.field if refused.field in asked.fields else None, refused.detail)
        return _show(request, draft, asked=asked)
    return redirect("admin:console_simulation", row.public_id)


def _show(
    request: HttpRequest, draft: PriceDraft, form: Any = None, asked: Any = None
) -> HttpResponse:
    now = timezone.now()
    day = first_of_next_month(now)
    price = drafts.price_of(draft.offering, draft.facts, begin_of(day, now) or now)
    is_open = draft.published_at is None and draft.discarded_at is None
    return pages.show(
        request,
        "console/price_draft.html",
        draft.name,
        status=422 if (form and form.errors) or (asked and asked.errors) else 200,
        draft=draft,
        price=price,
        preview=price_page.preview(price, at=now),
        form=form or PublishForm(initial={"valid_day": day}, label_suffix=""),
        may_edit=request.user.has_perm(EDIT) and is_open,
        may_copy=request.user.has_perm(EDIT),
        may_simulate=request.user.has_perm(SIMULATE)
        and draft.discarded_at is None
        and price.charge == price.Charge.USAGE,
        simulations=draft.simulations.filter(posts=None)
        .select_related("created_by")
        .order_by("-created_at")[:20],
        asked=asked or SimulationForm(at=now),
    )


def _get(ref: str) -> PriceDraft:
    rows = PriceDraft.objects.select_related("offering", "created_by", "price")
    return pages.get(rows, PriceDraft, ref)
