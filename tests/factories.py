"""What happens at the small ISP of `tests.small_isp`, made by the product's own verbs.

Every function takes the time as `at`. Workers do not run in these tests: `work()` does what they
would do.
"""

from __future__ import annotations

import itertools
import json
from datetime import datetime

from ipam import allocation, blocks
from ipam.models import AddressServer, Block, Pool
from ispops import events
from ispops.models import EventDelivery
from ispops.notices import catalogue, contacts, delivery
from ispops.notices.models import Notice
from ispops.parties import accounts, payments, terms
from ispops.parties.models import Subscriber, User
from provisioning import execution, orders, partner_orders
from provisioning.models import ProductOrder, Service, ServiceOrder
from qualification import qualify
from qualification.models import Premises, ServiceQualification
from tests.small_isp import SmallIsp

_numbers = itertools.count(1)
SECRET = "a-long-random-secret-of-an-address-server"


def staff(role: str, *, at: datetime) -> User:
    """A member of staff with one role."""
    return accounts.create_login(
        email=f"staff.{next(_numbers)}@isp.example",
        password="hopper-1906",
        name=f"{role} Person",
        groups=[role],
        is_staff=True,
        email_is_verified=True,
        at=at,
    )


def login(*, at: datetime, email: str = "", name: str = "Ada Lovelace") -> User:
    """Somebody who has a verified login and nothing else."""
    return accounts.create_login(
        email=email or f"person.{next(_numbers)}@example.com",
        password="lovelace-1843",
        name=name,
        email_is_verified=True,
        at=at,
    )


def subscriber(
    *, at: datetime, name: str = "Ada Lovelace", email: str = "", phone: str = "+1 802 555 0117"
) -> Subscriber:
    """An account in good standing, with one login, that pays by invoice."""
    made = accounts.register_subscriber(
        user=login(at=at, email=email, name=name),
        name=name,
        phone=phone,
        terms_version=terms.in_force().version,
        at=at,
    )
    payments.choose_payment(subscriber=made, kind="invoice", actor=None, at=at)
    return made


def qualified(premises: Premises, *, at: datetime) -> ServiceQualification:
    """The answer for a house."""
    return qualify.qualify_address(premises_id=premises.public_id, channel="portal", at=at)


def order(
    subscriber: Subscriber, premises: Premises, *codes: str, at: datetime, channel: str = "portal"
) -> ProductOrder:
    """An order that was placed and that no worker has touched."""
    return orders.place_order(
        subscriber=subscriber,
        qualification=qualified(premises, at=at),
        offering_codes=list(codes),
        channel=channel,
        placed_by=subscriber.users.first(),
        idempotency_key=f"key-{next(_numbers)}",
        at=at,
    )


def work(*, at: datetime, answer_partners: bool = True) -> None:
    """Do what workers would do until nothing is left; partners confirm what they are asked."""
    for _ in range(20):
        done = execution.run_due(at=at, limit=100)
        if answer_partners:
            done += confirm_partner_orders(at=at)
        done += deliver_events(at=at)
        if not done:
            return
    raise AssertionError("the work does not end")


def confirm_partner_orders(*, at: datetime) -> int:
    """Every partner confirms everything it was asked for."""
    waiting = list(ServiceOrder.objects.filter(state="acknowledged").select_related("partner"))
    for asked in waiting:
        partner_orders.complete(
            service_order_id=asked.pk, partner=asked.partner, reference="OK-1", at=at
        )
    return len(waiting)


def deliver_events(*, at: datetime) -> int:
    """Hand the waiting events to their handlers."""
    due = EventDelivery.objects.filter(delivered_at__isnull=True, next_attempt_at__lte=at)
    return sum(events.deliver(delivery_id=row.pk, at=at) for row in due.order_by("pk"))


def send_notices(*, at: datetime) -> int:
    """Send the letters and messages that wait; returns how many were tried."""
    tried = 0
    for channel in catalogue.CHANNELS:
        while delivery.deliver_next(channel=channel, at=at):
            tried += 1
    return tried


def code_of(subscriber: Subscriber) -> str:
    """The code in the last SMS that asks whether a number is theirs."""
    sent = Notice.objects.filter(kind="number_code", subscriber=subscriber).latest("created_at")
    return str(json.loads(sent.secrets)["code"])


def sms_to(subscriber: Subscriber, number: str, *, at: datetime) -> str:
    """Have SMS sent to a number that the subscriber has shown to be theirs."""
    user = subscriber.users.get()
    contacts.agree_to_sms(subscriber=subscriber, number=number, actor=user, at=at)
    code = code_of(subscriber)
    number = contacts.confirm_sms(subscriber=subscriber, code=code, actor=user, at=at)
    Notice.objects.filter(kind="number_code").delete()
    return number


def live_line(isp: SmallIsp, subscriber: Subscriber, *with_codes: str, at: datetime) -> Service:
    """A fast line at 1 Oak Street that was ordered, set up and switched on."""
    placed = order(subscriber, isp.oak_1, isp.fast.code, *with_codes, at=at)
    work(at=at)
    placed.refresh_from_db()
    assert placed.state == "completed", placed.state
    return Service.objects.get(subscriber=subscriber, offering=isp.fast)


def static_pool(server: AddressServer, *, at: datetime) -> Pool:
    """A pool of fourteen static addresses of a server."""
    top = blocks.create_block(network="203.0.113.0/24", tier=Block.Tier.ALLOCATION, at=at)
    block = blocks.create_block(network="203.0.113.0/28", tier=Block.Tier.POOL, parent=top, at=at)
    return blocks.create_pool(name="static", server=server, block=block, purpose="static", at=at)


def address_server(*, at: datetime, name: str = "north") -> AddressServer:
    """A RADIUS server with a pool of dynamic addresses, a walled garden and prefixes."""
    server = allocation.create_server(name=name, kind="radius", secret=SECRET)
    pools = (
        ("dynamic", Pool.Purpose.DYNAMIC, "100.64.0.0/24"),
        ("garden", Pool.Purpose.WALLED_GARDEN, "10.99.0.0/24"),
        ("prefixes", Pool.Purpose.PREFIX, "2001:db8::/40"),
    )
    for pool_name, purpose, network in pools:
        top = blocks.create_block(network=network, tier=Block.Tier.ALLOCATION, at=at)
        block = blocks.create_block(network=network, tier=Block.Tier.POOL, parent=top, at=at)
        blocks.create_pool(
            name=f"{name}-{pool_name}", server=server, block=block, purpose=purpose, at=at
        )
    return server
