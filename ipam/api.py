"""Address pools for partners, staff programs and address servers (TM Forum TMF685).

A partner sees the pools of its own network; a program of staff sees all. An address server logs in
with its name and secret, tells how full its pools are, and asks for a further block, which is the
reservation of TMF685: asked for, looked at while it is decided, and released.
"""

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ipam import groups, growing, queries, returning, sampling
from ipam.models import AddressServer, BlockRequest, Pool
from ipam.queries import PoolUse
from ipam.server_login import OfServers
from ispops import csv_files
from ispops.errors import NotFound
from ispops.parties.rest import (
    CsvAnswer,
    active_caller,
    calling_partner,
    idempotent,
    wants_csv,
)

MOST_REFERENCE = BlockRequest._meta.get_field("reference").max_length or 0

# --- What goes over the wire --------------------------------------------------------------------


class CapacityOut(serializers.Serializer[Any]):
    """How much of a pool there is, in units of its `unit_length` (TMF685 ResourceCapacity)."""

    total = serializers.IntegerField()
    taken = serializers.IntegerField(help_text="Held, or resting before it is used again.")
    available = serializers.IntegerField(source="free")


class ResourcePoolOut(serializers.Serializer[Any]):
    """What an address server hands out of one block (TMF685 ResourcePool)."""

    id = serializers.CharField(source="pool.name")
    server = serializers.CharField(source="pool.server.name")
    network = serializers.CharField(source="pool.block.network")
    purpose = serializers.ChoiceField(choices=Pool.Purpose.choices, source="pool.purpose")
    unit_length = serializers.IntegerField(source="pool.unit_length")
    state = serializers.ChoiceField(choices=Pool.State.choices, source="pool.state")
    capacity = CapacityOut(source="*")


class ResourcePoolsOut(serializers.Serializer[Any]):
    items = ResourcePoolOut(many=True)


class ForecastOut(serializers.Serializer[Any]):
    """How a pool grows, together with the blocks that were cut for it; days are from now."""

    used = serializers.IntegerField()
    total = serializers.IntegerField()
    growth_a_day = serializers.FloatField(allow_null=True, source="grows.likely", default=None)
    days_left_soonest = serializers.FloatField(allow_null=True, source="ends.soonest")
    days_left = serializers.FloatField(allow_null=True, source="ends.likely")
    days_left_latest = serializers.FloatField(allow_null=True, source="ends.latest")


class AvailabilityIn(serializers.Serializer[Any]):
    resource_pool = serializers.CharField(max_length=50)
    amount = serializers.IntegerField(min_value=1, help_text="Units that are wanted.")


class AvailabilityOut(serializers.Serializer[Any]):
    """Whether a pool has so much at this moment; nothing is held (TMF685 AvailabilityCheck)."""

    resource_pool = serializers.CharField()
    amount = serializers.IntegerField()
    is_available = serializers.BooleanField()
    available = serializers.IntegerField()
    at = serializers.DateTimeField()


class PoolReportIn(serializers.Serializer[Any]):
    resource_pool = serializers.CharField(max_length=50)
    assigned = serializers.IntegerField(min_value=0, max_value=2**62)
    declined = serializers.IntegerField(min_value=0, max_value=2**62, default=0)


class PoolReportOut(serializers.Serializer[Any]):
    """What is known of a pool by its server's own count."""

    resource_pool = serializers.CharField(source="pool.name")
    assigned = serializers.IntegerField()
    declined = serializers.IntegerField()
    reported_at = serializers.DateTimeField()


class ResourceReservationIn(serializers.Serializer[Any]):
    resource_pool = serializers.CharField(max_length=50)
    reason = serializers.CharField(max_length=200)
    length = serializers.IntegerField(
        required=False, min_value=1, max_value=128,
        help_text="Of the network that is wanted; without it, by the measured growth.",
    )  # fmt: skip


class ResourceReservationOut(serializers.Serializer[Any]):
    """A further block that an address server asked for (TMF685 Reservation)."""

    id = serializers.CharField(source="public_id")
    resource_pool = serializers.CharField(source="pool.name")
    state = serializers.ChoiceField(choices=BlockRequest.State.choices)
    length = serializers.IntegerField()
    reason = serializers.CharField()
    asked_at = serializers.DateTimeField()
    confirmed_at = serializers.DateTimeField(allow_null=True)
    made = serializers.CharField(source="made.name", default=None, allow_null=True)
    network = serializers.CharField(source="made.block.network", default=None, allow_null=True)


class ReleaseOut(serializers.Serializer[Any]):
    """A further block on its way back to its parent."""

    resource_pool = serializers.CharField(source="pool.name")
    network = serializers.CharField()
    state = serializers.CharField()


# --- Pools, for partners and staff --------------------------------------------------------------


def _visible(request: Request) -> QuerySet[Pool]:
    """Return the pools that a caller may see: all for staff, a partner's those of its network."""
    live = Pool.objects.filter(state__in=groups.LIVE).order_by("name")
    user = active_caller(request)
    if user.is_staff:
        return live
    return live.filter(server__dhcp__provider=calling_partner(request))


def _one(request: Request, name: str) -> PoolUse:
    pool = queries.with_free_slots(_visible(request).filter(name=name)).first()
    if pool is None:
        raise NotFound("There is no such pool.", field="resource_pool")
    return queries.use_of(pool)


