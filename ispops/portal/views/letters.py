"""What we wrote to a subscriber, and by what else than e-mail we may."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from ispops.errors import Refusal
from ispops.notices import contacts, gateways, queries, wording
from ispops.parties.models import Subscriber
from ispops.portal.access import for_subscriber, own
from ispops.portal.forms import NumberCodeForm, SmsForm

PER_PAGE = 30


@require_safe
@for_subscriber
def listing(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """List what was written, the newest first."""
    rows = Paginator(queries.written_to(subscriber), PER_PAGE)
    context = {
        "letters": rows.get_page(request.GET.get("page")),
        "subscriber": subscriber,
        "has_sms": gateways.has_sms(),
        "choice": queries.contact_choice_of(subscriber),
    }
    return render(request, "portal/letters.html", context)


@require_safe
@for_subscriber
def letter(request: HttpRequest, subscriber: Subscriber, notice_id: str) -> HttpResponse:
    """Show one message as it was sent; a secret in it was for its moment and is not shown again."""
    found = own(queries.written_to(subscriber), notice_id)
    context = {"letter": found, "text": wording.conceal(found.body)}
    return render(request, "portal/letter.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def choose(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Agree to SMS, with the number they go to, or have no more of them."""
    if not gateways.has_sms():
        raise Http404
    choice = queries.contact_choice_of(subscriber)
    number = choice.sms_number if choice else ""
    begin = {"number": number or subscriber.phone, "wants_sms": bool(number)}
    form = SmsForm(request.POST or None, initial=begin)
    if form.is_valid():
        try:
            return redirect(_choose(request, subscriber, form))
        except Refusal as refused:
            form.refuse(refused)
    context = {"form": form, "subscriber": subscriber}
    return render(
        request, "portal/choose_contact.html", context, status=422 if form.errors else 200
    )


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def confirm(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Take the code that was sent to the number, or send another."""
    choice = queries.contact_choice_of(subscriber)
    if choice is None or choice.confirmed_at is not None or not gateways.has_sms():
        return redirect("portal:letters")
    wants_another = request.method == "POST" and "again" in request.POST
    form = NumberCodeForm(request.POST if request.method == "POST" and not wants_another else None)
    now, actor = timezone.now(), request.user
    number = choice.sms_number
    try:
        if wants_another:
            contacts.agree_to_sms(subscriber=subscriber, number=number, actor=actor, at=now)  # type: ignore[arg-type]
            messages.success(request, "Another code is on its way.")
            return redirect("portal:confirm_contact")
        if form.is_valid():
            code = form.cleaned_data["code"]
            contacts.confirm_sms(subscriber=subscriber, code=code, actor=actor, at=now)  # type: ignore[arg-type]
            messages.success(request, f"We also write to you by SMS, to {number}.")
            return redirect("portal:letters")
    except Refusal as refused:
        if wants_another:
            messages.error(request, refused.detail)
            return redirect("portal:confirm_contact")
        form.refuse(refused)
    context = {"form": form, "choice": choice}
    status = 422 if form.errors else 200
    return render(request, "portal/confirm_contact.html", context, status=status)


def _choose(request: HttpRequest, subscriber: Subscriber, form: SmsForm) -> str:
    """Do what was chosen; return the page that comes next."""
    actor, now = request.user, timezone.now()
    if form.cleaned_data["wants_sms"]:
        choice = contacts.agree_to_sms(
            subscriber=subscriber,
            number=form.cleaned_data["number"],
            actor=actor,  # type: ignore[arg-type]
            at=now,
        )
        return "portal:letters" if choice.confirmed_at else "portal:confirm_contact"
    contacts.refuse_sms(subscriber=subscriber, actor=actor, at=now)  # type: ignore[arg-type]
    messages.success(request, "We write to you by e-mail alone.")
    return "portal:letters"
