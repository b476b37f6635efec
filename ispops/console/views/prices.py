"""Prices: what there is in time, and the editor whose examples follow what is typed."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.catalog import drafts, publishing
from ispops.catalog.models import OfferingPrice, PriceDraft, ProductOffering
from ispops.console import pages, price_form, price_page
from ispops.console.price_form import KINDS, PriceForm
from ispops.errors import Refusal
from ispops.wanted_form import begin_of

PER_PAGE = 30
SEE = "catalog.view_offeringprice"
EDIT = "catalog.add_offeringprice"
EDIT_TERMS = "catalog.add_settlementterm"


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List what is sold with what it costs now."""
    now = timezone.now()
    asked = request.GET.get("q", "").replace("\0", "").strip()[:100]
    in_force = OfferingPrice.objects.at(now).select_related("pack_for", "offering")
    rows = ProductOffering.objects.select_related("provider").prefetch_related(
        Prefetch("prices", in_force.order_by("charge", "unit"), to_attr="now")
    )
    if asked:
        rows = rows.filter(Q(name__icontains=asked) | Q(code__icontains=asked))
    shown = Paginator(rows.order_by("kind", "name"), PER_PAGE).get_page(request.GET.get("page"))
    return pages.show(
        request,
        "console/prices.html",
        "Prices",
        rows=shown,
        table=[(row, _words_now(row)) for row in shown],
        asked=asked,
    )


def _words_now(row: Any) -> list[str]:
    return [price_page.price_words(price) for price in row.now]


@require_safe
def page(request: HttpRequest, code: str) -> HttpResponse:
    """Show the prices of an offering on a time line, its drafts, and who shares its charges."""
    offering = _offering(code)
    now = timezone.now()
    return pages.show(
        request,
        "console/offering_prices.html",
        f"Prices of {offering.name}",
        offering=offering,
        lines=price_page.price_lines(offering, now),
        terms=price_page.term_lines(offering, now),
        drafts=offering.price_drafts.filter(discarded_at__isnull=True)
        .select_related("created_by")
        .order_by("-changed_at")[:20],
        may_edit=request.user.has_perm(EDIT),
        may_edit_terms=request.user.has_perm(EDIT_TERMS),
    )


@require_safe
def edit(request: HttpRequest, code: str) -> HttpResponse:
    """Begin a price: an empty one, another version of one that there is, or of a draft."""
    offering = _offering(code)
    now = timezone.now()
    draft = _draft(request.GET.get("draft", ""), offering)
    day = first_of_next_month(now)
    begin = begin_of(day, now) or now
    price = None
    if draft is not None:
        price = drafts.price_of(offering, draft.facts, begin)
    elif (key := request.GET.get("from", "")).isdecimal() and len(key) < 18:
        old = get_object_or_404(offering.prices, pk=int(key))
        price = drafts.price_of(offering, drafts.facts_of(old), begin)
    given: dict[str, Any] = price_form.of_price(price) if price else {"initial": {"kind": "unit"}}
    given["initial"][price_form.DAY] = day
    return _show(
        request,
        PriceForm(offering=offering, at=now, **given),
        draft=draft,
        seen=price_page.preview(price, at=now) if price else price_page.Preview(),
    )


@require_POST
def preview(request: HttpRequest, code: str) -> HttpResponse:
    """Show the examples of what is in the form; or the form again with one more row."""
    form = _sent(request, code)
    if request.headers.get("HX-Target") == "preview":
        return render(request, "console/_price_preview.html", {"preview": _preview(form)})
    return _show(request, form)


@require_POST
def publish(request: HttpRequest, code: str) -> HttpResponse:
    """Make what is in the form the price from its day on."""

    def act(form: PriceForm) -> HttpResponse:
        price = publishing.set_price(
            offering=form.offering,
            valid_from=form.valid_from,
            at=form.at,
            actor=request.user,  # type: ignore[arg-type]
            **form.facts(),
        )
        messages.success(request, f"Published: {price_page.price_words(price)}.")
        return redirect("admin:console_offering_prices", code)

    return _try(request, code, act)


@require_POST
def save_draft(request: HttpRequest, code: str) -> HttpResponse:
    """Keep what is in the form as a draft, to be tried and shown to others."""

    def act(form: PriceForm) -> HttpResponse:
        kept = drafts.save_draft(
            offering=form.offering,
            title=_draft_name(request) or f"Draft of {form.at:%d %b %Y}",
            draft=_draft(request.POST.get("draft", ""), form.offering),
            at=form.at,
            actor=request.user,  # type: ignore[arg-type]
            **form.facts(),
        )
        messages.success(request, "The draft is kept. Nothing is charged by it.")
        return redirect("admin:console_price_draft", kept.public_id)

    return _try(request, code, act)


def _try(request: HttpRequest, code: str, act: Callable[[PriceForm], HttpResponse]) -> HttpResponse:
    form = _sent(request, code)
    if form.is_valid():
        try:
            return act(form)
        except Refusal as refused:
            form.refuse(refused)
    return _show(request, form, status=422)


def _sent(request: HttpRequest, code: str) -> PriceForm:
    return PriceForm(
        request.POST,
        offering=_offering(code),
        at=timezone.now(),
        more=request.POST.get("more", ""),
    )


def _show(
    request: HttpRequest,
    form: PriceForm,
    *,
    draft: PriceDraft | None = None,
    seen: price_page.Preview | None = None,
    status: int = 200,
) -> HttpResponse:
    draft = draft or _draft(request.POST.get("draft", ""), form.offering)
    return pages.show(
        request,
        "console/price_edit.html",
        f"A price of {form.offering.name}",
        status=status,
        offering=form.offering,
        form=form,
        kinds=KINDS,
        fields=form.layout(),
        preview_url=reverse("admin:console_preview_price", args=[form.offering.code]),
        draft=draft,
        draft_name=_draft_name(request) or (draft.name if draft else ""),
        preview=seen or _preview(form),
        shows_errors=form.is_bound and not request.POST.get("more"),
    )


def _preview(form: PriceForm) -> price_page.Preview:
    """Work the examples of a form that was sent; what is wrong with it is said instead."""
    if not form.is_valid() or form.price is None:
        said = [str(error) for error in form.non_field_errors()]
        said += [
            f"{form.fields[name].label}: {errors[0]}"
            for name, errors in form.errors.items()
            if name in form.fields
        ]
        return price_page.Preview(error=" ".join(said))
    try:
        own = price_page.read_quantities(form.cleaned_data["quantities"])
    except forms.ValidationError as wrong:
        return price_page.Preview(error=f"Quantities of your own: {wrong.messages[0]}")
    return price_page.preview(form.price, at=form.at, own=own)


def _offering(code: str) -> ProductOffering:
    return get_object_or_404(ProductOffering.objects.select_related("provider"), code=code)


def _draft(ref: str, offering: ProductOffering) -> PriceDraft | None:
    if not ref:
        return None
    return pages.get(PriceDraft.objects.filter(offering=offering), PriceDraft, ref)


def _draft_name(request: HttpRequest) -> str:
    return request.POST.get("draft_name", "").replace("\0", "").strip()[:120]


def first_of_next_month(now: datetime) -> date:
    """Return the day on which most new prices begin."""
    today = now.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date()
    return (today.replace(day=1) + timedelta(days=32)).replace(day=1)
