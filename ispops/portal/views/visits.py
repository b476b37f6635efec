"""When the technician comes: a page to choose another time."""

from itertools import groupby

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from ispops.errors import InvalidInput, Refusal
from ispops.portal.access import own
from ispops.portal.forms import PortalForm
from provisioning import visiting, visits
from provisioning.models import InstallSlot
from provisioning.queries import orders_of_user


class SlotForm(PortalForm):
    """Which of the times that are offered."""

    slot = forms.CharField(
        label="Time",
        widget=forms.RadioSelect,
        error_messages={"required": "Choose a time."},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
def visit(request: HttpRequest, order_id: str) -> HttpResponse:
    """Offer the free times by day, and book the one that is chosen."""
    order = own(orders_of_user(request.user), order_id)  # type: ignore[arg-type]
    now = timezone.now()
    form = SlotForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            key = InstallSlot.key_of(form.cleaned_data["slot"])
            if key is None:
                raise InvalidInput("There is no such time.", field="slot")
            visits.book_visit(order_id=order.pk, slot_id=key, actor=request.user, at=now)  # type: ignore[arg-type]
            return redirect("portal:order", order.public_id)
        except Refusal as refused:
            form.refuse(refused)
    slots = visiting.offer_slots(order, at=now)
    booked = visiting.visit_of(order)
    by_day = groupby(slots, key=visiting.day_in_words)
    context = {
        "order": order,
        "form": form,
        "booked": visiting.in_words(booked.slot) if booked else "",
        "is_too_late": booked is not None and not visiting.may_be_moved(booked, at=now),
        "days": [
            (day, [(slot.public_id, visiting.hours_in_words(slot)) for slot in of_day])
            for day, of_day in by_day
        ],
    }
    return render(request, "portal/visit.html", context, status=422 if form.errors else 200)
