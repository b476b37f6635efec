"""Settlement terms and tax rates: what there is in time, and editors that show what is split."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering, SettlementTerm, TaxRate
from ispops.console import pages, price_form, price_page, term_form
from ispops.console.term_form import TaxForm, TermForm
from ispops.console.views.prices import first_of_next_month
from ispops.errors import Refusal
from rating import rules
from rating.pricing import Terms

SEE_TAXES = "catalog.view_taxrate"
EDIT_TAXES = "catalog.add_taxrate"
_SHOWN = "console/_splits.html"


@require_http_methods(["GET", "HEAD", "POST"])
def edit_term(request: HttpRequest, code: str) -> HttpResponse:
    """Set what a partner gets of an offering's charges, with what a charge then splits into."""
    offering = get_object_or_404(ProductOffering, code=code)
    now = timezone.now()
    if request.method != "POST":
        return _show_term(request, _begun(request, offering, now))
    more = request.POST.get("more", "")
    form = TermForm(request.POST, offering=offering, at=now, more=more)
    if request.headers.get("HX-Target") == "preview":
        return render(request, _SHOWN, _splits(form))
    if more or "preview" in request.POST:
        return _show_term(request, form)

    def act() -> HttpResponse:
        publishing.set_settlement_term(
            offering=offering,
            valid_from=form.valid_from,
            actor=request.user,  # type: ignore[arg-type]
            at=now,
            **form.facts(),
        )
        messages.success(request, "The term is set. What was charged before stays as it is.")
        return redirect("admin:console_offering_prices", code)

    return _try(form, act) or _show_term(request, form, status=422)


def _begun(request: HttpRequest, offering: ProductOffering, now: Any) -> TermForm:
    given: dict[str, Any] = {"initial": {"kind": SettlementTerm.Basis.PERCENT_OF_NET}}
    if (key := request.GET.get("from", "")).isdecimal() and len(key) < 18:
        given = term_form.of_term(get_object_or_404(offering.settlement_terms, pk=int(key)))
    elif offering.provider is not None:
        given["initial"]["partner"] = offering.provider.code
    given["initial"][price_form.DAY] = first_of_next_month(now)
    return TermForm(offering=offering, at=now, **given)


def _show_term(request: HttpRequest, form: TermForm, status: int = 200) -> HttpResponse:
    return pages.show(
        request,
        "console/term_edit.html",
        f"A settlement term of {form.offering.name}",
        status=status,
        offering=form.offering,
        form=form,
        terms=price_page.term_lines(form.offering, form.at),
        **_splits(form),
    )


def _splits(form: TermForm) -> dict[str, Any]:
    """Divide a charge by what is in the form; what is wrong with it is said instead."""
    if not form.is_bound:
        return {"splits": [], "currency": ""}
    if not form.is_valid():
        return {"error": _errors(form)}
    try:
        term = publishing.checked_term(
            form.offering, valid_from=form.valid_from or form.at, **form.facts()
        )
    except Refusal as refused:
        return {"error": refused.detail}
    units = form.cleaned_data["units"] or 100
    return {"splits": term_form.splits(term, at=form.at, units=units)}


@require_http_methods(["GET", "HEAD", "POST"])
def taxes(request: HttpRequest) -> HttpResponse:
    """Show the tax rates in time; who may sets another one."""
    now = timezone.now()
    may_edit = request.user.has_perm(EDIT_TAXES)
    if request.method != "POST" or not may_edit:
        initial = {
            price_form.DAY: first_of_next_month(now),
            "category": request.GET.get("category", "")[:50],
        }
        return _show_taxes(request, TaxForm(at=now, initial=initial), may_edit)
    form = TaxForm(request.POST, at=now)
    if request.headers.get("HX-Target") == "preview":
        return render(request, _SHOWN, _tax_split(form))

    def act() -> HttpResponse:
        publishing.set_tax_rate(
            category=form.cleaned_data["category"],
            percent=form.cleaned_data["percent"],
            valid_from=form.valid_from,
            actor=request.user,  # type: ignore[arg-type]
            at=now,
        )
        messages.success(request, "The rate is set. What was charged before stays as it is.")
        return redirect("admin:console_taxes")

    if "preview" in request.POST:
        return _show_taxes(request, form, may_edit)
    return _try(form, act) or _show_taxes(request, form, may_edit, status=422)


def _show_taxes(
    request: HttpRequest, form: TaxForm, may_edit: bool, status: int = 200
) -> HttpResponse:
    rates: dict[str, list[price_page.Version]] = {}
    for category in term_form.categories_in_use():
        rates[category] = []
    for rate in TaxRate.objects.order_by("category", "-valid_from"):
        state = price_page.state_of(rate, form.at)
        words = f"{rate.percent.normalize():f} %"
        rates.setdefault(rate.category, []).append(price_page.Version(rate, state, words))
    return pages.show(
        request,
        "console/taxes.html",
        "Tax rates",
        status=status,
        form=form,
        may_edit=may_edit,
        rates=[price_page.Line(category, versions) for category, versions in sorted(rates.items())],
        **_tax_split(form),
    )


def _tax_split(form: TaxForm) -> dict[str, Any]:
    if not form.is_bound:
        return {"splits": []}
    if not form.is_valid():
        return {"error": _errors(form)}
    terms = Terms(tax_milli=rules.milli(form.cleaned_data["percent"]))
    return {"splits": list(term_form.divided(terms, 100))[:1]}


def _try(form: term_form.DayForm, act: Callable[[], HttpResponse]) -> HttpResponse | None:
    """Act on a form that is right; None where it is not, or the verb refuses."""
    if not form.is_valid():
        return None
    try:
        return act()
    except Refusal as refused:
        form.refuse(refused)
        return None


def _errors(form: Any) -> str:
    said = [str(error) for error in form.non_field_errors()]
    said += [
        f"{form.fields[name].label}: {errors[0]}"
        for name, errors in form.errors.items()
        if name in form.fields
    ]
    return " ".join(said)
