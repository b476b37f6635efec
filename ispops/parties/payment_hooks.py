"""Where Stripe tells that somebody has given a card."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from ispops.errors import NotFound, PermanentFault, TransientFault
from ispops.parties import payments
from ispops.parties.gateways import stripe

MOST_BYTES = 256 * 1024


@csrf_exempt
@require_POST
def stripe_events(request: HttpRequest) -> HttpResponse:
    """Take a message that Stripe has signed, however often it comes.

    The answer is 503 while Stripe cannot be asked which card it is: then it sends the message
    again, for days. What is none of ours is answered with 200, or it would be sent again, too.
    """
    if int(request.META.get("CONTENT_LENGTH") or 0) > MOST_BYTES:
        return HttpResponse(status=413)
    now = timezone.now()
    try:
        finished = stripe.read_message(
            request.body, request.headers.get("Stripe-Signature", ""), now=now.timestamp()
        )
    except stripe.ForgedMessage as forged:
        return HttpResponse(f"{forged}\n", status=400, content_type="text/plain")
    if finished is not None:
        try:
            named = stripe.StripeGateway().named(finished)
            payments.confirm(public_id=finished.method_id, named=named, at=now)
        except TransientFault:
            return HttpResponse(status=503)
        except (PermanentFault, NotFound):
            return HttpResponse(status=200)
    return HttpResponse(status=200)
