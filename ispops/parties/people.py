"""Finding accounts by what people say of themselves; all by an index, however many there are."""

import re

from django.db.models import QuerySet
from django.db.models.functions import Lower

from ispops.errors import InvalidInput
from ispops.parties.models import PHONE_DIGITS, Subscriber

# A number with fewer digits is no number that somebody can be found by.
LEAST_DIGITS = 7
MOST = 20


def with_email(email: str) -> QuerySet[Subscriber]:
    """Return the accounts that are written to at an address; case does not matter."""
    wanted = email.strip().lower()
    rows = Subscriber.objects.alias(lower_email=Lower("email"))
    return rows.filter(lower_email=wanted)[:MOST] if wanted else rows.none()


def with_phone(phone: str) -> QuerySet[Subscriber]:
    """Return the accounts with a telephone number, however it is written."""
    digits = re.sub(r"\D", "", phone)[-10:]
    rows = Subscriber.objects.alias(digits=PHONE_DIGITS)
    return rows.filter(digits=digits)[:MOST] if len(digits) >= LEAST_DIGITS else rows.none()


def require_phone(phone: str) -> None:
    """See that a telephone number, where one is given, has as many digits as one needs.

    Words beside it stay: people write extensions, and whom to ask for.

    Raises:
        InvalidInput: on `phone`.
    """
    if phone.strip() and len(re.sub(r"\D", "", phone)) < LEAST_DIGITS:
        raise InvalidInput(
            "Enter a telephone number with its area code, such as 802 555 0117, or none.",
            field="phone",
        )


def namesakes(name: str) -> QuerySet[Subscriber]:
    """Return the accounts on a name; case and spaces do not matter."""
    wanted = " ".join(name.split()).lower()
    rows = Subscriber.objects.alias(lower_name=Lower("name"))
    return rows.filter(lower_name=wanted)[:MOST] if wanted else rows.none()
