"""Figure 4, up to the order: what is wanted, who wants it, check your answers, place the order.

Each step is a page that can be left and come back to; `register` finds the first one open.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account.adapter import get_adapter
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from markdown_it import MarkdownIt

from ispops.errors import Refusal
from ispops.parties import terms as terms_of_service
from ispops.parties.models import PaymentMethod
from ispops.parties.terms import Acceptance
from ispops.portal import journey, queries
from ispops.portal.forms import (
    ContactForm,
    ExtrasForm,
    PaymentForm,
    PersonForm,
    PremisesForm,
    ReviewForm,
)
from ispops.portal.registering import Progress, must_accept, progress_of
from provisioning import registrations
from provisioning.models import Registration

Page = Callable[[HttpRequest, Registration], HttpResponse]
ASK = ["GET", "HEAD", "POST"]


def with_registration(view: Page) -> Callable[[HttpRequest], HttpResponse]:
    """Let a page run when a plan was chosen; one that became an order leads to the order."""

    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        found = journey.current(request)
        found = journey.claim(request, found) if found else None
        if found is None:
            messages.info(request, "Start with your address, then choose a plan.")
            return redirect("portal:home")
        if found.order:
            return redirect("portal:order", found.order.public_id)
        try:
            return view(request, found)
        except registrations.RegistrationEnded as ended:
            messages.info(request, ended.detail)
            return redirect("portal:home")

    return wrapped


def _keep(request: HttpRequest, found: Registration, **answers: Any) -> HttpResponse:
    """Write down what was answered, and go on to what is asked next."""
    changed = registrations.answer(registration_id=found.pk, at=timezone.now(), **answers)
    journey.remember(request, changed)
    return redirect("portal:register")


@require_safe
@with_registration
def register(request: HttpRequest, found: Registration) -> HttpResponse:
    """Lead to the first step that has not been done."""
    progress = progress_of(found, request.user)
    page = progress.first_open
    if page == "answer":
        return redirect("portal:answer", found.qualification.public_id)
    if page == "register":
        here = urlencode({"next": resolve_url("portal:register")})
        return redirect(f"{resolve_url('account_signup')}?{here}")
    return redirect(f"portal:{page}")


@require_http_methods(ASK)
@with_registration
def extras(request: HttpRequest, found: Registration) -> HttpResponse:
    """Ask which partner products should come with the line; none is an answer too."""
    offered = progress_of(found, request.user).extras_on_offer
    form = ExtrasForm(
        request.POST if request.method == "POST" else None,
        codes=[offer.offering.code for offer in offered],
        initial={"extras": found.extras or []},
    )
    if form.is_valid():
        return _keep(request, found, extras=form.cleaned_data["extras"])
    context = {"form": form, "offered": offered, "ticked": form["extras"].value() or []}
    return render(request, "portal/extras.html", context, status=422 if form.errors else 200)


@require_http_methods(ASK)
@login_required
@with_registration
def contact(request: HttpRequest, found: Registration) -> HttpResponse:
    """Ask who pays, and how to reach them."""
    if registrations.account_of(found) is not None:
        return redirect("portal:register")
    form = ContactForm(request.POST or None, initial={"name": found.name, "phone": found.phone})
    if form.is_valid():
        # Other details may be those of another person, so that has to be asked again.
        return _keep(request, found, **form.cleaned_data, is_another_person=False)
    return render(
        request, "portal/contact.html", {"form": form}, status=422 if form.errors else 200
    )


@require_http_methods(ASK)
@login_required
@with_registration
def person(request: HttpRequest, found: Registration) -> HttpResponse:
    """Ask somebody with the details of an account whether they have one."""
    if not progress_of(found, request.user).is_known:
        return redirect("portal:register")
    form = PersonForm(
        request.POST if request.method == "POST" else None,
        initial={"is_another_person": found.is_another_person},
    )
    if form.is_valid():
        return _keep(request, found, is_another_person=True)
    return render(request, "portal/person.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(ASK)
@login_required
@with_registration
def premises(request: HttpRequest, found: Registration) -> HttpResponse:
    """Ask what is meant where there is a line already, or one on its way."""
    there = progress_of(found, request.user).there
    if not there:
        return redirect("portal:register")
    form = PremisesForm(
        request.POST if request.method == "POST" else None,
        is_own=there.is_own,
        initial={"premises_answer": found.premises_answer},
    )
    if form.is_valid():
        return _keep(request, found, premises_answer=form.cleaned_data["premises_answer"])
    context = {"form": form, "there": there, "address": found.qualification.address}
    return render(request, "portal/premises.html", context, status=422 if form.errors else 200)


@require_http_methods(ASK)
@login_required
@with_registration
def payment(request: HttpRequest, found: Registration) -> HttpResponse:
    """Ask how the bills will be paid."""
    form = PaymentForm(
        request.POST if request.method == "POST" else None,
        initial={"payment_kind": found.payment_kind},
    )
    if form.is_valid():
        return _keep(request, found, payment_kind=form.cleaned_data["payment_kind"])
    context = {"form": form, "registering": True}
    return render(request, "portal/payment.html", context, status=422 if form.errors else 200)


@require_safe
@login_required
@with_registration
def review(request: HttpRequest, found: Registration) -> HttpResponse:
    """Show all answers before they bind anybody."""
    progress = progress_of(found, request.user)
    if not progress.is_complete:
        return redirect("portal:register")
    return _review(request, progress)


def _review(
    request: HttpRequest,
    progress: Progress,
    *,
    form: ReviewForm | None = None,
    refused: str = "",
    status: int = 200,
) -> HttpResponse:
    found, plan = progress.registration, progress.plan
    if plan is None:
        return redirect("portal:answer", found.qualification.public_id)
    newest, priced = must_accept(progress.subscriber), [plan, *progress.picked]
    shown = {
        "idempotency_key": found.idempotency_key,
        "terms_version": newest.version if newest else "",
    }
    context: dict[str, Any] = {
        "registration": found,
        "progress": progress,
        "subscriber": progress.subscriber,
        "qualification": found.qualification,
        "plan": plan,
        "port_kept_until": queries.port_kept_until(found.qualification, timezone.now()),
        "priced": priced,
        "once": sum(o.one_off_amount + o.construction_fee for o in priced),
        "monthly": sum(offer.recurring_amount for offer in priced),
        "refused": refused,
        "terms_version": shown["terms_version"],
        "form": form or ReviewForm(initial=shown, must_accept=newest is not None),
    }
    return render(request, "portal/review.html", context, status=status)


@require_POST
@login_required
@with_registration
def place(request: HttpRequest, found: Registration) -> HttpResponse:
    """Place the order. However often this is sent, there is one order, and it is shown."""
    progress = progress_of(found, request.user)
    if request.POST.get("idempotency_key") != found.idempotency_key:
        changed = "Your order was changed in another window. Please check it again."
        return _review(request, progress, refused=changed, status=409)
    newest = must_accept(progress.subscriber)
    form = ReviewForm(request.POST, must_accept=newest is not None)
    if newest and not form.is_valid():
        return _review(request, progress, form=form, status=422)
    version = request.POST.get("terms_version", "") if newest else terms_of_service.in_force()
    try:
        order = registrations.place(
            registration_id=found.pk,
            placed_by=request.user,  # type: ignore[arg-type]
            key=found.idempotency_key,
            terms_version=str(version),
            acceptance=acceptance(request),
            at=timezone.now(),
        )
    except (registrations.PersonKnown, registrations.PremisesServed):
        return redirect("portal:register")
    except Refusal as refusal:
        return _review(request, progress, refused=refusal.detail, status=409)
    if found.payment_kind == PaymentMethod.Kind.CARD:
        messages.success(request, "Your order is placed. What is missing is your card.")
        return redirect("portal:payment")
    return redirect("portal:order", order.public_id)


def acceptance(request: HttpRequest) -> Acceptance:
    """Say who accepts terms on a page of ours, and from where."""
    ip = get_adapter().get_client_ip(request)
    return Acceptance(by=request.user, ip=ip)  # type: ignore[arg-type]


@require_safe
def terms(request: HttpRequest) -> HttpResponse:
    """The terms that are accepted with an order."""
    newest = terms_of_service.in_force()
    # Without HTML and without links that run something: whoever writes terms writes words.
    text = MarkdownIt("commonmark", {"html": False}).render(newest.text)
    return render(request, "portal/terms.html", {"terms": newest, "text": text})
