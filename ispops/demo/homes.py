"""The demonstration's households: who lives there, and how their lines come to be and are used."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from django.conf import settings

from ipam.models import AddressServer
from ispops.catalog.models import ProductOffering
from ispops.demo import household, network, people, rounds
from ispops.demo.household import Reading
from ispops.parties import payments
from ispops.parties.models import Partner, Subscriber, User
from provisioning import accounting, admission, orders, partner_orders, visit_results
from provisioning.models import AaaCredential, Appointment, Service
from provisioning.network.templates import Attributes
from qualification import qualify
from rating import intake
from rating.usage import RowResult

OCTETS_A_GIGAWORD = 2**32


@dataclass(slots=True)
class Home:
    """A household with one line: its router, and how much it uses."""

    login: people.DemoLogin
    address: str
    router: str
    server: AddressServer
    # Octets for each unit of `household.weight`, by when the days begin that have it.
    paces: list[tuple[datetime, float]] = field(default_factory=list)
    user: User = field(init=False)
    subscriber: Subscriber = field(init=False)
    # Known once the line is on.
    line: Service = field(init=False)
    username: str = field(init=False)
    # What the access server was told when the session began that runs.
    _told: Attributes = field(init=False)

    def join(self, plan: str, at: datetime) -> None:
        """Register, ask what there is at the address, and order a line."""
        self.user = people.make_login(self.login, at)
        self.subscriber = self.user.subscribers.get()
        payments.choose_payment(subscriber=self.subscriber, kind="invoice", actor=self.user, at=at)
        answer = qualify.qualify_address(text=self.address, channel="portal", at=at)
        orders.place_order(
            subscriber=self.subscriber,
            qualification=answer,
            offering_codes=[plan],
            channel="portal",
            placed_by=self.user,
            idempotency_key=f"demo-{self.login.email}",
            at=at,
        )
        rounds.work(at)

    def is_connected(self, technician: User) -> datetime:
        """Let the technician come when the visit is booked; returns since when the line is on."""
        visit = Appointment.objects.select_related("slot").get(order__subscriber=self.subscriber)
        at = visit.slot.ends_at
        rounds.work(visit.slot.starts_at)
        note = "Fibre to the living room; light level is good."
        visit_results.complete_visit(visit_id=visit.pk, actor=technician, note=note, at=at)
        rounds.work(at)
        self.line = Service.objects.get(subscriber=self.subscriber, line=None)
        self.username = AaaCredential.objects.get(service=self.line).username
        return at

    def come_in(self, device: str, at: datetime) -> Attributes:
        """Ask for an address, as the access server does for a device; returns what it is told."""
        found = admission.find(
            server=network.SERVER,
            secret=network.SERVER_SECRET,
            username=self.username,
            nas_ip=network.ACCESS_ADDRESS,
            device=device,
            at=at,
        )
        if found is None:
            raise LookupError(f"{network.SERVER} is not there.")
        decided = admission.admit(
            found=found, username=self.username, proven=None, device=device, at=at
        )
        return decided.reply or {}

    def begin_session(self, at: datetime) -> None:
        """Let the router come in; that it did is told at once, lest its place seem free."""
        self._told = self.come_in(self.router, at)
        for reading in self._readings(at, at):
            self._tell(reading, began=at)

    def tell_session(self, until: datetime, *, began: datetime) -> None:
        """Let the access server tell of the session that the router began, up to a moment."""
        for reading in self._readings(began, until):
            if reading.seconds:
                self._tell(reading, began=began)

    def _readings(self, began: datetime, until: datetime) -> Iterator[Reading]:
        pace = [pace for since, pace in self.paces if since <= began][-1]
        return household.readings(began, until, pace, ZoneInfo(settings.BILLING_TIME_ZONE))

    def _tell(self, reading: Reading, *, began: datetime) -> None:
        sent = {
            "Acct-Status-Type": reading.kind,
            "Acct-Session-Id": f"{self.router}-{began:%m%d%H}",
            "User-Name": self.username,
            "NAS-IP-Address": network.ACCESS_ADDRESS,
            "Calling-Station-Id": self.router,
            "Class": self._told["Class"],
            "Framed-IP-Address": self._told["Framed-IP-Address"],
            "Acct-Session-Time": reading.seconds,
        }
        for name, octets in (("Input", reading.uploaded), ("Output", reading.downloaded)):
            gigawords, rest = divmod(octets, OCTETS_A_GIGAWORD)
            sent |= {f"Acct-{name}-Octets": rest, f"Acct-{name}-Gigawords": gigawords}
        accounting.record_accounting(server=self.server, attributes=sent, received_at=reading.at)

    def report(
        self,
        code: str,
        event_id: str,
        quantity: int,
        unit: str,
        at: datetime,
        *,
        called: str = "",
        subscriber_ref: str = "",
    ) -> RowResult:
        """Let a partner report use of a product, which it may call by a name that is none."""
        partner = Partner.objects.get(offerings__code=code)
        known = partner_orders.reference_of(partner=partner, subscriber=self.subscriber)
        event = {
            "event_id": event_id,
            "subscriber_ref": subscriber_ref or known,
            "offering": called or code,
            "started_at": at.isoformat(),
            "quantity": quantity,
            "unit": unit,
        }
        [answer] = intake.take_in(partner=partner, rows=[event], received_at=at)
        return answer


def offering(code: str) -> ProductOffering:
    return ProductOffering.objects.select_related("provider").get(code=code)
