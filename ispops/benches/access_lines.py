"""What the benches of the access network stand on: live lines, an address server, web servers."""

import contextlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests
from django.db import connection

from ipam import allocation, blocks
from ipam.models import AddressServer, Block, Pool
from ispops import bulk, embedded, processes, supervisor
from ispops.benches import null_answer
from ispops.catalog import publishing
from ispops.db import encrypt, uuid7
from ispops.parties import partners
from ispops.parties.models import Partner
from qualification import coverage
from qualification.models import Premises

OPENED = datetime(2025, 1, 1, tzinfo=UTC)


def make(count: int) -> list[str]:
    """Make live lines that may hold addresses, past the verbs: they are not what is measured."""
    provider = partners.create_partner(
        code="fibre", name="Fibre", kind=Partner.Kind.NETWORK_PROVIDER, is_on_net=True, at=OPENED
    )
    plan = publishing.create_offering(
        code="fibre-500", name="Fibre 500", kind="access", provider=provider, technology=50,
        download_kbps=500_000, upload_kbps=500_000, at=OPENED,
    )  # fmt: skip
    publishing.set_price(offering=plan, charge="recurring", amount=Decimal(60), at=OPENED)
    coverage.import_premises(
        rows=[{"street": "1 Main St", "city": "Barre", "region": "VT", "postal_code": "05641"}],
        at=OPENED,
    )
    place = Premises.objects.get()
    made = [(uuid7(), uuid7(), f"line-{number}") for number in range(count)]
    bulk.copy_rows(
        "parties_subscriber",
        ("id", "name", "kind", "email", "phone", "standing", "currency", "billing_anchor_day",
         "terms_version", "terms_accepted_at", "created_at", "is_prepaid"),
        ((who, "Somebody", "consumer", f"{login}@example.com", "", "good", "USD", 1, "1", OPENED,
          OPENED, False) for who, _, login in made),
    )  # fmt: skip
    bulk.copy_rows(
        "provisioning_service",
        ("id", "subscriber_id", "offering_id", "premises_id", "state", "created_at"),
        ((line, who, plan.pk, place.pk, "active", OPENED) for who, line, _ in made),
    )
    secret = encrypt(null_answer.PASSWORD)
    bulk.copy_rows(
        "provisioning_aaacredential",
        ("service_id", "username", "secret", "enabled", "treatment", "download_kbps",
         "upload_kbps", "revision"),
        ((line, login, secret, True, "", 500_000, 500_000, 1) for _, line, login in made),
    )  # fmt: skip
    bulk.copy_rows(
        "ipam_addressholder",
        ("service_ref", "subscriber_id", "plan_id", "opened_at", "refused_by_limit"),
        ((f"svc_{line.hex}", who, plan.pk, OPENED, 0) for who, line, _ in made),
    )
    return [login for _, _, login in made]


def address_server(name: str, secret: str) -> None:
    """Register an address server with a pool of each family."""
    server = allocation.create_server(name=name, kind=AddressServer.Kind.RADIUS, secret=secret)
    for purpose, network in (
        (Pool.Purpose.DYNAMIC, "100.64.0.0/16"), (Pool.Purpose.PREFIX, "2001:db8::/40")
    ):  # fmt: skip
        top = blocks.create_block(network=network, tier=Block.Tier.ALLOCATION, at=OPENED)
        block = blocks.create_block(network=network, tier=Block.Tier.POOL, parent=top, at=OPENED)
        blocks.create_pool(name=purpose, server=server, block=block, purpose=purpose, at=OPENED)


def web_server(module: str, folder: Path, running: contextlib.ExitStack) -> str:
    """Start a web server of this module on the bench's database; gives its address."""
    listener = running.enter_context(supervisor.listen(0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    web = supervisor.programs(listener=listener, data_dir=folder, demo=False)[0]
    command = [part.replace("ispops.wsgi", module) for part in web.command]
    own = urlunsplit(
        urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    )
    child = supervisor.Child(
        replace(web, command=command), os.environ | {"DATABASE_URL": own}, folder / "logs"
    )
    running.callback(child.stop)
    child.start()
    _wait_for(url)
    return url


def _wait_for(url: str) -> None:
    here = requests.Session()
    here.trust_env = False  # a proxy does not know this machine's loopback address

    def answers() -> bool:
        with contextlib.suppress(requests.RequestException):
            return here.post(f"{url}/aaa/authorize", data=b"", timeout=5).status_code > 0
        return False

    if not processes.wait_until(answers, seconds=60):
        raise embedded.CannotStart(f"Nothing answers at {url}.")
