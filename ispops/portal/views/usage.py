"""Figure 9 for the subscriber: how much, day by day, and what of it is beyond the plan."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from ispops.parties.models import Subscriber
from ispops.portal import consumption, queries
from ispops.portal.access import for_subscriber
from ispops.portal.views.shop import own_line


@require_safe
@for_subscriber
def usage(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Show the use of one line in the running period, and of partners' products on it."""
    now = timezone.now()
    lines = queries.active_lines(subscriber)
    line = own_line(lines, request.GET.get("line", ""))
    context = {
        "lines": lines,
        "line": line,
        "usage": consumption.usage_of(line, subscriber, now) if line else None,
        "products": consumption.product_usage(line, subscriber, now) if line else [],
    }
    return render(request, "portal/usage.html", context)
