"""How fast accounting messages become rated usage, beside COPY of as many uses."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from ipam import allocation
from ipam.models import AddressServer
from ispops import bulk
from ispops.bench import Case, Size, bench
from ispops.benches import use
from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering, Technology
from ispops.db import uuid7
from provisioning import inbox
from provisioning.models import WaitingAccounting
from provisioning.tasks import MESSAGES_A_BATCH as LEFT_A_BATCH
from rating import usage
from rating.models import RatedUsage, WaitingUsage
from rating.tasks import MESSAGES_A_BATCH

EVERY = timedelta(minutes=5)


@bench
def rating_accounting(size: Size) -> Iterator[Case]:
    """Messages of sessions that go on, five minutes after the ones before: all carried octets."""
    messages = _Inbox(use.owners(size.of(full=100_000, quick=10_000), [_plan()]))
    copied = use.Copied(len(messages.lines))
    messages.before()  # the messages that begin the sessions, which are not measured
    messages.run()
    yield Case(
        name="accounting inbox to rated usage",
        unit="per s",
        ours=messages.run,
        reference=copied.run,
        before_ours=messages.before,
        before_reference=copied.before,
    )
    yield Case(
        name="what FreeRADIUS leaves to accounting inbox",
        unit="per s",
        ours=messages.read,
        reference=copied.run,
        before_ours=messages.leave,
        before_reference=copied.before,
    )


def _plan() -> ProductOffering:
    plan = publishing.create_offering(
        code="fiber", name="Fiber", kind="access", provider=use.sellers()[1],
        technology=Technology.FIBRE, download_kbps=500_000, upload_kbps=500_000, at=use.OPENED,
    )  # fmt: skip
    publishing.set_price(
        offering=plan, charge="usage", amount=Decimal("0.50"), unit="byte", block_size=10**9,
        allowance=10**12, at=use.OPENED,
    )  # fmt: skip
    return plan


class _Inbox:
    """The inbox of one RADIUS server: a message of each session, again and again."""

    def __init__(self, lines: list[use.Owner]) -> None:
        self.lines = lines
        self._server = allocation.create_server(
            name="aaa", kind=AddressServer.Kind.RADIUS, secret="nobody-calls-in-a-bench"
        )
        self._sessions = [uuid7().hex for _ in lines]
        self._round = 0
        bulk.copy_rows(
            "provisioning_aaacredential",
            ("service_id", "username", "secret", "enabled", "treatment", "revision"),
            ((line.service, line.reference, "none", True, "", 1) for line in lines),
        )

    @property
    def _now(self) -> datetime:
        return use.MAY + EVERY * self._round

    def before(self) -> None:
        """Have a message of each session come."""
        self._round += 1
        seconds = int(EVERY.total_seconds()) * self._round
        bulk.copy_rows(
            "provisioning_accountingrecord",
            ("server_id", "status_type", "session_id", "unique_session_id", "session_class",
             "username", "nas_ip", "calling_station_id", "framed_ip", "session_seconds",
             "input_octets", "output_octets", "input_gigawords", "output_gigawords",
             "terminate_cause", "delay_seconds", "event_at", "received_at"),
            ((self._server.pk, "Interim-Update", session, session, f"{session}/1", line.reference,
              "192.0.2.1", "", f"100.64.{n // 250 % 250}.{n % 250}", seconds,
              1_000_000 * self._round, 20_000_000 * self._round, 0, 0, "", 0, self._now, self._now)
             for n, (line, session) in enumerate(zip(self.lines, self._sessions, strict=True))),
        )  # fmt: skip

    def leave(self) -> None:
        """Have FreeRADIUS leave a message of each session, as text."""
        self._round += 1
        seconds, told = int(EVERY.total_seconds()) * self._round, int(self._now.timestamp())
        bulk.copy_rows(
            "provisioning_accountinginbox",
            ("server", "source", "status_type", "session_id", "session_class", "username",
             "nas_ip", "framed_ip", "session_seconds", "input_octets", "output_octets",
             "input_gigawords", "output_gigawords", "event_timestamp", "delay_seconds"),
            (("aaa", "192.0.2.1", "Interim-Update", session, f"{session}=2F1", line.reference,
              "192.0.2.1", f"100.64.{n // 250 % 250}.{n % 250}", seconds, 1_000_000 * self._round,
              20_000_000 * self._round, 0, 0, told, 0)
             for n, (line, session) in enumerate(zip(self.lines, self._sessions, strict=True))),
        )  # fmt: skip

    def read(self) -> int:
        count = 0
        while read := inbox.read_inbox(limit=LEFT_A_BATCH):
            count += read
        return count

    def run(self) -> int:
        while usage.meter_accounting(at=self._now, limit=MESSAGES_A_BATCH):
            pass
        while usage.rate_usage(at=self._now, limit=use.BATCH):
            pass
        unread = WaitingAccounting.objects.filter(reader=WaitingAccounting.Reader.METERING)
        if unread.exists() or (
            WaitingUsage.objects.exists()
            or RatedUsage.objects.count() != self._round * len(self.lines)
        ):
            raise RuntimeError("some messages did not become rated usage")
        return len(self.lines)
