"""Where providers with an API of their own tell us how far our orders are (TMF641 listener).

`POST /tmf-api/serviceOrdering/v4/listener/<event>` with a bearer token that is the
provider's alone. 201 when it is taken, also for an event that came before or says nothing new;
409 when it comes too late; 404 for an order that is none of this provider's.
"""

from datetime import datetime
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from ispops.errors import NotFound, TransientFault
from provisioning import hearing, queries
from provisioning.delivery import tmf641
from provisioning.models import DeliveryNotice
from qualification.providers.base import Unusable, words
from qualification.providers.transport import parse

MOST_BODY = 256 * 1024
# PostgreSQL takes the year 1 and the year 10000, and Python could not read the row again.
EARLIEST_YEAR, LATEST_YEAR = 2000, 2199
EVENTS = {
    "serviceOrderStateChangeEvent",
    "serviceOrderAttributeValueChangeEvent",
    "serviceOrderMilestoneEvent",
}


class Malformed(ValueError):
    """What was sent is no event in the form of TM Forum."""


@csrf_exempt
@require_POST
def listen(request: HttpRequest, event: str) -> JsonResponse:
    """Take one event of a provider; see the module."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    connection = queries.delivery_connection_calling(token.strip())
    if scheme.lower() != "bearer" or connection is None:
        answer = _error(401, "This token opens nothing here.")
        answer["WWW-Authenticate"] = 'Bearer realm="listener"'
        return answer
    if event not in EVENTS:
        return _error(404, "There is no listener for this event.")
    if int(request.META.get("CONTENT_LENGTH") or 0) > MOST_BODY:
        return _error(413, f"The body is larger than {MOST_BODY} bytes.")
    try:
        notice = read(request.body)
    except (Malformed, TransientFault) as wrong:
        return _error(400, str(wrong))
    try:
        taken = hearing.take_notice(connection=connection, notice=notice, at=timezone.now())
    except NotFound as missing:
        return _error(404, missing.detail)
    if taken.outcome == DeliveryNotice.Outcome.REFUSED:
        return _error(409, taken.detail)
    return JsonResponse({"id": taken.event_id, "outcome": taken.outcome}, status=201)


def read(body: bytes) -> hearing.Notice:
    """Read TM Forum's envelope: eventId, eventTime, eventType and event.serviceOrder.

    Raises:
        Malformed: a part is missing or is not what it should be; it is named.
        TransientFault: the order in it is none in the form of TMF641.
    """
    try:
        envelope = parse(body)
    except Unusable as error:
        raise Malformed("The body is no JSON.") from error
    if not isinstance(envelope, dict):
        raise Malformed("The body is no event.")
    event = envelope.get("event")
    order = event.get("serviceOrder") if isinstance(event, dict) else None
    if not isinstance(order, dict):
        raise Malformed("event.serviceOrder is missing.")
    ours = _text(order.get("externalId"), "event.serviceOrder.externalId", 200, otherwise="")
    told = tmf641.read(order, ours)
    if not told.reference:
        raise Malformed("event.serviceOrder.id is missing.")
    return hearing.Notice(
        event_id=_text(envelope.get("eventId"), "eventId", 200),
        kind=_text(envelope.get("eventType"), "eventType", 80, otherwise="ServiceOrderEvent"),
        happened_at=_moment(envelope.get("eventTime")),
        order=ours,
        told=told,
        body=envelope,
    )


def _text(value: Any, name: str, most: int, otherwise: str | None = None) -> str:
    if value in (None, "") and otherwise is not None:
        return otherwise
    if not isinstance(value, str) or not value.strip() or words(value, most) != value:
        raise Malformed(f"{name} is no text of up to {most} letters.")
    return value


def _moment(value: Any) -> datetime | None:
    """Read when it happened; without a time, events count in the order in which they come."""
    if value in (None, ""):
        return None
    try:
        moment = parse_datetime(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Malformed("eventTime is no time with its zone.")
    if not EARLIEST_YEAR <= moment.year <= LATEST_YEAR:
        raise Malformed("eventTime is no time of these centuries.")
    return moment


def _error(status: int, reason: str) -> JsonResponse:
    """Answer in TM Forum's form of an error."""
    return JsonResponse({"code": str(status), "reason": reason}, status=status)
