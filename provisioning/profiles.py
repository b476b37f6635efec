"""What a line gets on the network; nobody else writes it beside its login (figure 7).

The profile is written in the transaction of the change that causes it. So a line is refused, or
walled in, before its sessions are told to go, and does not come straight back. Every session that
was let in under an older profile is due from that moment on; `provisioning.steering` does the rest.
Locks are taken in the order: service, reservation, credential, session.
"""

from datetime import datetime

from django.db import transaction

from ispops import db, jobs
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import equipment, reservations
from provisioning.in_force import Profile, Speed, profile
from provisioning.models import AaaCredential, AccessSession, ProfileRevision, Service

MOST_SESSIONS = 64


@transaction.atomic
def refresh(*, service: Service, at: datetime) -> AaaCredential | None:
    """Bring a line's profile in line with its service, its plan, suspensions and slowdown.

    The caller has locked the service. What does not change is not written; what does raises the
    revision and makes the open sessions due. What its DHCP server and its device should have
    follows too. None where the service has no login: it is carried by a line, or not set up yet.
    """
    reservations.refresh(service=service, at=at)
    equipment.refresh(service=service, at=at)
    login = (
        AaaCredential.objects.select_for_update(of=("self",), no_key=True)
        .filter(service=service.pk)
        .first()
    )
    if login is None:
        return None
    wanted = _profile_of(login)
    if wanted != served(login):
        _write(login, wanted, at)
    return login


@transaction.atomic
def set_profile(
    *,
    service: Service,
    speed: Speed | None,
    sessions_at_once: int | None,
    actor: User,
    reason: str,
    at: datetime,
) -> AaaCredential:
    """Give a line another speed than its plan's, and a limit of sessions; None takes either back.

    Raises:
        InvalidInput: there is no reason, a value is out of range, or the service has no login.
    """
    if not reason.strip():
        raise InvalidInput("Say why the line gets another profile.", field="reason")
    if speed is not None and min(speed) < 1:
        raise InvalidInput("Give both speeds, of at least 1 kbit/s.", field="download_kbps")
    if sessions_at_once is not None and not 1 <= sessions_at_once <= MOST_SESSIONS:
        raise InvalidInput(
            f"A line may have 1 to {MOST_SESSIONS} sessions at once.", field="sessions_at_once"
        )
    held = db.lock(Service, service.pk)
    changed = AaaCredential.objects.filter(service=held).update(
        instead_download_kbps=speed.download_kbps if speed else None,
        instead_upload_kbps=speed.upload_kbps if speed else None,
        sessions_at_once=sessions_at_once,
    )
    login = refresh(service=held, at=at)
    if not changed or login is None:
        raise InvalidInput("This service has no network login.", field="service")
    audit.record(
        actor=actor,
        action="line.profile_set",
        subject=held.public_id,
        subscriber=held.subscriber,
        reason=reason.strip(),
        at=at,
        download_kbps=speed.download_kbps if speed else None,
        upload_kbps=speed.upload_kbps if speed else None,
        sessions_at_once=sessions_at_once,
    )
    return login


def _profile_of(login: AaaCredential) -> Profile:
    line = Service.objects.select_related("offering").get(pk=login.service_id)
    open_ones = line.suspensions.filter(ended_at__isnull=True)
    boosts = line.carried.filter(
        offering__addon_type=ProductOffering.Addon.SPEED_BOOST, state=Service.State.ACTIVE
    ).values_list("offering__download_kbps", "offering__upload_kbps")
    slow = line.slowdowns.filter(ended_at__isnull=True).first()
    own = login.instead_download_kbps, login.instead_upload_kbps
    return profile(
        state=line.state,
        treatments=list(open_ones.values_list("treatment", flat=True)),
        plan=Speed(line.offering.download_kbps or 0, line.offering.upload_kbps or 0),
        boosts=[Speed(down or 0, up or 0) for down, up in boosts],
        slowed_to=Speed(slow.download_kbps, slow.upload_kbps) if slow else None,
        instead=Speed(own[0], own[1]) if own[0] and own[1] else None,
    )


def served(login: AaaCredential) -> Profile | None:
    """Return what the line was given last; None when it was never given anything."""
    return profile_in(login) if login.download_kbps else None


def profile_in(row: AaaCredential | ProfileRevision) -> Profile:
    """Read a profile that was written whole."""
    return Profile(
        enabled=row.enabled,
        treatment=row.treatment,
        speed=Speed(row.download_kbps or 0, row.upload_kbps or 0),
    )


def _write(login: AaaCredential, wanted: Profile, at: datetime) -> None:
    login.enabled, login.treatment = wanted.enabled, wanted.treatment
    login.download_kbps, login.upload_kbps = wanted.speed
    login.revision += 1
    login.save(update_fields=["enabled", "treatment", "download_kbps", "upload_kbps", "revision"])
    ProfileRevision.objects.create(
        credential=login,
        revision=login.revision,
        enabled=login.enabled,
        treatment=login.treatment,
        download_kbps=wanted.speed.download_kbps,
        upload_kbps=wanted.speed.upload_kbps,
        made_at=at,
    )
    open_ones = AccessSession.objects.filter(service=login.service_id, ended_at__isnull=True)
    held = [row.pk for row in open_ones.select_for_update(of=("self",)).order_by("pk")]
    AccessSession.objects.filter(pk__in=held).update(next_attempt_at=at, attempts=0, trouble="")
    if held:
        from provisioning.tasks import steer_sessions

        jobs.send_on_commit(steer_sessions)
