"""Verbs for partners and their programs: the only writers of `Partner` and of API clients."""

import base64
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from allauth.idp.oidc.models import Client
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction

from ispops import db
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit, roles
from ispops.parties.destinations import check_url, is_same_host
from ispops.parties.models import Partner, User
from ispops.parties.scopes import API_SCOPES

# RFC 2606 keeps this domain empty, so that no mail to a program's login ever reaches anybody.
PROGRAM_DOMAIN = "partners.invalid"
# A partner has this long to take a new webhook secret into use.
OLD_SECRET_LASTS = timedelta(days=1)


class PartnerCodeTaken(Refusal):
    code = "partner_code_taken"
    title = "Another partner has this code"


class ApiClientTaken(Refusal):
    code = "api_client_taken"
    title = "Another API client has this id"


@transaction.atomic
def create_partner(
    *,
    code: str,
    name: str,
    kind: str,
    is_on_net: bool = False,
    webhook_url: str = "",
    contact_email: str = "",
    at: datetime,
    webhook_secret: str = "",
    actor: User | None = None,
) -> Partner:
    """Make a partner, with the login that owns its API clients and a secret for its webhooks.

    Raises:
        InvalidInput: a value cannot be used; names the field.
        DestinationRefused: see `check_webhook_url`.
        PartnerCodeTaken: there is a partner with this code.
    """
    if is_on_net and kind != Partner.Kind.NETWORK_PROVIDER:
        raise InvalidInput("Only a network provider can be on-net.", field="is_on_net")
    check_webhook_url(webhook_url)
    partner = Partner(
        code=code,
        name=name.strip(),
        kind=kind,
        is_on_net=is_on_net,
        webhook_url=webhook_url,
        webhook_secret=webhook_secret or new_webhook_secret(),
        contact_email=contact_email,
    )
    db.check_fields(partner, "code", "name", "kind", "webhook_url", "contact_email")
    try:
        with transaction.atomic():
            login = User.objects.create_user(
                f"{code}@{PROGRAM_DOMAIN}", first_name=partner.name[:150]
            )
            partner.service_user = login
            partner.save(force_insert=True)
    except IntegrityError as error:
        raise PartnerCodeTaken(f"There is a partner {code} already.", field="code") from error
    login.groups.add(Group.objects.get_or_create(name=roles.PARTNER)[0])
    _note(partner, "partner.created", actor, at, kind=kind, webhook_url=webhook_url)
    return partner


@transaction.atomic
def set_webhook_url(
    *,
    partner_id: int,
    webhook_url: str,
    at: datetime,
    actor: User | None = None,
    webhook_secret: str = "",
) -> Partner:
    """Send a partner's messages, the waiting ones too, to another address from now on.

    On another host they are signed by `webhook_secret`, or by a new one: whoever listens there
    must not get messages that the host before would take for ours.

    Raises:
        DestinationRefused: see `check_webhook_url`.
    """
    check_webhook_url(webhook_url)
    partner = db.lock(Partner, partner_id)
    before, partner.webhook_url = partner.webhook_url, webhook_url
    db.check_fields(partner, "webhook_url")
    if before != webhook_url:
        if before and not is_same_host(before, webhook_url):
            partner.webhook_secret = webhook_secret or new_webhook_secret()
            partner.old_webhook_secret, partner.old_webhook_secret_until = "", None
        partner.save()
        _note(partner, "partner.webhook_moved", actor, at, before=before, after=webhook_url)
    return partner


@transaction.atomic
def rotate_webhook_secret(
    *, partner_id: int, actor: User, at: datetime, reason: str = ""
) -> tuple[Partner, str]:
    """Sign a partner's messages by a new secret, and for `OLD_SECRET_LASTS` by the old one too.

    Returns the partner and the new secret, for the partner's eyes alone. While two secrets are
    good, another rotation takes the older one away at once.
    """
    partner = db.lock(Partner, partner_id)
    partner.old_webhook_secret = partner.webhook_secret
    partner.old_webhook_secret_until = at + OLD_SECRET_LASTS
    partner.webhook_secret = new_webhook_secret()
    partner.save(update_fields=["webhook_secret", "old_webhook_secret", "old_webhook_secret_until"])
    _note(
        partner, "partner.webhook_secret_rotated", actor, at, reason,
        old_one_until=partner.old_webhook_secret_until,
    )  # fmt: skip
    return partner, partner.webhook_secret


