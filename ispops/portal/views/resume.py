"""Leaving a registration and coming back to it, on this device or another."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.portal import journey
from ispops.portal.access import own
from ispops.portal.registering import progress_of
from ispops.portal.views.register import with_registration
from provisioning import registrations
from provisioning.models import Registration


@require_safe
@with_registration
def tasks(request: HttpRequest, found: Registration) -> HttpResponse:
    """Show which parts are done and which are left."""
    steps = progress_of(found, request.user).steps
    context = {
        "registration": found,
        "steps": steps,
        "done": sum(step.is_done for step in steps),
    }
    return render(request, "portal/tasks.html", context)


@require_POST
@with_registration
def leave(request: HttpRequest, found: Registration) -> HttpResponse:
    """Let somebody go away on purpose, with the way back in the mail when we know where to."""
    registrations.leave(registration_id=found.pk, at=timezone.now())
    if found.user is None:
        said = "Your answers are kept in this browser. Make a login to continue on another device."
    else:
        said = f"Your answers are kept. We mail the way back to {found.user.email}."
    messages.success(request, said)
    return redirect("portal:tasks")


@require_POST
@with_registration
def give_up(request: HttpRequest, found: Registration) -> HttpResponse:
    """Forget what was answered."""
    registrations.abandon(registration_id=found.pk, at=timezone.now())
    messages.success(request, "Your answers are deleted. Nothing was ordered.")
    return redirect("portal:home")


@require_safe
@login_required
def resume(request: HttpRequest, ref: str) -> HttpResponse:
    """Come back by the link in a letter, to one's own registration and nobody else's."""
    mine = Registration.objects.filter(user=request.user)  # type: ignore[misc]
    found = own(mine.select_related("order"), ref)
    if found.order:
        return redirect("portal:order", found.order.public_id)
    if found.state != Registration.State.DRAFT:
        messages.info(
            request, "This order was not finished in time. Check your address to begin again."
        )
        return redirect("portal:home")
    journey.remember(request, found)
    return redirect("portal:tasks")
