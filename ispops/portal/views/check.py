"""Figure 1: a visitor asks what an address can have, and leaves an e-mail where it is nothing."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ispops.errors import Refusal
from ispops.parties import limits
from ispops.parties.models import Subscriber
from ispops.portal import journey, queries
from ispops.portal.access import for_subscriber, own, subscriber_of
from ispops.portal.explanation import explain
from ispops.portal.forms import AddressForm, WaitlistForm
from ispops.portal.offers import arrange, packages_of
from ispops.portal.views.errors import too_many_requests
from ispops.portal.waiting import waiting_for
from provisioning.queries import lines_of
from qualification import ports, qualify, waitlist
from qualification.gazetteer import LEAST_TYPED, suggest
from qualification.models import ServiceQualification
from qualification.queries import asker_of, offers_of


@require_http_methods(["GET", "HEAD", "POST"])
def home(request: HttpRequest) -> HttpResponse:
    """Ask for an address; answer with a page of its own that can be kept and shared."""
    form = AddressForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        if wait := limits.seconds_to_wait(request, limits.QUALIFY):
            return too_many_requests(request, wait=wait)
        try:
            return redirect("portal:answer", _qualify(request, form.place).public_id)
        except Refusal as refused:
            form.refuse(refused)
    context = {"form": form, "begun": journey.open_one(request)}
    return render(request, "portal/home.html", context, status=422 if form.errors else 200)


def _qualify(request: HttpRequest, place: dict[str, Any]) -> ServiceQualification:
    # Lest the port that is kept for them be the last one here.
    _give_up_port(request)
    subscriber = subscriber_of(request.user)
    return qualify.qualify_address(
        **place,
        channel=ServiceQualification.Channel.PORTAL,
        asker=asker_of(request.user),
        subscriber_kind=subscriber.kind if subscriber else "consumer",
        at=timezone.now(),
    )


@require_POST
@for_subscriber
def check_line(request: HttpRequest, subscriber: Subscriber, line_id: str) -> HttpResponse:
    """Ask again for the place of one of the subscriber's lines: what else can be had there?"""
    line = own(lines_of(subscriber), line_id)
    if wait := limits.seconds_to_wait(request, limits.QUALIFY):
        return too_many_requests(request, wait=wait)
    found = _qualify(request, {"premises_id": line.premises.public_id})
    return redirect("portal:answer", found.public_id)


@require_safe
def suggestions(request: HttpRequest) -> HttpResponse:
    """Give the options under the address field, for what has been typed so far."""
    text = request.GET.get("address", "").strip()
    found = []
    if len(text) >= LEAST_TYPED and not limits.seconds_to_wait(request, limits.SUGGEST):
        found = suggest(text, limit=8)
    return render(request, "portal/parts/suggestions.html", {"found": found, "text": text})


@require_safe
def answer(request: HttpRequest, qualification_id: str) -> HttpResponse:
    """Show what an address can have. Whoever has the link may read it: it names no person."""
    qualification = queries.qualification(qualification_id)
    return render(request, "portal/answer.html", _answer(qualification) | {"form": WaitlistForm()})


@require_safe
@never_cache
def asking(request: HttpRequest, qualification_id: str) -> HttpResponse:
    """Tell the page of a pending answer whether the networks have answered, and when to look again.

    When they have, what it gets is an element that fetches the page and puts it in the old one's
    place, so that nobody has to load it by hand and what has the focus keeps it.
    """
    qualification = queries.qualification(qualification_id)
    looks = request.GET.get("looks", "")
    context = {
        "qualification": qualification,
        "waiting": waiting_for(qualification, int(looks) + 1 if looks.isdecimal() else 1),
    }
    return render(request, "portal/parts/asking.html", context)


def _answer(qualification: ServiceQualification) -> dict[str, object]:
    offers = offers_of(qualification)
    return {
        "waiting": waiting_for(qualification, 0),
        "qualification": qualification,
        "answer": arrange(offers),
        "explanation": explain(qualification, offers),
        "expired": qualification.expires_at <= timezone.now(),
    }


@require_safe
def packages(request: HttpRequest, qualification_id: str) -> HttpResponse:
    """Give the bundles of partners' products that a line there could have, as they are sold today.

    An answer promises none of them, and its page has to stay as it was: so this comes beside it.
    """
    qualification = queries.qualification(qualification_id)
    found = packages_of(
        arrange(offers_of(qualification)),
        qualification.subscriber_kind,
        at=timezone.now(),
        currency=settings.CURRENCY,
    )
    context = {"packages": found, "currency": settings.CURRENCY}
    return render(request, "portal/parts/packages.html", context)


@require_POST
def wait(request: HttpRequest, qualification_id: str) -> HttpResponse:
    """Put somebody on the waitlist of an address: for service, or for more than there is.

    The answer is the same whether or not they were on it, or it would tell who is.
    """
    qualification = queries.qualification(qualification_id)
    form = WaitlistForm(request.POST)
    if form.is_valid():
        if wait := limits.seconds_to_wait(request, limits.WAITLIST):
            return too_many_requests(request, wait=wait)
        try:
            waitlist.join_waitlist(
                qualification=qualification,
                **form.cleaned_data,
                channel=ServiceQualification.Channel.PORTAL,
                at=timezone.now(),
            )
        except Refusal as refused:
            form.refuse(refused)
        else:
            messages.success(
                request,
                f"You are on the list. We will write to {form.cleaned_data['email']} once, when "
                "there is something new for this address.",
            )
            return redirect("portal:answer", qualification.public_id)
    context = _answer(qualification) | {"form": form}
    return render(request, "portal/answer.html", context, status=422)


@require_POST
def choose(request: HttpRequest, qualification_id: str) -> HttpResponse:
    """Take a plan of the answer into registration, and keep a port for it meanwhile."""
    qualification = queries.qualification(qualification_id)
    code = request.POST.get("offering", "")
    plan = arrange(offers_of(qualification)).orderable(code)
    if plan is None:
        raise Http404
    journey.begin(request, plan)
    return redirect("portal:register")


def _give_up_port(request: HttpRequest) -> None:
    """Let others have the port of a plan while this visitor looks at something else."""
    begun = journey.open_one(request)
    if begun:
        ports.release_hold(qualification=begun.qualification, at=timezone.now())
