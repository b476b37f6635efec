"""The FCC's availability filing for operations: what it would hold, and the file."""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.catalog.models import Technology
from ispops.console import pages
from ispops.parties.models import Partner
from ispops.periods import moment_on
from qualification import filing
from qualification.availability import REASONS


class FilingForm(forms.Form):
    """Which of our networks is filed, and as at the end of which day; none is now."""

    network = forms.ModelChoiceField(
        queryset=Partner.objects.filter(is_on_net=True).order_by("name"), to_field_name="code"
    )
    on = forms.DateField(required=False)

    def clean_on(self) -> date | None:
        day: date | None = self.cleaned_data["on"]
        if day and day > timezone.localdate(timezone=ZoneInfo(settings.BILLING_TIME_ZONE)):
            raise forms.ValidationError("Coverage is filed as it is or was, not as it will be.")
        return day

    def arguments(self) -> dict[str, Any]:
        """Return what the verb is called with."""
        now = timezone.now()
        as_of = moment_on(self.cleaned_data["on"], now=now, zone=settings.BILLING_TIME_ZONE)
        return {"provider": self.cleaned_data["network"], "as_of": as_of, "at": now}


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Ask which network and day; then say how many places are filed, how many not, and why.

    Counting a million places takes seconds, so nothing is counted before somebody asks.
    """
    networks = list(Partner.objects.filter(is_on_net=True).order_by("name"))
    form = FilingForm(request.GET or None)
    made = filing.prepare(**form.arguments()) if form.is_valid() else None
    facts: dict[str, Any] = {}
    if made:
        facts = {
            "filed": [(Technology(code).label, count) for code, count in made.filed.items()],
            "left_out": [(REASONS[code], count) for code, count in made.left_out.items()],
        }
    return pages.show(
        request,
        "console/filing.html",
        "Availability filing",
        status=422 if form.errors else 200,
        networks=networks,
        form=form,
        made=made,
        **facts,
    )


@require_POST
def download(request: HttpRequest) -> HttpResponseBase:
    """Give the file; who took it is in the audit trail before the first line is sent."""
    form = FilingForm(request.POST)
    if not form.is_valid():
        reasons = [str(reason) for reasons in form.errors.values() for reason in reasons]
        messages.error(request, " ".join(reasons))
        return redirect("admin:console_filing")
    made = filing.export_availability(**form.arguments(), actor=request.user)  # type: ignore[arg-type]
    file = StreamingHttpResponse(filing.lines(made), content_type="text/csv; charset=utf-8")
    file["Content-Disposition"] = f'attachment; filename="{made.file_name}"'
    return file
