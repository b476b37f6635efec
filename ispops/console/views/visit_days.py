"""The list with which technicians go through a day, and what came of each visit."""

from datetime import date, timedelta

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, pages
from provisioning import visit_days, visit_results, visiting
from provisioning.models import Appointment

LIST = "admin:console_visits"
OVERDUE = "overdue"
# Dates beyond are no days that Python can go on from.
FIRST, LAST = date(2000, 1, 1), date(9000, 1, 1)


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """Show the visits of a day and area, or those that are over and not closed; made to print."""
    now = timezone.now()
    day = _day(request.GET.get("day", "")) or visit_days.today(now)
    area = request.GET.get("area", "").replace("\0", "")[:110]
    is_overdue = request.GET.get("show") == OVERDUE
    calls = (
        visit_days.calls_overdue(now, area=area)
        if is_overdue
        else visit_days.of_day(day, area=area)
    )
    return pages.show(
        request,
        "console/visits.html",
        "Visits to close" if is_overdue else f"Visits, {day:%a %-d %B %Y}",
        calls=[(call, visiting.in_words(call.visit.slot)) for call in calls],
        day=day,
        earlier=day - timedelta(days=1),
        later=day + timedelta(days=1),
        next_day=None if calls or is_overdue else visit_days.next_day(day),
        area=area,
        areas=visit_days.areas(day),
        is_overdue=is_overdue,
        overdue=visit_days.overdue(now).count(),
        now=now,
        failures=Appointment.Failure.choices,
    )


def _day(text: str) -> date | None:
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return day if day and FIRST <= day <= LAST else None


@require_POST
def done(request: HttpRequest, ref: str) -> HttpResponse:
    """Say that the technician was there; the order goes on."""
    visit = pages.get(Appointment.objects.all(), Appointment, ref)
    actions.attempt(
        request,
        visit_results.complete_visit,
        done="The visit is done. The order goes on.",
        visit_id=visit.pk,
        actor=request.user,
        note=request.POST.get("note", ""),
    )
    return actions.back(request, reverse(LIST))


@require_POST
def failed(request: HttpRequest, ref: str) -> HttpResponse:
    """Say that the technician came in vain; the subscriber is asked for another time."""
    visit = pages.get(Appointment.objects.all(), Appointment, ref)
    actions.attempt(
        request,
        visit_results.fail_visit,
        done="The visit was in vain. The subscriber is asked to choose another time.",
        visit_id=visit.pk,
        failure=request.POST.get("failure", ""),
        actor=request.user,
        note=request.POST.get("note", ""),
    )
    return actions.back(request, reverse(LIST))
