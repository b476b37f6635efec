"""Addresses of lines over REST: given and taken back by address servers, read by who they are of.

The shape is TM Forum's (TMF685): a resource of a pool is assigned to a service and released. An
address server logs in with its name and secret, and is answered by the verb that answers RADIUS. A
network's partner reads the addresses of the lines on its network, a login those of its own lines.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django.db.models import Exists, QuerySet
from django.http import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ipam import allocation, history, serving
from ipam.models import Allocation, AllocationHistory
from ipam.selection import DEVICE_MAX_LENGTH
from ipam.server_login import OfServers
from ispops import csv_files
from ispops.errors import InvalidInput, NotFound, Refusal
from ispops.parties.rest import (
    CsvAnswer,
    NewestFirstCursor,
    active_caller,
    calling_partner,
    idempotent,
    wants_csv,
)
from provisioning import held
from provisioning.models import Service


class KeptByItsServer(Refusal):
    """A DHCP server is told to keep the address of this line, so it stays until the line ends."""

    code = "kept_by_its_server"
    title = "The address is kept for the line"


# --- What goes over the wire --------------------------------------------------------------------


class AddressAssignmentIn(serializers.Serializer[Any]):
    service = serializers.CharField(max_length=40, help_text="The line: `svc_…`.")
    device = serializers.CharField(
        max_length=DEVICE_MAX_LENGTH,
        help_text="A hardware address, a DUID or another lasting name.",
    )


class AddressAssignmentOut(serializers.Serializer[Any]):
    """What the device gets: always one of three outcomes (TMF685 Reservation, of one device)."""

    service = serializers.CharField()
    device = serializers.CharField()
    outcome = serializers.ChoiceField(choices=[(each, each) for each in allocation.Outcome])
    ipv4 = serializers.CharField(allow_null=True)
    ipv6_prefix = serializers.CharField(allow_null=True)
    lease_seconds = serializers.IntegerField(help_text="Ask again before half of it is over.")
    reason = serializers.CharField(help_text="Why it is not granted; empty when it is.")
    request = serializers.CharField(
        source="request.public_id", allow_null=True, default=None,
        help_text="The request for an address beyond the plan, where one was kept.",
    )  # fmt: skip


class AddressReleaseOut(serializers.Serializer[Any]):
    """How many addresses a device gave back; zero when it held none, as when it is told twice."""

    service = serializers.CharField()
    device = serializers.CharField()
    released = serializers.IntegerField()


class AddressOut(serializers.Serializer[Any]):
    """An address or a prefix that a device of a line holds now."""

    address = serializers.CharField()
    service = serializers.CharField(source="holder.service_ref")
    device = serializers.CharField()
    resource_pool = serializers.CharField(source="pool.name")
    held_since = serializers.DateTimeField(source="allocated_at")
    lease_ends_at = serializers.DateTimeField(source="expires_at")


class PastAddressOut(serializers.Serializer[Any]):
    """From when to when a device of a line had an address; without an end it has it still."""

    address = serializers.CharField()
    service = serializers.CharField(source="service_ref")
    device = serializers.CharField()
    held_from = serializers.DateTimeField()
    held_to = serializers.DateTimeField(allow_null=True)
    ended_because = serializers.CharField(allow_null=True)


class PastAddressesOut(serializers.Serializer[Any]):
    items = PastAddressOut(many=True)
    next = serializers.CharField(allow_null=True, help_text="Where the next page is.")


class HistoryIn(serializers.Serializer[Any]):
    """What is looked for; times are of stays that were open between them."""

    address = serializers.CharField(required=False, default="", max_length=50)
    service = serializers.CharField(required=False, default="", max_length=40)
    device = serializers.CharField(required=False, default="", max_length=DEVICE_MAX_LENGTH)
    start = serializers.DateTimeField(required=False, default=None)
    end = serializers.DateTimeField(required=False, default=None)
    vrf = serializers.IntegerField(required=False, default=0, min_value=0, max_value=2**63 - 1)
    after = serializers.CharField(required=False, default="", max_length=80)


_FORMAT = OpenApiParameter(
    "format", str, enum=["csv"], description="CSV instead of JSON, as `Accept: text/csv` is."
)
_ROWS = OpenApiResponse(OpenApiTypes.STR, "All rows that fit, whatever the page.")


# --- Address servers ----------------------------------------------------------------------------


class _OfLines(OfServers):
    def told(self, request: Request) -> tuple[Service, str]:
        """Return the line and the device that a server speaks of."""
        asked = AddressAssignmentIn(data=request.data)
        asked.is_valid(raise_exception=True)
        named = asked.validated_data
        key = Service.key_of(named["service"])
        line = Service.objects.filter(pk=key, line__isnull=True).first() if key else None
        if line is None:
            raise NotFound("There is no such line.", field="service")
        return line, named["device"]


class AddressAssignments(_OfLines):
    @extend_schema(
        summary="Ask for the addresses of a device of a line, as an address server",
        description="With its name and secret (HTTP Basic). The same device gets the same "
        "addresses while it can. A device beyond the plan goes by the plan's policy.",
        request=AddressAssignmentIn,
        responses={200: AddressAssignmentOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        line, device = self.told(request)
        if refusal := held.why_not_served(line):
            answer = allocation.Answer(allocation.Outcome.DENIED, reason=refusal)
        else:
            answer = allocation.request_addresses(
                service_ref=line.public_id,
                device=device,
                server=self.server(request),
                at=timezone.now(),
            )
        return Response(AddressAssignmentOut(_about(line, device, answer)).data)


def _about(line: Service, device: str, answer: allocation.Answer) -> dict[str, Any]:
    return {
        "service": line.public_id,
        "device": device,
        "outcome": answer.outcome,
        "ipv4": answer.ipv4,
        "ipv6_prefix": answer.ipv6_prefix,
        "lease_seconds": answer.lease_seconds,
        "reason": answer.reason,
        "request": answer.request,
    }


class AddressReleases(_OfLines):
    @extend_schema(
        summary="Give back what a device of a line holds, as its address server",
        description="With its name and secret (HTTP Basic). The addresses rest, and are the "
        "device's again if it asks soon. An extra address is charged until it is ended.",
        request=AddressAssignmentIn,
        responses={200: AddressReleaseOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        line, device = self.told(request)
        if held.is_reserved(line):
            raise KeptByItsServer("The address of this line is kept until the line ends.")
        count = serving.release_by_server(
            server=self.server(request),
            service_ref=line.public_id,
            device=device,
            at=timezone.now(),
        )
        told = {"service": line.public_id, "device": device, "released": count}
        return Response(AddressReleaseOut(told).data)


# --- Partners and logins ------------------------------------------------------------------------


def _lines(request: Request) -> QuerySet[Service]:
    user = active_caller(request)
    if hasattr(user, "partner"):
        return held.lines_on(calling_partner(request))
    return held.lines_of_login(user)


class Addresses(APIView):
    scope_area = "ipam"
    renderer_classes = [JSONRenderer, CsvAnswer]

    @extend_schema(
        operation_id="addresses_list",
        summary="List the addresses of your lines",
        description="For a network's partner: of the lines on its network.",
        parameters=[
            OpenApiParameter("service", str, description="Of this line alone."),
            OpenApiParameter("resource_pool", str, description="Of this pool alone."),
            OpenApiParameter("cursor", str, description="From `next` of the page before."),
            OpenApiParameter("limit", int, description="Rows a page, up to 500."),
            _FORMAT,
        ],
        responses={200: AddressOut(many=True), (200, "text/csv"): _ROWS},
    )
    def get(self, request: Request) -> HttpResponseBase:
        rows = self._rows(request)
        if wants_csv(request):
            return csv_files.stream("addresses", _current(rows.iterator(chunk_size=1000)))
        pages = NewestFirstCursor()
        page = pages.paginate_queryset(rows, request, self)
        return pages.get_paginated_response(AddressOut(page, many=True).data)

    def _rows(self, request: Request) -> QuerySet[Allocation]:
        own = held.belongs_to(
            _lines(request), subscriber="holder__subscriber", service_ref="holder__service_ref"
        )
        rows = Allocation.objects.filter(own, state=Allocation.State.ACTIVE)
        for name, column in (("service", "holder__service_ref"), ("resource_pool", "pool__name")):
            if wanted := request.query_params.get(name, ""):
                rows = rows.filter(**{column: _plain(wanted, name)})
        return rows.select_related("holder", "pool").order_by("-pk")


def _plain(text: str, name: str) -> str:
    if "\0" in text:
        raise InvalidInput("This character cannot be looked for.", field=name)
    return text


class AddressHistory(APIView):
    scope_area = "ipam"
    renderer_classes = [JSONRenderer, CsvAnswer]

    @extend_schema(
        operation_id="address_history_list",
        summary="See who of your lines had an address, and when",
        description="Name an address or network, a line or a device. For one moment, write it as "
        "both times. For a network's partner: of the lines on its network.",
        parameters=[HistoryIn, _FORMAT],
        responses={200: PastAddressesOut, (200, "text/csv"): _ROWS},
    )
    def get(self, request: Request) -> HttpResponseBase:
        asked = HistoryIn(data=request.query_params)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        search = _search(told)
        own = held.belongs_to(_lines(request), subscriber="subscriber", service_ref="service_ref")
        if wants_csv(request):
            return csv_files.stream("address-history", _past(search, own))
        rows, following = history.page_of(search, after=told["after"], only=own)
        path = f"{request.path}?{urlencode(_kept(request) | {'after': following})}"
        answer = {"items": rows, "next": request.build_absolute_uri(path) if following else None}
        return Response(PastAddressesOut(answer).data)


def _search(told: dict[str, Any]) -> history.Search:
    search = history.Search(
        address=told["address"],
        vrf=told["vrf"],
        service_ref=told["service"],
        device=told["device"],
        start=told["start"],
        end=told["end"],
    )
    if not search.names_somebody:
        raise InvalidInput("Name an address, a line or a device.", field="address")
    return search


def _kept(request: Request) -> dict[str, str]:
    """What a link to the next page must keep of the address of this one."""
    return {name: str(value) for name, value in request.query_params.items() if name != "after"}


def _current(rows: Iterator[Allocation]) -> Iterator[list[str]]:
    yield ["address", "service", "device", "resource_pool", "held_since", "lease_ends_at"]
    for row in rows:
        yield [
            row.address, row.holder.service_ref, row.device, row.pool.name,
            csv_files.utc(row.allocated_at), csv_files.utc(row.expires_at),
        ]  # fmt: skip


def _past(search: history.Search, own: Exists) -> Iterator[list[str]]:
    yield ["address", "service", "device", "held_from", "held_to", "ended_because"]
    for row in history.every(search, only=own):
        yield _told_of(row)


def _told_of(row: AllocationHistory) -> list[str]:
    return [
        row.address, row.service_ref, row.device, csv_files.utc(row.held_from),
        csv_files.utc(row.held_to), row.ended_because or "",
    ]  # fmt: skip
