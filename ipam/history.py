"""Who had which address, from when to when: over years of stays, a page at a time.

Each search is one range of one index, whose cost is that of what it finds and not of what there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import DateTimeField, Exists, ExpressionWrapper, F, Q, QuerySet, Value

from ipam import selection
from ipam.models import AllocationHistory, Span, Stay
from ispops.errors import InvalidInput
from ispops.parties.models import Subscriber

PER_PAGE = 50
_LAST_ID = 2**63


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked for; what is empty is not asked.

    Between `start` and `end`: stays that were open at some moment between them, those too that had
    begun before.
    """

    address: str = ""
    vrf: int = 0
    subscriber: Subscriber | None = None
    service_ref: str = ""
    device: str = ""
    start: datetime | None = None
    end: datetime | None = None

    @property
    def names_somebody(self) -> bool:
        return bool(self.address or self.subscriber or self.service_ref or self.device)

    @property
    def is_empty(self) -> bool:
        return not self.names_somebody and self.start is None and self.end is None


def parts(search: Search) -> list[QuerySet[AllocationHistory]]:
    """Return the stays that fit, the newest first: those of one query before those of the next.

    Times alone are asked for in two parts, each of which is the range of an index: what began
    between them, and what was held already at the beginning, of which there are no more than there
    are addresses.

    Raises:
        InvalidInput: the address, the device or the times cannot be used; names the field.
    """
    found = AllocationHistory.objects.select_related("subscriber", "pool")
    if search.start and search.end and search.end < search.start:
        raise InvalidInput("The end is before the beginning.", field="end")
    found = _of(found, search)
    if search.address:
        return [_by_no_index(_open_by_range(found, search.start, search.end))]
    if search.names_somebody or search.start is None:
        return [_by_time(_open_between(found, search.start, search.end))]
    began = _open_between(found, search.start, search.end).filter(held_from__gte=search.start)
    before = _held_at(found, search.start).filter(held_from__lt=search.start)
    return [_by_time(began), _by_no_index(before)]


def _by_time(found: QuerySet[AllocationHistory]) -> QuerySet[AllocationHistory]:
    return found.annotate(since=F("held_from")).order_by("-held_from", "-pk")


def _by_no_index(found: QuerySet[AllocationHistory]) -> QuerySet[AllocationHistory]:
    """Put the newest first by what no index holds: else the planner might walk all of time."""
    later = ExpressionWrapper(F("held_from") + Value(timedelta(0)), DateTimeField())
    return found.annotate(since=later).order_by("-since", "-pk")


def _held_at(found: QuerySet[AllocationHistory], at: datetime) -> QuerySet[AllocationHistory]:
    return found.alias(stay=Span()).filter(stay__contains=at)  # type: ignore[misc]


def _of(found: QuerySet[AllocationHistory], search: Search) -> QuerySet[AllocationHistory]:
    if search.address:
        network = _network(search.address)
        found = found.filter(address__overlaps=network, vrf=search.vrf)
    if search.subscriber:
        found = found.filter(subscriber=search.subscriber)
    if search.service_ref:
        found = found.filter(service_ref=search.service_ref)
    if search.device:
        found = found.filter(device=_device(search.device))
    return found


def _open_by_range(
    found: QuerySet[AllocationHistory], start: datetime | None, end: datetime | None
) -> QuerySet[AllocationHistory]:
    """Keep the stays of the span, in the words of the index behind the exclusion."""
    if start is None and end is None:
        return found
    # A moment is both the beginning and the end of its span.
    span = DateTimeTZRange(start, end, "[]" if start == end else "[)")
    return found.alias(stay=Stay()).filter(stay__overlap=span)


def _open_between(
    found: QuerySet[AllocationHistory], start: datetime | None, end: datetime | None
) -> QuerySet[AllocationHistory]:
    if end:
        # A moment is both the beginning and the end of its span.
        found = (
            found.filter(held_from__lte=end) if start == end else found.filter(held_from__lt=end)
        )
    if start:
        found = found.filter(Q(held_to__isnull=True) | Q(held_to__gt=start))
    return found


def page_of(
    search: Search, *, after: str = "", most: int = PER_PAGE, only: Q | Exists | None = None
) -> tuple[list[AllocationHistory], str]:
    """Return a page of stays, and the mark with which the next one is asked for: empty at the end.

    A mark is a place in the order, so a page costs the same however far down it is. `only` is what
    else must be true of a stay for who asks to see it.

    Raises:
        InvalidInput: as `parts`, or this is no mark.
    """
    rows: list[AllocationHistory] = []
    for found in parts(search):
        rows += _after(found, after, only)[: most + 1 - len(rows)]
        if len(rows) > most:
            last = rows[most - 1]
            return rows[:most], f"{last.held_from.isoformat()}_{last.pk}"
    return rows, ""


def _after(
    found: QuerySet[AllocationHistory], mark: str, only: Q | Exists | None
) -> QuerySet[AllocationHistory]:
    if only is not None:
        found = found.filter(only)
    if not mark:
        return found
    since, key = _mark(mark)
    return found.filter(Q(since__lt=since) | Q(since=since, pk__lt=key), since__lte=since)  # type: ignore[misc]


def every(search: Search, *, only: Q | Exists | None = None) -> Iterator[AllocationHistory]:
    """Yield all stays that fit, without keeping them; `only` as for a page.

    Raises:
        InvalidInput: as `parts`.
    """
    for found in parts(search):
        yield from (found if only is None else found.filter(only)).iterator(chunk_size=1000)


def _mark(text: str) -> tuple[datetime, int]:
    since, _, key = text.rpartition("_")
    try:
        moment, number = datetime.fromisoformat(since), int(key)
    except ValueError:
        moment, number = datetime.now(UTC), _LAST_ID
    if moment.tzinfo is None or not 0 < number < _LAST_ID:
        raise InvalidInput("This is no place in the history. Begin anew.", field="after")
    return moment, number


def _network(text: str) -> str:
    try:
        return str(selection.parse_network(text))
    except selection.UnusableNetwork as error:
        raise InvalidInput(
            f"{text!r} is no address or network. Write one like 203.0.113.7 or 2001:db8::/48.",
            field="address",
        ) from error


def _device(text: str) -> str:
    try:
        return selection.normalise_device(text)
    except selection.UnusableDevice as error:
        raise InvalidInput(f"The device cannot be looked for: {error}.", field="device") from error
