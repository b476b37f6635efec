"""A draft of a price: what it means, who works on it, and the click that publishes it."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.catalog import drafts
from ispops.catalog.models import PriceDraft
from ispops.console import pages, price_page
from ispops.console.views.prices import EDIT, first_of_next_month
from ispops.errors import Refusal
from ispops.wanted_form import begin_of, day_field


class PublishForm(forms.Form):
    valid_day = day_field("From the day", "The price before it ends the day before.")


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
    except Refusal as refused:
        form.add_error(None, refused.detail)
        return _show(request, draft, form=form)
    messages.success(request, f"Published: {price_page.price_words(price)}.")
    return redirect("admin:console_offering_prices", draft.offering.code)


def _show(request: HttpRequest, draft: PriceDraft, form: Any = None) -> HttpResponse:
    now = timezone.now()
    day = first_of_next_month(now)
    price = drafts.price_of(draft.offering, draft.facts, begin_of(day, now) or now)
    return pages.show(
        request,
        "console/price_draft.html",
        draft.name,
        status=422 if form and form.errors else 200,
        draft=draft,
        price=price,
        preview=price_page.preview(price, at=now),
        form=form or PublishForm(initial={"valid_day": day}, label_suffix=""),
        may_edit=request.user.has_perm(EDIT) and draft.published_at is None,
        may_copy=request.user.has_perm(EDIT),
    )


def _get(ref: str) -> PriceDraft:
    rows = PriceDraft.objects.select_related("offering", "created_by", "price")
    return pages.get(rows, PriceDraft, ref)
