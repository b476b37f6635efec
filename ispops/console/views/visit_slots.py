"""One span of the calendar of visits: who is booked in it, other hours, and nobody at all."""

import uuid

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, pages
from ispops.errors import Refusal
from provisioning import visit_days, visit_slots, visiting
from provisioning.models import InstallSlot

MOST_OFFERED = 40


class SlotForm(forms.Form):
    """The hours of a slot in the ISP's zone, and how many visits are made in it."""

    day = forms.DateField(widget=forms.DateInput(attrs={"type": "date"}))
    starts = forms.TimeField(label="From", widget=forms.TimeInput(attrs={"type": "time"}))
    ends = forms.TimeField(label="To", widget=forms.TimeInput(attrs={"type": "time"}))
    capacity = forms.IntegerField(label="Visits at the same time", min_value=1, max_value=500)


@require_safe
def page(request: HttpRequest, ref: str) -> HttpResponse:
    """Show a slot with the visits that are booked in it."""
    slot = pages.get(InstallSlot.objects.all(), InstallSlot, ref)
    return _shown(request, slot, SlotForm(initial=visiting.hours_of(slot)))


def _shown(
    request: HttpRequest, slot: InstallSlot, form: SlotForm, *, status: int = 200
) -> HttpResponse:
    now = timezone.now()
    calls = visit_days.booked_in(slot)
    order = calls[0].visit.order if calls else None
    others = (
        visiting.free_slots(order, at=now, asker=request.user).exclude(pk=slot.pk)  # type: ignore[arg-type]
        if order
        else InstallSlot.objects.none()
    )
    return pages.show(
        request,
        "console/visit_slot.html",
        "Install visits",
        status=status,
        slot=slot,
        words=visiting.in_words(slot),
        calls=calls,
        others=[(other.public_id, visiting.in_words(other)) for other in others[:MOST_OFFERED]],
        form=form,
        is_over=slot.starts_at <= now,
        may_change=request.user.has_perm("provisioning.change_installslot"),
        may_work=request.user.has_perm("provisioning.work_fallout"),
    )


@require_POST
def change(request: HttpRequest, ref: str) -> HttpResponse:
    """Give a slot other hours, or another number of visits; what cannot be is said at the field."""
    slot = pages.get(InstallSlot.objects.all(), InstallSlot, ref)
    form = SlotForm(request.POST)
    if form.is_valid():
        try:
            visit_slots.change_slot(
                slot_id=slot.pk,
                actor=request.user,  # type: ignore[arg-type]
                at=timezone.now(),
                **form.cleaned_data,
            )
        except Refusal as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, refusal.detail)
        else:
            actions.say(request, "The time is changed. Whoever is booked in it is told.")
            return redirect("admin:console_slot", slot.public_id)
    return _shown(request, slot, form, status=422)


@require_POST
def withdraw(request: HttpRequest, ref: str) -> HttpResponse:
    """Send nobody in a slot; who was booked in it gets another time."""
    slot = pages.get(InstallSlot.objects.all(), InstallSlot, ref)
    reason = request.POST.get("reason", "")
    done: list[tuple[int, int]] = []

    def verb(**given: object) -> None:
        done.append(visit_slots.withdraw_slot(**given))  # type: ignore[arg-type]

    if actions.attempt(
        request,
        verb,
        done="Nobody comes at this time any more.",
        slot_id=slot.pk,
        actor=request.user,
        reason=reason,
    ):
        moved, cancelled = done[0]
        if moved or cancelled:
            actions.say(
                request,
                f"Visits moved: {moved}. Visits for which no other time was free, whose "
                f"subscribers are asked to choose one: {cancelled}.",
            )
    return redirect("admin:console_slot", slot.public_id)


@require_safe
def from_list(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Lead from a row of the calendar to the page about the slot."""
    slot = InstallSlot.objects.filter(pk=key).first()
    if slot is None:
        raise Http404("There is no such time.")
    return redirect("admin:console_slot", slot.public_id)
