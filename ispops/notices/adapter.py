"""What allauth asks of us, with its letters sent by a worker."""

import re
from typing import Any

from allauth.core import context as current
from django.conf import settings
from django.contrib.sites.shortcuts import get_current_site
from django.utils import timezone

from ispops.notices import plain_letters
from ispops.parties import adapter


class AccountAdapter(adapter.AccountAdapter):
    """Logins of subscribers and staff, whose pages never wait for a mail server."""

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Word a letter as allauth does, and have it sent."""
        told = {
            "request": current.request,
            "email": email,
            "current_site": get_current_site(current.request),
        }
        letter = self.render_mail(template_prefix, email, told | context)
        text = str(letter.body)
        ours = re.escape(settings.BASE_URL.rstrip("/"))
        plain_letters.write(
            kind="login",
            address=email,
            subject=str(letter.subject),
            text=text,
            links=re.findall(rf"{ours}/\S*", text),
            is_waited_for=True,
            at=timezone.now(),
        )