@transaction.atomic
def set_fcc_identity(
    *,
    partner_id: int,
    fcc_provider_id: str,
    brand_name: str,
    at: datetime,
    actor: User | None = None,
) -> Partner:
    """Say under which number and name a network's coverage is filed with the FCC.

    Raises:
        InvalidInput: the number has not six digits, or the partner has no network.
    """
    partner = db.lock(Partner, partner_id)
    before = partner.fcc_provider_id, partner.brand_name
    if fcc_provider_id and partner.kind != Partner.Kind.NETWORK_PROVIDER:
        raise InvalidInput("Only a network provider has one.", field="fcc_provider_id")
    partner.fcc_provider_id, partner.brand_name = fcc_provider_id, brand_name.strip()
    db.check_fields(partner, "fcc_provider_id", "brand_name")
    if before != (partner.fcc_provider_id, partner.brand_name):
        partner.save(update_fields=["fcc_provider_id", "brand_name"])
        _note(
            partner, "partner.fcc_identity_set", actor, at,
            fcc_provider_id=fcc_provider_id, brand_name=partner.brand_name,
        )  # fmt: skip
    return partner


@transaction.atomic
def set_partner_active(
    *, partner_id: int, active: bool, actor: User, at: datetime, reason: str = ""
) -> Partner:
    """Stop or resume dealing with a partner: its tokens no longer open anything at once."""
    partner = db.lock(Partner, partner_id)
    if partner.active != active:
        partner.active = active
        partner.save(update_fields=["active"])
        action = "partner.resumed" if active else "partner.stopped"
        _note(partner, action, actor, at, reason=reason)
    return partner


@transaction.atomic
def create_api_client(
    *,
    partner: Partner,
    name: str,
    scopes: Iterable[str],
    at: datetime,
    client_id: str | None = None,
    secret: str | None = None,
    actor: User | None = None,
) -> tuple[Client, str]:
    """Make credentials for one program of a partner (OAuth 2.0 client credentials, RFC 6749 4.4).

    Returns the client and its secret, which is stored hashed and cannot be read again.

    Raises:
        InvalidInput: a scope is unknown, or there is none.
        ApiClientTaken: there is a client with this id.
    """
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in API_SCOPES]
    if unknown or not wanted:
        raise InvalidInput(
            f"Choose scopes of: {', '.join(API_SCOPES)}; not {', '.join(unknown) or 'none'}.",
            field="scopes",
        )
    secret = secret or secrets.token_urlsafe(32)
    client = Client(
        name=name,
        owner=partner.service_user,
        type=Client.Type.CONFIDENTIAL,
        grant_types=Client.GrantType.CLIENT_CREDENTIALS,
        response_types="",
        skip_consent=True,
        created_at=at,
    )
    if client_id:
        client.id = client_id
    client.set_scopes(wanted)
    client.set_default_scopes(wanted)
    client.set_secret(secret)
    try:
        with transaction.atomic():
            client.save(force_insert=True)
    except IntegrityError as error:
        raise ApiClientTaken(f"There is an API client {client.id} already.") from error
    _note(partner, "api_client.created", actor, at, client_id=client.id, scopes=wanted)
    return client, secret


def new_webhook_secret() -> str:
    """Return a random signing secret in the form of the Standard Webhooks scheme."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def check_webhook_url(url: str) -> None:
    """Refuse an address to which we must not send; an empty one means no webhooks.

    Raises:
        DestinationRefused: see `destinations.check_url`.
    """
    if url:
        check_url(url, field="webhook_url")


def _note(
    partner: Partner,
    action: str,
    actor: User | None,
    at: datetime,
    reason: str = "",
    **detail: Any,
) -> None:
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action=action,
        subject=f"partner_{partner.code}",
        reason=reason,
        at=at,
        **detail,
    )
