"""The availability filing: our own network's coverage as of a moment, in the FCC's form.

The places that coverage reaches are found by one query, which is read through a cursor of the
server, so that a filing of a million places needs no more memory here than one of a thousand.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection, transaction

from ispops.catalog.models import ProductOffering
from ispops.catalog.queries import sold_at
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import Partner, User
from qualification import availability
from qualification.availability import Reach

_PORTION = 5_000
# A row for the place wins over the row for its cell, also when it says that there is nothing.
# Places that somebody only asked for are on no list of ours and are not filed.
_REACHED = """
WITH area AS MATERIALIZED (
    SELECT premises_id, h3_res8, technology, max_download_kbps, max_upload_kbps, loop_length_m,
           low_latency, install_days, construction_fee > 0 OR construction_days > 0 AS to_build,
           planned_date IS NOT NULL AS is_planned
    FROM qualification_coveragearea
    WHERE provider_id = %(provider)s AND valid_from <= %(as_of)s
      AND (valid_to IS NULL OR valid_to > %(as_of)s)
), reached AS (
    SELECT place.location_id, area.*
    FROM area JOIN qualification_premises place ON place.id = area.premises_id
    WHERE place.source = 'imported'
    UNION ALL
    SELECT place.location_id, area.*
    FROM area JOIN qualification_premises place ON place.h3_res8 = area.h3_res8
    WHERE area.h3_res8 <> '' AND place.source = 'imported' AND NOT EXISTS (
        SELECT FROM area own
        WHERE own.premises_id = place.id AND own.technology = area.technology
    )
)
"""
_FACTS = (
    "technology, max_download_kbps, max_upload_kbps, loop_length_m, low_latency, install_days, "
    "to_build, is_planned"
)
# In the order of the location ids, so that two filings can be compared line by line.
_ROWS = (
    f"{_REACHED} SELECT location_id, {_FACTS} FROM reached "  # noqa: S608 - our own words
    "WHERE location_id IS NOT NULL ORDER BY location_id, technology"
)
# One row for all places that are alike. One id stands for all of the fabric, an x for all others.
_ALIKE = (
    f"{_REACHED} SELECT CASE WHEN location_id ~ %(fabric_id)s THEN '1000000000' "  # noqa: S608
    f"WHEN location_id IS NULL THEN '' ELSE 'x' END AS id_like, {_FACTS}, count(*) FROM reached "
    f"GROUP BY id_like, {_FACTS}"
)


class NotOurNetwork(Refusal):
    code = "not_our_network"
    title = "Only coverage of our own network is filed"


@dataclass(frozen=True, slots=True)
class Filing:
    """A filing of one network as of a moment: how many places are in it, and why others are not.

    `filed` counts by technology, `left_out` by the codes of `availability.REASONS`.
    """

    provider: Partner
    as_of: datetime
    filed: dict[int, int]
    left_out: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.filed.values())

    @property
    def day(self) -> date:
        """The day in the ISP's own time zone."""
        return self.as_of.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date()

    @property
    def file_name(self) -> str:
        return f"availability-{self.provider.code}-{self.day}.csv"


def prepare(*, provider: Partner, as_of: datetime, at: datetime) -> Filing:
    """Count what a filing would hold.

    Raises:
        NotOurNetwork: the provider is not the ISP's own network.
        InvalidInput: the moment has not come yet.
    """
    if not provider.is_on_net:
        raise NotOurNetwork(f"{provider} files its own coverage.", field="provider")
    if as_of > at:
        raise InvalidInput("Coverage is filed as it is or was.", field="as_of")
    filed: Counter[int] = Counter()
    left_out: Counter[str] = Counter()
    with connection.cursor() as cursor:
        parameters = _parameters(provider, as_of) | {"fabric_id": f"^{availability.FABRIC_ID}$"}
        cursor.execute(_ALIKE, parameters)
        for *facts, count in cursor:
            reach = Reach(*facts)
            reason = availability.outcome(reach)
            if reason == availability.FILED:
                filed[reach.technology] += count
            else:
                left_out[reason] += count
    known = {code: left_out[code] for code in availability.REASONS if left_out[code]}
    return Filing(provider, as_of, dict(sorted(filed.items())), known)


@transaction.atomic
def export_availability(
    *,
    provider: Partner,
    as_of: datetime,
    at: datetime,
    actor: User | None = None,
    actor_name: str = "",
) -> Filing:
    """Note in the audit trail who takes a filing out, and of what; `lines` writes it.

    Raises:
        NotOurNetwork, InvalidInput: see `prepare`.
    """
    filing = prepare(provider=provider, as_of=as_of, at=at)
    audit.record(
        actor=actor,
        actor_name=actor_name,
        action="availability.exported",
        subject=f"partner_{provider.code}",
        at=at,
        as_of=as_of,
        filed=filing.total,
        left_out=filing.left_out,
    )
    return filing


def lines(filing: Filing) -> Iterator[str]:
    """Write the file of a filing in portions of text, the header first."""
    facts: dict[str, Any] = {
        "provider_id": filing.provider.fcc_provider_id,
        "brand_name": filing.provider.brand_name or filing.provider.name,
        "kinds": _kinds(filing.provider, filing.as_of),
    }
    yield availability.header()
    # A cursor of the server keeps what is left to read there; outside a transaction it holds no
    # snapshot meanwhile, however slowly the file is taken.
    with closing(connection.chunked_cursor()) as cursor:
        cursor.execute(_ROWS, _parameters(filing.provider, filing.as_of))
        while portion := cursor.fetchmany(_PORTION):
            yield availability.as_lines((Reach(*row) for row in portion), **facts)


def _parameters(provider: Partner, as_of: datetime) -> dict[str, Any]:
    return {"provider": provider.pk, "as_of": as_of}


def _kinds(provider: Partner, as_of: datetime) -> dict[int, str]:
    """Return for each technology to whom its plans were sold."""
    plans = sold_at(as_of).filter(kind=ProductOffering.Kind.ACCESS, provider=provider)
    sold: defaultdict[int, set[str]] = defaultdict(set)
    for technology, kind in plans.values_list("technology", "subscriber_kind"):
        sold[technology or 0].add(kind)
    return {technology: availability.kind_code(kinds) for technology, kinds in sold.items()}
