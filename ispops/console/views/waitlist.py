"""Entering a caller on the waitlist of an address."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from ispops.console import actions, pages
from qualification import waitlist
from qualification.models import ServiceQualification


@require_POST
def join(request: HttpRequest, ref: str) -> HttpResponse:
    """Put a caller on the list who agrees to be written to; who did it is in the audit trail."""
    answer = pages.get(
        ServiceQualification.objects.select_related("premises"), ServiceQualification, ref
    )
    if request.POST.get("consent") == "yes":
        actions.attempt(
            request,
            waitlist.join_waitlist,
            done="They are on the list, and get one letter when there is something new.",
            qualification=answer,
            email=request.POST.get("email", ""),
            name=request.POST.get("name", ""),
            channel=ServiceQualification.Channel.CSR,
            actor=request.user,
        )
    else:
        messages.error(request, "Ask the caller whether we may write to them. Nothing was stored.")
    return redirect("admin:console_qualification", ref)
