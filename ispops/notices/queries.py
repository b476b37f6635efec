"""What is read about notices: the words that hold, and what was written to whom."""

from django.db.models import QuerySet

from ispops.notices.models import ContactChoice, Notice, NoticeTemplate
from ispops.parties.models import Subscriber


def latest(kind: str, channel: str) -> NoticeTemplate | None:
    """Return the newest version of the operator's words; None where nobody has edited."""
    return versions(kind, channel).first()


def versions(kind: str, channel: str) -> "QuerySet[NoticeTemplate]":
    """The versions of one text with who wrote them, the newest first."""
    rows = NoticeTemplate.objects.filter(kind=kind, channel=channel)
    return rows.select_related("created_by").order_by("-version")


def newest_of_all() -> dict[tuple[str, str], NoticeTemplate]:
    """Return the newest version of every text that was ever edited, by kind and channel."""
    rows = NoticeTemplate.objects.order_by("kind", "channel", "-version")
    newest = rows.distinct("kind", "channel").select_related("created_by")
    return {(row.kind, row.channel): row for row in newest}


def written_to(subscriber: Subscriber) -> "QuerySet[Notice]":
    """What was written to a subscriber and is on its way or there, the newest first."""
    rows = Notice.objects.filter(subscriber=subscriber).exclude(state=Notice.State.PARKED)
    return rows.order_by("-created_at", "-pk")


def sms_number_of(subscriber: Subscriber) -> str:
    """Return the number to which SMS may go; empty when the subscriber did not agree, or has not
    shown yet that it is theirs."""
    rows = ContactChoice.objects.filter(subscriber=subscriber, confirmed_at__isnull=False)
    return rows.values_list("sms_number", flat=True).first() or ""


def contact_choice_of(subscriber: Subscriber) -> ContactChoice | None:
    """Return what was chosen, with a number that may not be confirmed yet."""
    return ContactChoice.objects.filter(subscriber=subscriber).exclude(sms_number="").first()
