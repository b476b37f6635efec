"""`manage.py demo_logins`: how to get into the demonstration, for whoever has just started it."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.urls import reverse

from ispops.demo import network, people, places
from ispops.parties.models import User

PARTNER = "cinebox"


class Command(BaseCommand):
    help = "Print one login each for a subscriber, the staff and a partner of the demo ISP."

    def handle(self, *args: Any, **options: Any) -> None:
        base = settings.BASE_URL.rstrip("/")
        lines = []
        # A demonstration that was begun before it had a past has none.
        has_past = User.objects.filter(email=people.LIVING.email).exists()
        for login in [people.LIVING][: int(has_past)] + list(people.LOGINS):
            page = reverse("admin:index") if login.role else "/"
            lines.append(_row(login.title, login.email, login.password, base + page))
        [partner] = [partner for partner in people.PARTNERS if partner.code == PARTNER]
        lines.append(_row("Partner (API)", partner.code, partner.api_secret, f"{base}/api/v1/docs"))
        ask = f"curl -u {partner.code}:{partner.api_secret} -d grant_type=client_credentials"
        lines += [
            _row("RADIUS server", network.SERVER, network.SERVER_SECRET, f"{base}/aaa/authorize"),
            "",
            "  An address with two networks:",
            f"  {places.TWO_NETWORKS}",
            "",
            "  A token for the partner:",
            f"  {ask} {base}{reverse('idp:oidc:token')}",
            "",
            f"  Mail that the demo sends: {base}/mail/",
            f"  The partners' own page:   http://127.0.0.1:{people.partner_port()}/",
        ]
        self.stdout.write("\n".join(lines))


def _row(title: str, name: str, secret: str, page: str) -> str:
    return f"  {title:<14} {name:<21} {secret:<22} {page}"
