"""Letters that the operator does not word: written down, and sent by a worker as notices are.

So a mail server that is away, or that hangs, keeps no page waiting and loses no letter.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from django.db import transaction

from ispops import jobs
from ispops.notices import wording
from ispops.notices.catalogue import EMAIL
from ispops.notices.models import Notice

# Letters go out in the order in which they are due.
AHEAD = timedelta(days=7)


@transaction.atomic
def write(
    *,
    kind: str,
    address: str,
    subject: str,
    text: str,
    links: Sequence[str] = (),
    is_waited_for: bool = False,
    at: datetime,
) -> Notice:
    """Write a letter down to be sent. All of its text is kept as a secret, and only until then.

    `links` are what in the text leads somewhere. One that somebody waits for in front of a page
    goes out before all others.
    """
    from ispops.notices.tasks import send_notices

    kept = {"letter": text} | {f"link_{number}": link for number, link in enumerate(links)}
    notice = Notice.objects.create(
        kind=kind,
        channel=EMAIL,
        cause=f"letter:{uuid4().hex}",
        recipient=address[:60],
        address=address,
        subject=subject[:200],
        body=wording.secret("letter"),
        links=[wording.secret(name) for name in kept if name != "letter"],
        secrets=json.dumps(kept),
        created_at=at,
        next_attempt_at=at - AHEAD if is_waited_for else at,
    )
    jobs.send_on_commit(send_notices, channel=EMAIL)
    return notice
