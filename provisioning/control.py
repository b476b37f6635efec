"""How an access server is told of changes: its make, where it listens, and the shared secret.

And the one thing that is told without a change of the line: that a session must end.
"""

from datetime import datetime

from django.db import transaction

from ispops import db
from ispops.errors import InvalidInput
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import steering
from provisioning.models import AccessServer, AccessSession, Service

# RFC 2865 wants 16 octets.
SHORTEST_SECRET = 16


@transaction.atomic
def set_control(
    *,
    access_server_id: int,
    kind: str,
    coa_host: str | None,
    coa_port: int,
    coa_secret: str | None,
    coa_says_when: bool = True,
    actor: User,
    reason: str,
    at: datetime,
) -> AccessServer:
    """Say which attributes an access server knows, and where it takes changes and disconnects.

    Without a host it listens at its NAS-IP-Address. A secret of None leaves the one that it has; an
    empty one says that it takes no changes. Sessions that ran on because it took none are tried.
    One whose clock is wrong is told without the time (`coa_says_when`).

    Raises:
        InvalidInput: a value cannot be used, there is no reason, or another host is named without
            its secret, which whoever gets our packets could try to guess.
    """
    if not reason.strip():
        raise InvalidInput("Say why it is changed.", field="reason")
    server = db.lock(AccessServer, access_server_id)
    was_at = server.coa_host or server.nas_ip
    server.kind, server.coa_host, server.coa_port = kind, coa_host or None, coa_port
    db.check_fields(server, "kind", "coa_host", "coa_port")
    if not 1 <= server.coa_port <= 65535:
        raise InvalidInput("A port is a number from 1 to 65535.", field="coa_port")
    if coa_secret is None and server.coa_secret and (server.coa_host or server.nas_ip) != was_at:
        raise InvalidInput("It listens elsewhere now. Enter the secret again.", field="coa_secret")
    if coa_secret is not None:
        server.coa_secret = _checked(coa_secret)
    server.coa_says_when = coa_says_when
    server.save(update_fields=["kind", "coa_host", "coa_port", "coa_secret", "coa_says_when"])
    audit.record(
        actor=actor,
        action="access_server.control_set",
        subject=f"access_server_{server.name}",
        reason=reason.strip(),
        at=at,
        kind=server.kind,
        coa_host=server.coa_host,
        coa_port=server.coa_port,
        takes_changes=bool(server.coa_secret),
        coa_says_when=server.coa_says_when,
        secret_changed=coa_secret is not None,
    )
    if server.coa_secret:
        steering.try_again_on(nas_ip=server.nas_ip, at=at)
    return server


def _checked(secret: str) -> str:
    if secret and not (
        len(secret) >= SHORTEST_SECRET and secret.isascii() and secret.isprintable()
    ):
        raise InvalidInput(
            f"Choose a random secret of {SHORTEST_SECRET} or more ASCII characters.",
            field="coa_secret",
        )
    return secret


def end_session(*, service: Service, address: str, at: datetime) -> int:
    """Have the open sessions of a line with an address ended, so that it asks for another one.

    Returns how many; the access servers are told by the workers. Safe to repeat.
    """
    sessions = AccessSession.objects.filter(
        service=service, framed_ip=address, ended_at__isnull=True, must_end=False
    )
    count = sessions.update(must_end=True, next_attempt_at=at, attempts=0, trouble="")
    if count:
        steering.steer_soon()
    return count
