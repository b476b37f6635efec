"""The FCC's broadband labels (47 CFR 8.1): each on a page, all in a list, all in a file."""

from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from ispops.catalog import labelled
from ispops.catalog.labels import as_csv
from ispops.portal.forms import LabelDayForm


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """Show what every plan costs and delivers, side by side, today or on an earlier day."""
    form = LabelDayForm(request.GET or None)
    at = form.moment()
    context = {
        "form": form,
        "at": at,
        "labels": labelled.labels_at(at),
        "withdrawn": labelled.withdrawn_plans(timezone.now()),
    }
    return render(request, "portal/labels.html", context, status=422 if form.errors else 200)


@require_safe
def one(request: HttpRequest, code: str) -> HttpResponse:
    """Show the label of one plan, ready to be printed; of a plan no longer sold, its last one.

    A page that shows the plan gets the label alone, when somebody opens it there.
    """
    form = LabelDayForm(request.GET or None)
    if form.errors:
        return listing(request)
    label = labelled.label_of(code, form.moment())
    if label is None:
        raise Http404
    if request.htmx:  # type: ignore[attr-defined]  # set by its middleware
        return render(request, "portal/parts/label.html", {"label": label, "level": 4})
    return render(request, "portal/label.html", {"label": label, "at": form.moment()})


@require_safe
def as_file(request: HttpRequest) -> HttpResponse:
    """Give all labels as the FCC's file."""
    form = LabelDayForm(request.GET or None)
    if form.errors:
        words = " ".join(str(reason) for reason in form.errors["on"])
        return HttpResponse(f"on: {words}\n", status=422, content_type="text/plain; charset=utf-8")
    at = form.moment()
    day = at.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date()
    file = HttpResponse(as_csv(labelled.labels_at(at)), content_type="text/csv; charset=utf-8")
    file["Content-Disposition"] = f'attachment; filename="broadband-labels-{day}.csv"'
    return file


@require_safe
def policies(request: HttpRequest) -> HttpResponse:
    """What the labels lead to: how the network is run, what is kept, whom to ask."""
    return render(request, "portal/policies.html")
