"""A small ISP for the tests of addresses: a server, pools, a plan and a subscriber's service."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ipam import allocation, blocks
from ipam.models import AddressHolder, AddressServer, Block, Pool
from ispops.catalog.models import AddressEntitlement, ProductOffering
from ispops.parties.models import Subscriber, User

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECRET = "a-secret-of-the-tests-only"
Purpose, Policy, Tier = Pool.Purpose, AddressEntitlement.Policy, Block.Tier


def after(**span: float) -> datetime:
    """An instant so long after noon."""
    return NOON + timedelta(**span)


def mac(number: int) -> str:
    """The MAC address of the n-th device, as `normalise_device` writes it."""
    digits = f"02{number:010x}"
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def a_user(email: str = "ada@example.com", **fields: Any) -> User:
    return User.objects.create_user(email, **fields)


def a_subscriber(*users: User, **fields: Any) -> Subscriber:
    values = {
        "name": "Ada Lovelace",
        "email": "ada@example.com",
        "currency": "USD",
        "terms_version": "2026-01",
        "terms_accepted_at": NOON,
        "created_at": NOON,
    }
    subscriber = Subscriber.objects.create(**values | fields)
    subscriber.users.set(users)
    return subscriber


def an_addon() -> ProductOffering:
    return ProductOffering.objects.get_or_create(
        code="extra-address",
        defaults={
            "name": "Extra address",
            "kind": ProductOffering.Kind.ADDON,
            "addon_type": ProductOffering.Addon.EXTRA_ADDRESS,
            "sold_from": NOON,
        },
    )[0]


def a_plan(code: str = "plan", **entitlement: Any) -> ProductOffering:
    """A plan with this address entitlement; it asks the subscriber unless said otherwise."""
    plan = ProductOffering.objects.create(
        code=code, name=code.title(), kind=ProductOffering.Kind.BUNDLE, sold_from=NOON
    )
    AddressEntitlement.objects.create(offering=plan, **{"extra_address": an_addon(), **entitlement})
    return plan


def a_server(name: str = "aaa-test") -> AddressServer:
    return allocation.create_server(name=name, kind="radius", secret=SECRET)


def a_block(network: str, vrf: int = 0) -> Block:
    """A block at the tier of pools, under an allocation of the same extent."""
    top = blocks.create_block(network=network, tier=Tier.ALLOCATION, vrf=vrf, at=NOON)
    return blocks.create_block(network=network, tier=Tier.POOL, parent=top, at=NOON)


def a_pool(
    network: str = "192.0.2.0/24",
    *,
    server: AddressServer,
    purpose: str = Purpose.DYNAMIC,
    name: str = "",
    vrf: int = 0,
    **fields: Any,
) -> Pool:
    return blocks.create_pool(
        name=name or f"{purpose}-{network.partition('/')[0].replace('.', '-').replace(':', '-')}",
        server=server,
        block=a_block(network, vrf),
        purpose=purpose,
        at=NOON,
        **fields,
    )


@dataclass
class Isp:
    """A server with a pool of each kind, and one service of one subscriber."""

    server: AddressServer
    user: User
    subscriber: Subscriber
    plan: ProductOffering
    holder: AddressHolder
    dynamic: Pool
    prefixes: Pool
    garden: Pool

    @property
    def service(self) -> str:
        return self.holder.service_ref

    def ask(self, device: str, *, at: datetime = NOON, **changes: Any) -> allocation.Answer:
        """Ask for addresses for a device of the service."""
        request = {"service_ref": self.service, "server": self.server, **changes}
        return allocation.request_addresses(device=device, at=at, **request)

    def release(self, device: str, *, at: datetime = NOON, **changes: Any) -> int:
        """End the session of a device of the service."""
        release = {"service_ref": self.service, "because": "session_ended", **changes}
        return allocation.release_address(device=device, at=at, **release)


def an_isp(
    dynamic: str = "192.0.2.0/24",
    prefixes: str = "2001:db8::/48",
    garden: str = "198.51.100.0/28",
    **entitlement: Any,
) -> Isp:
    server, user = a_server(), a_user()
    subscriber, plan = a_subscriber(user), a_plan(**entitlement)
    return Isp(
        server=server,
        user=user,
        subscriber=subscriber,
        plan=plan,
        holder=allocation.open_holder(
            service_ref="svc_1", subscriber=subscriber, plan=plan, at=NOON
        ),
        dynamic=a_pool(dynamic, server=server),
        prefixes=a_pool(prefixes, server=server, purpose=Purpose.PREFIX),
        garden=a_pool(garden, server=server, purpose=Purpose.WALLED_GARDEN),
    )
