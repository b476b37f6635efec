"""The demo ISP's partners, staff and first subscriber, made by the verbs of a real one.

The secrets are written here on purpose: they open a demonstration on somebody's own machine, and
`load` refuses to make them anywhere else.
"""

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from allauth.idp.oidc.models import Client
from django.conf import settings

from ispops.parties import accounts, partners, roles, terms
from ispops.parties.models import Partner, User

DEFAULT_PARTNER_PORT = 8099
CREDENTIALS_FILE = "demo_partners.json"
ANSWER_ORDERS = (
    "service_orders:read", "service_orders:write", "settlement:read", "webhooks:read",
    "webhooks:write",
)  # fmt: skip
QUALIFY = ("qualification:read", "qualification:write")
SELL = (
    *ANSWER_ORDERS, *QUALIFY, "purchases:read", "purchases:write", "settlement:write",
    "usage:read", "usage:write",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DemoPartner:
    """A partner, and the secret of the API client that has the partner's code as its id."""

    code: str
    name: str
    kind: str
    api_secret: str
    scopes: tuple[str, ...] = ANSWER_ORDERS
    is_on_net: bool = False
    fcc_provider_id: str = ""
    # With it we ask the partner about addresses; with the next we order, and it calls us back.
    inquiry_token: str = ""
    order_token: str = ""
    callback_token: str = ""


@dataclass(frozen=True, slots=True)
class DemoLogin:
    """Somebody who can log in; staff have a role, the subscriber has none."""

    title: str
    email: str
    name: str
    password: str
    role: str = ""


NETWORK, BSP = Partner.Kind.NETWORK_PROVIDER, Partner.Kind.BSP
PARTNERS = (
    # The numbers are made up, as the names are.
    DemoPartner(
        "harbor-fiber", "Harbor Fiber", NETWORK, "", is_on_net=True, fcc_provider_id="990001"
    ),
    DemoPartner(
        "tidewater-cable",
        "Tidewater Cable",
        NETWORK,
        "tc-7Qv2mXw9Lr4K",
        fcc_provider_id="990002",
        # For a demonstration on one's own machine.
        inquiry_token="tide-2Yb8kNw5Gd1S",  # noqa: S106
        order_token="tide-6Vr3mQx9Kc7L",  # noqa: S106
        callback_token="tide-calls-4Hp8wZs2Tj6B",  # noqa: S106
    ),
    DemoPartner(
        "copperline", "Copperline DSL", NETWORK, "cl-5Hn8sBt3Zp6D", fcc_provider_id="990003"
    ),
    DemoPartner("shieldwall", "ShieldWall Security", BSP, "sw-9Fj4kRy7Gc2N", SELL),
    DemoPartner("cinebox", "Cinebox", BSP, "cb-3Wd6pLx8Vm5T", SELL),
    DemoPartner("cloudvault", "CloudVault Backup", BSP, "cv-8Ks5gQz4Jb7M", SELL),
)
OPERATIONS_EMAIL = "otto@harbor.example"
TECHNICIAN_EMAIL = "tess@harbor.example"
CATALOGUE_EMAIL = "cleo@harbor.example"
# Who has lived with a line for some weeks; see `ispops.demo.lives`. The second has no password.
LIVING = DemoLogin("Subscriber", "nora@example.com", "Nora Vega", "quiet-harbor-62")
NEIGHBOUR = DemoLogin("", "milo@example.com", "Milo Reyes", "")
LOGINS = (
    DemoLogin("New subscriber", "ada@example.com", "Ada Lovelace", "tidal-lantern-48"),
    DemoLogin("CSR", "cara@harbor.example", "Cara Hopper", "amber-compass-73", roles.CSR),
    DemoLogin("Operations", OPERATIONS_EMAIL, "Otto Kahn", "granite-signal-26", roles.OPERATIONS),
    DemoLogin("Technician", TECHNICIAN_EMAIL, "Tess Ohm", "maple-ladder-55", roles.TECHNICIAN),
    DemoLogin("Finance", "fern@harbor.example", "Fern Pacioli", "copper-ledger-91", roles.FINANCE),
    DemoLogin(
        "Catalogue",
        CATALOGUE_EMAIL,
        "Cleo Noether",
        "velvet-abacus-37",
        roles.CATALOGUE_MANAGER,
    ),
)


class NoDemonstration(RuntimeError):
    """Somebody tried to make logins with known passwords on a real system."""


def load(*, at: datetime) -> None:
    """Make what is missing and leave what is there; then tell the demo partner server about it.

    Raises:
        NoDemonstration: neither ISPOPS_DEMO nor DEBUG is set.
    """
    if not (settings.DEMO or settings.DEBUG):
        raise NoDemonstration("Demo logins are only made where ISPOPS_DEMO=1.")
    for planned in PARTNERS:
        _make_partner(planned, at)
    for login in LOGINS:
        make_login(login, at)
    write_credentials()


def partner_port() -> int:
    """The port of 127.0.0.1 on which the demo partner server plays all partners."""
    return int(os.environ.get("DEMO_PARTNER_PORT") or DEFAULT_PARTNER_PORT)


def write_credentials() -> Path:
    """Write what the demo partner server must know, for the owner of the data folder alone."""
    known = {partner.code: partner for partner in Partner.objects.all()}
    content = {
        planned.code: {
            "name": planned.name,
            "kind": str(planned.kind),
            "client_id": planned.code,
            "client_secret": planned.api_secret,
            "webhook_secret": known[planned.code].webhook_secret,
            "inquiry_token": planned.inquiry_token,
            "order_token": planned.order_token,
            "callback_token": planned.callback_token,
        }
        for planned in PARTNERS
        if planned.api_secret and planned.code in known
    }
    path = Path(settings.DATA_DIR) / CREDENTIALS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(content, indent=2))
    return unfinished.replace(path)


def _make_partner(planned: DemoPartner, at: datetime) -> None:
    url = ""
    if planned.api_secret:
        url = f"http://127.0.0.1:{partner_port()}/webhooks/{planned.code}"
    partner = Partner.objects.filter(code=planned.code).first()
    if partner is None:
        partner = partners.create_partner(
            code=planned.code,
            name=planned.name,
            kind=planned.kind,
            is_on_net=planned.is_on_net,
            webhook_url=url,
            contact_email=f"operations@{planned.code}.example",
            at=at,
        )
        partners.set_fcc_identity(
            partner_id=partner.pk,
            fcc_provider_id=planned.fcc_provider_id,
            brand_name=planned.name if planned.fcc_provider_id else "",
            at=at,
        )
    elif partner.webhook_url != url:
        partners.set_webhook_url(
            partner_id=partner.pk,
            webhook_url=url,
            webhook_secret=partner.webhook_secret,
            at=at,
        )
    if planned.api_secret and not Client.objects.filter(pk=planned.code).exists():
        partners.create_api_client(
            partner=partner,
            name=f"{planned.name} systems",
            scopes=planned.scopes,
            client_id=planned.code,
            secret=planned.api_secret,
            at=at,
        )


def make_login(planned: DemoLogin, at: datetime) -> User:
    """Make a login unless it is there, and the account of one that is no member of staff."""
    user = User.objects.filter(email=planned.email).first()
    if user is None:
        user = accounts.create_login(
            email=planned.email,
            password=planned.password or None,
            name=planned.name,
            groups=[planned.role] if planned.role else [],
            is_staff=bool(planned.role),
            email_is_verified=True,
            at=at,
        )
    if not planned.role:
        accounts.register_subscriber(
            user=user,
            name=planned.name,
            phone="+1 207 555 0143",
            terms_version=terms.in_force().version,
            at=at,
        )
    return user
