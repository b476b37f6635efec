"""Figure 4, up to the order: what is wanted, who wants it, check your answers, place the order.

Each step is a page that can be left and come back to; `register` finds the first one open.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ispops.errors import Refusal
from ispops.parties.accounts import TERMS_VERSION, register_subscriber
from ispops.parties.models import Subscriber
from ispops.portal import journey, queries
from ispops.portal.access import subscriber_of
from ispops.portal.forms import ContactForm, ExtrasForm, KeyForm
from ispops.portal.journey import Choice
from ispops.portal.offers import arrange
from provisioning import orders
from provisioning.models import ProductOrder
from qualification.models import QualifiedOffer
from qualification.queries import offers_of

Step = Callable[[HttpRequest, Choice], HttpResponse]


def _with_choice(view: Step) -> Callable[[HttpRequest], HttpResponse]:
    """Let a step run when a plan was chosen; one that became an order leads to the order."""

    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        choice = journey.current(request)
        if choice is None:
            messages.info(request, "Start with your address, then choose a plan.")
            return redirect("portal:home")
        if choice.order:
            return redirect("portal:order", choice.order)
        return view(request, choice)

    return wrapped


@require_safe
@_with_choice
def register(request: HttpRequest, choice: Choice) -> HttpResponse:
    """Lead to the first step that has not been done."""
    if not choice.extras_asked and _extras_on_offer(choice):
        return redirect("portal:extras")
    if not request.user.is_authenticated:
        here = urlencode({"next": resolve_url("portal:register")})
        return redirect(f"{resolve_url('account_signup')}?{here}")
    if not choice.name and subscriber_of(request.user) is None:
        return redirect("portal:contact")
    return redirect("portal:review")


def _extras_on_offer(choice: Choice) -> list[QualifiedOffer]:
    answer = arrange(offers_of(queries.qualification(choice.qualification)))
    plan = answer.orderable(choice.offering)
    return answer.extras_for(plan) if plan else []


@require_http_methods(["GET", "HEAD", "POST"])
@_with_choice
def extras(request: HttpRequest, choice: Choice) -> HttpResponse:
    """Ask which partner products should come with the line; none is an answer too."""
    offered = _extras_on_offer(choice)
    form = ExtrasForm(
        request.POST if request.method == "POST" else None,
        codes=[offer.offering.code for offer in offered],
        initial={"extras": choice.extras},
    )
    if form.is_valid():
        journey.change(request, choice, extras=form.cleaned_data["extras"], extras_asked=True)
        return redirect("portal:register")
    context = {"form": form, "offered": offered, "ticked": form["extras"].value() or []}
    return render(request, "portal/extras.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@_with_choice
def contact(request: HttpRequest, choice: Choice) -> HttpResponse:
    """Ask who pays, and for the terms."""
    if subscriber_of(request.user) is not None:
        return redirect("portal:review")
    form = ContactForm(
        request.POST or None,
        initial={"name": choice.name, "phone": choice.phone, "terms": choice.name != ""},
    )
    if form.is_valid():
        journey.change(
            request,
            choice,
            name=form.cleaned_data["name"],
            phone=form.cleaned_data["phone"],
            terms_version=TERMS_VERSION,
        )
        return redirect("portal:register")
    context = {"form": form, "terms_version": TERMS_VERSION}
    return render(request, "portal/contact.html", context, status=422 if form.errors else 200)


@require_safe
@login_required
@_with_choice
def review(request: HttpRequest, choice: Choice) -> HttpResponse:
    """Show all answers before they bind anybody."""
    subscriber = subscriber_of(request.user)
    if subscriber is None and not choice.name:
        return redirect("portal:contact")
    return _review(request, choice, subscriber)


def _review(
    request: HttpRequest,
    choice: Choice,
    subscriber: Subscriber | None,
    *,
    refused: str = "",
    status: int = 200,
) -> HttpResponse:
    qualification = queries.qualification(choice.qualification)
    answer = arrange(offers_of(qualification))
    plan = answer.orderable(choice.offering)
    if plan is None:
        return redirect("portal:answer", choice.qualification)
    picked = [o for o in answer.extras_for(plan) if o.offering.code in choice.extras]
    context: dict[str, Any] = {
        "choice": choice,
        "subscriber": subscriber,
        "qualification": qualification,
        "plan": plan,
        "port_kept_until": queries.port_kept_until(qualification, timezone.now()),
        "picked": picked,
        "priced": [plan, *picked],
        "once": sum(o.one_off_amount + o.construction_fee for o in [plan, *picked]),
        "monthly": sum(offer.recurring_amount for offer in [plan, *picked]),
        "refused": refused,
        "form": KeyForm(initial={"idempotency_key": choice.idempotency_key}),
    }
    return render(request, "portal/review.html", context, status=status)


@require_POST
@login_required
def place(request: HttpRequest) -> HttpResponse:
    """Place the order. However often this is sent, there is one order, and it is shown."""
    choice = journey.current(request)
    if choice is None:
        return redirect("portal:register")
    subscriber = subscriber_of(request.user)
    if request.POST.get("idempotency_key") != choice.idempotency_key:
        changed = "Your order was changed in another window. Please check it again."
        return _review(request, choice, subscriber, refused=changed, status=409)
    if choice.order:
        return redirect("portal:order", choice.order)
    try:
        order = _place(request, choice, subscriber or _register(request, choice))
    except Refusal as refusal:
        return _review(request, choice, subscriber, refused=refusal.detail, status=409)
    journey.ordered(request, choice, order=order.public_id)
    return redirect("portal:order", order.public_id)


def _register(request: HttpRequest, choice: Choice) -> Subscriber:
    return register_subscriber(
        user=request.user,  # type: ignore[arg-type]
        name=choice.name,
        kind=queries.qualification(choice.qualification).subscriber_kind,
        phone=choice.phone,
        terms_version=choice.terms_version,
        at=timezone.now(),
    )


def _place(request: HttpRequest, choice: Choice, subscriber: Subscriber) -> ProductOrder:
    return orders.place_order(
        subscriber=subscriber,
        qualification=queries.qualification(choice.qualification),
        offering_codes=[choice.offering, *choice.extras],
        channel=ProductOrder.Channel.PORTAL,
        placed_by=request.user,  # type: ignore[arg-type]
        idempotency_key=choice.idempotency_key,
        at=timezone.now(),
    )


@require_safe
def terms(request: HttpRequest) -> HttpResponse:
    """The terms that are accepted with a registration."""
    return render(request, "portal/terms.html", {"terms_version": TERMS_VERSION})
