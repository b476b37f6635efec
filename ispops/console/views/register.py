"""Figure 6: a CSR registers somebody on their behalf, from an answer to the order."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ispops.console import actions, pages
from ispops.console.register_form import RegisterForm
from ispops.errors import Refusal
from ispops.parties import invitations, terms
from ispops.parties.models import Subscriber, TermsAcceptance, User
from ispops.parties.terms import Acceptance
from provisioning import duplicates, registrations
from provisioning.models import ProductOrder, Registration
from qualification.models import ServiceQualification
from qualification.queries import offers_of

ASK = ["GET", "HEAD", "POST"]


@require_http_methods(ASK)
def new(request: HttpRequest, ref: str) -> HttpResponse:
    """Fill in a registration for somebody who has no account."""
    answers = ServiceQualification.objects.select_related("premises")
    return _fill_in(request, pages.get(answers, ServiceQualification, ref), None)


@require_http_methods(ASK)
def change(request: HttpRequest, ref: str) -> HttpResponse:
    """Fill it in again; what was there is replaced as a whole."""
    row = _row(ref)
    if row.state != Registration.State.DRAFT:
        return redirect("admin:console_registration", ref)
    return _fill_in(request, row.qualification, row)


def _fill_in(
    request: HttpRequest, answer: ServiceQualification, row: Registration | None
) -> HttpResponse:
    now, user = timezone.now(), _clerk(request)
    form = RegisterForm(
        request.POST if request.method == "POST" else None, offers=offers_of(answer), row=row
    )
    if form.is_valid():
        try:
            begun = registrations.begin(
                offer=form.offer,
                channel=ProductOrder.Channel.CSR,
                clerk=user,
                replaces=row,
                at=now,
                **form.answers,
            )
        except Refusal as refused:
            form.refuse(refused)
        else:
            return redirect("admin:console_registration", begun.public_id)
    return pages.show(
        request,
        "console/register.html",
        "Register somebody",
        status=422 if form.errors else 200,
        answer=answer,
        form=form,
        terms=terms.in_force(),
        has_expired=answer.expires_at <= now,
    )


@require_safe
def review(request: HttpRequest, ref: str) -> HttpResponse:
    """Show what will be ordered, for whom and for how much, and who may be the same person."""
    row = _row(ref)
    if row.order is not None:
        return redirect("admin:console_order", row.order.public_id)
    return _review(request, row)


def _review(
    request: HttpRequest, row: Registration, *, refused: Refusal | None = None
) -> HttpResponse:
    codes = [row.offering.code, *(row.extras or [])]
    offers = {offer.offering.code: offer for offer in offers_of(row.qualification)}
    priced = [offers[code] for code in codes if code in offers]
    premises = row.qualification.premises
    context: dict[str, Any] = {
        "row": row,
        "answer": row.qualification,
        "priced": priced,
        "once": sum(offer.one_off_amount + offer.construction_fee for offer in priced),
        "monthly": sum(offer.recurring_amount for offer in priced),
        "people": duplicates.same_person(
            name=row.name, email=row.email, phone=row.phone, premises=premises
        ),
        "there": duplicates.at_premises(premises, None),
        "premises_answers": Registration.Premises.choices,
        "terms": terms.in_force(),
        "refused": refused,
    }
    return pages.show(
        request,
        "console/registration.html",
        "Check and order",
        status=409 if refused else 200,
        **context,
    )


@require_POST
def place(request: HttpRequest, ref: str) -> HttpResponse:
    """Open the account, place the order, and send the invitation; or none of them."""
    row = _row(ref)
    if row.order is not None:
        return redirect("admin:console_order", row.order.public_id)
    if row.state != Registration.State.DRAFT:
        messages.error(request, "This registration was given up. Begin a new one.")
        return redirect("admin:console_qualification", row.qualification.public_id)
    try:
        order = _place(request, row)
    except Refusal as refused:
        return _review(request, _row(ref), refused=refused)
    messages.success(request, f"The order is placed, and an invitation goes to {row.email}.")
    return redirect("admin:console_order", order.public_id)


def _place(request: HttpRequest, row: Registration) -> ProductOrder:
    now, user = timezone.now(), _clerk(request)
    key = request.POST.get("key", "")
    if key != row.idempotency_key:
        raise registrations.RegistrationChanged(
            "It was changed meanwhile, perhaps by a colleague. Please check it again."
        )
    said = {
        "premises_answer": request.POST.get("premises_answer", ""),
        "is_another_person": "is_another_person" in request.POST,
    }
    if said != {name: getattr(row, name) for name in said}:
        row = registrations.answer(registration_id=row.pk, at=now, **said)
    return registrations.place(
        registration_id=row.pk,
        placed_by=user,
        key=row.idempotency_key,
        terms_version=request.POST.get("terms_version", ""),
        acceptance=Acceptance(by=user, channel=TermsAcceptance.Channel.CSR, how=row.terms_how),
        at=now,
    )


@require_POST
def give_up(request: HttpRequest, ref: str) -> HttpResponse:
    """Forget what was filled in."""
    row = _row(ref)
    actions.attempt(
        request,
        registrations.abandon,
        done="It is deleted. Nothing was ordered.",
        registration_id=row.pk,
    )
    return redirect("admin:console_qualification", row.qualification.public_id)


@require_POST
def invite(request: HttpRequest, ref: str) -> HttpResponse:
    """Send the invitation to make the login once more; the link before ends by it."""
    subscriber = pages.get(Subscriber.objects.all(), Subscriber, ref)
    actions.attempt_with_reason(
        request,
        invitations.invite,
        done=f"An invitation goes to {subscriber.email}. The one before no longer works.",
        subscriber=subscriber,
    )
    return actions.back(request, reverse("admin:console_subscriber", args=[ref]))


def _row(ref: str) -> Registration:
    """Return a registration that staff fill in: those of visitors are theirs alone."""
    rows = Registration.objects.filter(clerk__isnull=False).select_related(
        "qualification__premises", "offering", "order", "clerk"
    )
    return pages.get(rows, Registration, ref)


def _clerk(request: HttpRequest) -> User:
    return request.user  # type: ignore[return-value]
