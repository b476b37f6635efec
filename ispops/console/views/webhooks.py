"""What partners were told by webhook: the list, one message, and sending again one or many."""

import uuid
from typing import Any

from django import forms
from django.conf import settings
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, pages, queues, timeline
from ispops.errors import Refusal
from ispops.parties import webhooks
from ispops.parties.models import Partner, WebhookDelivery

PER_PAGE = 50
State = WebhookDelivery.State


class SpanForm(forms.Form):
    """Whose messages of which time are sent again."""

    partner = forms.ModelChoiceField(Partner.objects.none(), to_field_name="code")
    since = forms.DateTimeField(widget=forms.DateTimeInput(
        attrs={"type": "datetime-local", "step": "1"}))  # fmt: skip
    until = forms.DateTimeField(widget=forms.DateTimeInput(
        attrs={"type": "datetime-local", "step": "1"}))  # fmt: skip
    state = forms.ChoiceField(
        required=False, label="Only", choices=[("", "All of them"), *State.choices]
    )
    reason = forms.CharField(label="Why?", max_length=300)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen: Any = self.fields["partner"]
        chosen.queryset = Partner.objects.exclude(webhook_url="").order_by("name")
        for name, word in (("since", "From"), ("until", "To")):
            self.fields[name].label = f"{word} (time of {settings.BILLING_TIME_ZONE})"


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List messages, newest first; narrowed down by `state`, `partner`, `kind` and `about`."""
    return _list(request, SpanForm())


def _list(request: HttpRequest, form: SpanForm, *, status: int = 200) -> HttpResponse:
    asked = {name: request.GET.get(name, "") for name in ("state", "partner", "kind", "about")}
    rows = _narrowed(asked)
    shown = Paginator(rows.select_related("partner").order_by("-created_at", "-pk"), PER_PAGE)
    counted = queues.by_state(_narrowed({**asked, "state": ""}))
    every = WebhookDelivery.objects.order_by()
    return pages.show(
        request,
        "console/webhooks.html",
        "Webhooks",
        status=status,
        rows=shown.get_page(request.GET.get("page")),
        asked=asked,
        states=[("", "All", sum(counted.values())), *(
            (value, label, counted.get(value, 0)) for value, label in State.choices
        )],
        partners=Partner.objects.exclude(webhook_url="").order_by("name"),
        kinds=sorted(every.values_list("kind", flat=True).distinct()),
        form=form,
        may_replay=request.user.has_perm("parties.replay_webhookdelivery"),
    )  # fmt: skip


def _narrowed(asked: dict[str, str]) -> QuerySet[WebhookDelivery]:
    fields = {"state": "state", "partner": "partner__code", "kind": "kind", "about": "subject"}
    wanted = {
        fields[name]: value.replace("\0", "").strip() for name, value in asked.items() if value
    }
    return WebhookDelivery.objects.filter(**wanted)


@require_safe
def page(request: HttpRequest, ref: str) -> HttpResponse:
    """Show one message: its body, what the partner answered, and what is before and after it."""
    row = pages.get(WebhookDelivery.objects.select_related("partner"), WebhookDelivery, ref)
    same = WebhookDelivery.objects.filter(partner=row.partner, subject=row.subject)
    return pages.show(
        request,
        "console/webhook.html",
        "Webhook",
        row=row,
        same=same.order_by("sequence")[:PER_PAGE],
        is_running=bool(row.leased_until and row.leased_until > timezone.now()),
        may_replay=request.user.has_perm("parties.replay_webhookdelivery"),
        timeline=timeline.of(
            {row.public_id: ""}, may_see_audit=request.user.has_perm("parties.view_auditentry")
        ),
    )


@require_safe
def from_list(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Lead from a row of the plain list to the page about the message."""
    if not WebhookDelivery.objects.filter(pk=key).exists():
        raise Http404("There is no such message.")
    return redirect("admin:console_webhook", WebhookDelivery(pk=key).public_id)


@require_POST
def replay(request: HttpRequest, ref: str) -> HttpResponse:
    """Send a message to a partner once more."""
    delivery = pages.get(WebhookDelivery.objects.all(), WebhookDelivery, ref)
    actions.attempt(
        request,
        webhooks.replay,
        done="The message will be sent again in a moment.",
        delivery_id=delivery.pk,
        actor=request.user,
    )
    return actions.back(request, reverse("admin:console_webhook", args=[ref]))


@require_POST
def replay_span(request: HttpRequest) -> HttpResponse:
    """Send again what a partner was told in a span of time."""
    form = SpanForm(request.POST)
    if not form.is_valid():
        return _list(request, form, status=422)
    asked = form.cleaned_data
    try:
        count = webhooks.replay_span(
            partner=asked["partner"],
            since=asked["since"],
            until=asked["until"],
            state=asked["state"],
            reason=asked["reason"],
            actor=request.user,  # type: ignore[arg-type]
            at=timezone.now(),
        )
    except Refusal as refusal:
        form.add_error(refusal.field if refusal.field in form.fields else None, refusal.detail)
        return _list(request, form, status=422)
    actions.say(request, f"Messages that will be sent again: {count}.")
    address = reverse("admin:console_webhooks")
    return redirect(f"{address}?partner={asked['partner'].code}")
