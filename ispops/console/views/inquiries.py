"""What a network was asked about a place: each attempt, and asking again or waiting no longer."""

import uuid

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, pages, timeline
from qualification import asking as worker
from qualification import inquiries
from qualification.models import ProviderInquiry, ServiceQualification
from qualification.queries import inquiries_of


@require_safe
def page(request: HttpRequest, ref: str) -> HttpResponse:
    """Show one inquiry: its attempts, what the network said, and what its breaker does."""
    rows = ProviderInquiry.objects.select_related(
        "connection__partner", "qualification__premises", "answer"
    )
    inquiry = pages.get(rows, ProviderInquiry, ref)
    now = timezone.now()
    return pages.show(
        request,
        "console/inquiry.html",
        "Network inquiry",
        inquiry=inquiry,
        attempts=inquiry.tries.order_by("number"),
        breaker=worker.breaker_of(inquiry.connection).state(now),
        is_running=bool(inquiry.leased_until and inquiry.leased_until > now),
        may_work=request.user.has_perm("qualification.change_providerinquiry"),
        timeline=timeline.of(
            {inquiry.public_id: ""},
            may_see_audit=request.user.has_perm("parties.view_auditentry"),
        ),
    )


@require_safe
def from_list(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Lead from a row of the plain list to the page about the inquiry."""
    if not ProviderInquiry.objects.filter(pk=key).exists():
        raise Http404("There is no such inquiry.")
    return redirect("admin:console_inquiry", ProviderInquiry(pk=key).public_id)


@require_POST
def ask_again(request: HttpRequest, ref: str) -> HttpResponse:
    """Ask the network now, whatever its breaker says."""
    inquiry = pages.get(ProviderInquiry.objects.all(), ProviderInquiry, ref)
    actions.attempt_with_reason(
        request,
        inquiries.ask_again,
        done="The network is being asked again now.",
        inquiry_id=inquiry.pk,
    )
    return actions.back(request, reverse("admin:console_inquiry", args=[ref]))


@require_POST
def give_up(request: HttpRequest, ref: str) -> HttpResponse:
    """Wait for the network no longer, so that the answer is settled without it."""
    inquiry = pages.get(ProviderInquiry.objects.all(), ProviderInquiry, ref)
    actions.attempt_with_reason(
        request,
        inquiries.give_up_now,
        done="We wait for this network no longer.",
        inquiry_id=inquiry.pk,
    )
    return actions.back(request, reverse("admin:console_inquiry", args=[ref]))


@require_safe
def asking(request: HttpRequest, ref: str) -> HttpResponse:
    """Tell the page of an answer whether it still waits; what is being filled in there stays."""
    answer = pages.get(ServiceQualification.objects.all(), ServiceQualification, ref)
    return render(
        request,
        "console/_asking.html",
        {
            "answer": answer,
            "inquiries": inquiries_of(answer),
            "was_waiting": True,
            "subscriber_ref": request.GET.get("subscriber", ""),
        },
    )