class ResourcePools(APIView):
    scope_area = "ipam"
    renderer_classes = [JSONRenderer, CsvAnswer]

    @extend_schema(
        operation_id="resource_pools_list",
        summary="List the address pools, with how full each is",
        parameters=[
            OpenApiParameter(
                "format", str, enum=["csv"],
                description="CSV instead of JSON, as `Accept: text/csv` is.",
            )
        ],
        responses={
            200: ResourcePoolsOut,
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "The same, a pool a line."),
        },
    )  # fmt: skip
    def get(self, request: Request) -> HttpResponseBase:
        uses = [queries.use_of(pool) for pool in queries.with_free_slots(_visible(request))]
        if wants_csv(request):
            return csv_files.stream("resource-pools", _as_table(uses))
        return Response(ResourcePoolsOut({"items": uses}).data)


def _as_table(uses: list[PoolUse]) -> Iterator[list[str]]:
    yield [
        "id", "server", "network", "purpose", "unit_length", "state", "total", "taken",
        "available",
    ]  # fmt: skip
    for use in uses:
        pool = use.pool
        yield [
            pool.name, pool.server.name, pool.block.network, pool.purpose, str(pool.unit_length),
            pool.state, str(use.total), str(use.taken), str(use.free),
        ]  # fmt: skip


class OneResourcePool(APIView):
    scope_area = "ipam"

    @extend_schema(summary="See one address pool", responses={200: ResourcePoolOut})
    def get(self, request: Request, name: str) -> Response:
        return Response(ResourcePoolOut(_one(request, name)).data)


class ResourcePoolForecast(APIView):
    scope_area = "ipam"

    @extend_schema(summary="See when a pool will be full", responses={200: ForecastOut})
    def get(self, request: Request, name: str) -> Response:
        first = groups.first_of(_one(request, name).pool)
        return Response(ForecastOut(groups.use_of(first, at=timezone.now())).data)


class AvailabilityChecks(APIView):
    scope_area = "ipam"

    @extend_schema(
        summary="Ask whether a pool has so much", request=AvailabilityIn,
        responses={200: AvailabilityOut},
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        asked = AvailabilityIn(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        use = _one(request, wanted["resource_pool"])
        return Response(
            AvailabilityOut(
                {
                    **wanted,
                    "is_available": use.free >= wanted["amount"],
                    "available": use.free,
                    "at": timezone.now(),
                }
            ).data
        )


# --- Address servers ----------------------------------------------------------------------------


class _OfServers(OfServers):
    def pool(self, name: str) -> Pool:
        """Return a pool, whosever it is: the verbs refuse another server's in words."""
        pool = Pool.objects.filter(name=name, state__in=groups.LIVE).select_related("server")
        found = pool.first()
        if found is None:
            raise NotFound("There is no such pool.", field="resource_pool")
        return found

    def request_of(self, request: Request, public_id: str) -> BlockRequest:
        key = BlockRequest.key_of(public_id)
        rows = BlockRequest.objects.select_related("pool", "server", "made__block")
        row = rows.filter(pk=key).first() if key else None
        if row is None:
            raise NotFound("There is no such reservation.")
        if row.server_id != self.server(request).pk:
            raise sampling.NotYourPool("This reservation is another address server's.")
        return row


class PoolReports(_OfServers):
    @extend_schema(
        summary="Tell how full a pool is, as its address server",
        description="With the server's name and secret (HTTP Basic).",
        request=PoolReportIn,
        responses={200: PoolReportOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        told = PoolReportIn(data=request.data)
        told.is_valid(raise_exception=True)
        given = told.validated_data
        report = sampling.report_use(
            server=self.server(request),
            pool=self.pool(given["resource_pool"]),
            assigned=given["assigned"],
            declined=given["declined"],
            at=timezone.now(),
        )
        return Response(PoolReportOut(report).data)


class ResourceReservations(_OfServers):
    @extend_schema(
        summary="Ask for a further block, as an address server",
        description="With its name and secret (HTTP Basic). While a request for the pool is "
        "open, it is that one.",
        request=ResourceReservationIn,
        responses={202: ResourceReservationOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = ResourceReservationIn(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted, at = asked.validated_data, timezone.now()
        row = growing.ask_for_block(
            pool=self.pool(wanted["resource_pool"]),
            server=self.server(request),
            cause=wanted["reason"],
            reference=_reference(request),
            length=wanted.get("length"),
            at=at,
        )
        return Response(
            ResourceReservationOut(row).data,
            status=202,
            headers={"Location": reverse("resource-reservation", args=[row.public_id])},
        )


def _reference(request: Request) -> str:
    """A request that comes again after its stored answer was thrown away is still the same one."""
    key = request.headers["Idempotency-Key"].strip()
    return key if len(key) <= MOST_REFERENCE else sha256(key.encode()).hexdigest()


class OneResourceReservation(_OfServers):
    @extend_schema(
        summary="See what became of a further block", responses={200: ResourceReservationOut}
    )
    def get(self, request: Request, public_id: str) -> Response:
        return Response(ResourceReservationOut(self.request_of(request, public_id)).data)


class ResourceRelease(_OfServers):
    @extend_schema(
        summary="Give a further block back",
        description="It gives no new leases from now on, and goes back when it is empty.",
        request=None,
        responses={202: ReleaseOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        row = self.request_of(request, public_id)
        if row.made is None:
            raise returning.NotAFurtherBlock("No block was cut for this reservation.")
        return Response(
            ReleaseOut(_begun(row.made, self.server(request), timezone.now())).data, status=202
        )


def _begun(pool: Pool, server: AddressServer, at: datetime) -> Any:
    return returning.begin(pool=pool, cause=f"Given back by {server.name}.", server=server, at=at)
