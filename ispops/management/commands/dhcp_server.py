"""`manage.py dhcp_server`: an address server that is a subnet of a Kea, with its pool."""

import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from ipam import allocation, blocks, selection
from ipam.models import AddressServer, Block, Pool
from ispops.errors import Refusal


class Command(BaseCommand):
    help = (
        "Register a DHCP server and the addresses that are reserved in it. Then connect it in the "
        "console, under DHCP servers."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("name", help="its name: letters, digits, dashes")
        parser.add_argument("network", help="what its lines get: a block inside Kea's subnet")

    def handle(self, *args: Any, **options: Any) -> None:
        name, network = options["name"], options["network"]
        try:
            with transaction.atomic():
                server = allocation.create_server(
                    name=name, kind=AddressServer.Kind.DHCP, secret=secrets.token_urlsafe(32)
                )
                self._make_pool(server, network)
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        self.stdout.write(f"{name} reserves the addresses of {network}.")

    def _make_pool(self, server: AddressServer, network: str) -> None:
        """Make the pool below the smallest block that has room for it, or as a range of its own."""
        at = timezone.now()
        try:
            selection.parse_network(network)
        except selection.UnusableNetwork as unusable:
            raise CommandError(f"{unusable}.") from unusable
        around = Block.objects.filter(tier__lt=Block.Tier.POOL, network__covers=network)
        parent = around.order_by("-tier").first() or blocks.create_block(
            network=network, tier=Block.Tier.ALLOCATION, at=at
        )
        block = blocks.create_block(network=network, tier=Block.Tier.POOL, parent=parent, at=at)
        blocks.create_pool(
            name=server.name, server=server, block=block, purpose=Pool.Purpose.DYNAMIC, at=at
        )
