"""Records of use that a network's devices or its provider give as files (figure 9B). Pure.

Three forms, told apart by their columns: IPDR in the words of DOCSIS SAMIS, which are running
totals of each service flow of a cable modem; running totals of sessions; and octets of spans of
time that do not overlap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from rating.metering import IMPLAUSIBLE
from rating.usage_events import UnusableEvent

T = TypeVar("T")
Way = Literal["download", "upload"]
IPDR_NEEDED = (
    "CMTShostName", "CMmacAddress", "RecType", "RecCreationTime", "serviceDirection",
    "serviceOctetsPassed", "serviceTimeCreated",
)  # fmt: skip
# With the identifier two flows of a direction are told apart; with the time of the device since
# its start it is known when a flow began.
IPDR_COLUMNS = (*IPDR_NEEDED, "CMcpeIpv4List", "serviceIdentifier", "CMTSsysUpTime")
TOTALS_NEEDED = (
    "meter", "session_id", "username", "session_started_at", "event_at", "status",
    "download_total_bytes", "upload_total_bytes",
)  # fmt: skip
SPAN_NEEDED = ("meter", "username", "started_at", "ended_at", "download_bytes", "upload_bytes")
_WAYS: dict[str, Way] = {"1": "download", "2": "upload"}
_ENDS = {"1": False, "2": True}


@dataclass(frozen=True, slots=True)
class Totals:
    """The running totals of a session, or of one direction of a service flow, at a moment.

    `flow` names it among all of its `meter`. Without `started_at` it is only known that it is the
    same one as long as `flow` is.
    """

    meter: str
    flow: str
    username: str
    event_at: datetime
    started_at: datetime | None
    download_bytes: int
    upload_bytes: int
    is_last: bool
    address: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """What passed in a span of time."""

    meter: str
    username: str
    started_at: datetime
    ended_at: datetime
    download_bytes: int
    upload_bytes: int


class RecordColumns:
    """Which column of a table of records is what, whatever its capitals."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._count = len(columns)
        self._places = {name.strip().lower(): place for place, name in enumerate(columns)}
        self._read: Callable[[_Values], Totals | Span]
        needed: tuple[str, ...]
        if "cmmacaddress" in self._places:
            self._read, needed = self._ipdr, IPDR_NEEDED
        elif "session_id" in self._places:
            self._read, needed = self._totals, TOTALS_NEEDED
        else:
            self._read, needed = self._span, SPAN_NEEDED
        self.missing = [name for name in needed if name.lower() not in self._places]

    def record(self, values: Sequence[str]) -> Totals | Span:
        """Return the record that a row tells.

        Raises:
            UnusableEvent: names the column, and says what is wrong with it.
        """
        if len(values) > self._count:
            raise UnusableEvent(
                "row", f"The row has {len(values):,} values for {self._count:,} columns."
            )
        return self._read(_Values(self._places, values))

    @staticmethod
    def _ipdr(row: "_Values") -> Totals:
        way = row.one_of("serviceDirection", _WAYS)
        octets = row.octets("serviceOctetsPassed")
        created, event_at = row.text("serviceTimeCreated"), row.instant("RecCreationTime")
        modem, identifier = row.text("CMmacAddress"), row.optional("serviceIdentifier")
        return Totals(
            meter=row.text("CMTShostName"),
            flow="/".join((modem, identifier, way, created)),
            username=modem,
            event_at=event_at,
            started_at=_flow_began(created, row.optional("CMTSsysUpTime"), event_at),
            download_bytes=octets if way == "download" else 0,
            upload_bytes=octets if way == "upload" else 0,
            is_last=row.one_of("RecType", _ENDS),
            address=row.optional("CMcpeIpv4List").replace(",", " ").split(" ")[0],
        )

    @staticmethod
    def _totals(row: "_Values") -> Totals:
        started_at, event_at = row.instant("session_started_at"), row.instant("event_at")
        if event_at < started_at:
            raise UnusableEvent("event_at", "This is before the session began.")
        return Totals(
            meter=row.text("meter"),
            flow=row.text("session_id"),
            username=row.text("username"),
            event_at=event_at,
            started_at=started_at,
            download_bytes=row.octets("download_total_bytes"),
            upload_bytes=row.octets("upload_total_bytes"),
            is_last=row.one_of("status", {"interim": False, "stop": True}),
        )

    @staticmethod
    def _span(row: "_Values") -> Span:
        started_at, ended_at = row.instant("started_at"), row.instant("ended_at")
        if ended_at <= started_at:
            raise UnusableEvent("ended_at", "This must be after the start.")
        return Span(
            meter=row.text("meter", most=64),
            username=row.text("username"),
            started_at=started_at,
            ended_at=ended_at,
            download_bytes=row.octets("download_bytes"),
            upload_bytes=row.octets("upload_bytes"),
        )


class _Values:
    """The values of a row by the names of their columns."""

    def __init__(self, places: dict[str, int], values: Sequence[str]) -> None:
        self._places = places
        self._values = values

    def optional(self, name: str) -> str:
        place = self._places.get(name.lower())
        if place is None or place >= len(self._values):
            return ""
        return self._values[place].strip()

    def text(self, name: str, *, most: int = 120) -> str:
        value = self.optional(name)
        if not value:
            raise UnusableEvent(name, "This must not be empty.")
        if len(value) > most or not value.isprintable():
            raise UnusableEvent(name, f"This may have {most} characters that can be printed.")
        return value

    def octets(self, name: str) -> int:
        value = self.optional(name)
        if not (value.isascii() and value.isdigit()):
            raise UnusableEvent(name, "This must be a whole number of octets, zero or more.")
        if len(value) > 20 or int(value) >= IMPLAUSIBLE:
            raise UnusableEvent(name, f"No line carries as much; up to {IMPLAUSIBLE - 1:,}.")
        return int(value)

    def instant(self, name: str) -> datetime:
        try:
            instant = datetime.fromisoformat(self.optional(name))
            if instant.tzinfo is None:
                raise UnusableEvent(name, "This needs a time zone, such as 2026-05-04T12:00:00Z.")
            return instant.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            if isinstance(error, UnusableEvent):
                raise
            raise UnusableEvent(
                name, "This must be a time such as 2026-05-04T12:00:00Z."
            ) from error

    def one_of(self, name: str, choices: dict[str, T]) -> T:
        value = self.optional(name).lower()
        if value not in choices:
            raise UnusableEvent(name, f"This must be one of {', '.join(choices)}.")
        return choices[value]


def _flow_began(created: str, up_time: str, event_at: datetime) -> datetime | None:
    """Work out when a flow began: both are hundredths of seconds since the device started."""
    if not (created.isascii() and created.isdigit() and up_time.isascii() and up_time.isdigit()):
        return None
    if len(created) > 12 or len(up_time) > 12:
        return None
    age = int(up_time) - int(created)
    try:
        return event_at - timedelta(milliseconds=10 * age) if age >= 0 else None
    except OverflowError:  # a device without a clock is at the beginning of time
        return None
