"""The life of services and the periods that charging reads."""

from datetime import datetime, timedelta

import pytest

from ipam.models import AddressHolder
from ispops.errors import IllegalTransition, InvalidInput
from ispops.models import Event
from ispops.parties.models import Subscriber
from provisioning import partner_orders, services
from provisioning.models import AaaCredential, Service, ServiceOrder
from qualification.models import AccessPort
from qualification.ports import NoFreePort
from tests import factories
from tests.provisioning import ground
from tests.small_isp import SmallIsp

DAY = timedelta(days=1)


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    return factories.live_line(isp, ada, at=at)


def spans(service: Service) -> list[tuple[str, datetime, datetime | None]]:
    rows = service.periods.order_by("started_at")
    return list(rows.values_list("state", "started_at", "ended_at"))


class TestPeriods:
    def test_suspended_and_back(self, line: Service, at: datetime) -> None:
        services.suspend(service=line, reason="abuse", at=at + DAY)
        services.activate(service=line, at=at + 2 * DAY)
        services.cease(service=line, at=at + 3 * DAY)
        line.refresh_from_db()
        assert line.state == "ceased"
        assert spans(line) == [
            ("active", at, at + DAY),
            ("suspended", at + DAY, at + 2 * DAY),
            ("active", at + 2 * DAY, at + 3 * DAY),
        ]
        told = Event.objects.filter(subject=line.public_id).order_by("pk")
        assert [(event.kind, event.payload) for event in told] == [
            ("service.activated", {}),
            ("service.suspended", {"reason": "abuse"}),
            ("service.activated", {}),
            ("service.ceased", {}),
        ]

    def test_each_verb_twice_is_once(self, line: Service, at: datetime) -> None:
        for verb, words in (
            (services.activate, {}),
            (services.suspend, {"reason": "abuse"}),
            (services.cease, {}),
        ):
            verb(service=line, at=at + DAY, **words)
            before = ground.rows()
            verb(service=line, at=at + 2 * DAY, **words)
            assert ground.rows() == before

    def test_what_is_ended_stays_ended(self, line: Service, at: datetime) -> None:
        services.cease(service=line, at=at + DAY)
        before = ground.rows()
        with pytest.raises(IllegalTransition):
            services.activate(service=line, at=at + 2 * DAY)
        with pytest.raises(IllegalTransition):
            services.suspend(service=line, reason="abuse", at=at + 2 * DAY)
        assert ground.rows() == before

    @pytest.mark.parametrize("late", [timedelta(0), -DAY])
    def test_a_period_that_ends_when_it_began_still_has_a_length(
        self, line: Service, at: datetime, late: timedelta
    ) -> None:
        """The clocks of two workers differ; a period must end after it begins all the same."""
        services.suspend(service=line, reason="abuse", at=at + late)
        services.cease(service=line, at=at + late)
        tick = services.SHORTEST
        assert spans(line) == [
            ("active", at, at + tick),
            ("suspended", at + tick, at + 2 * tick),
        ]

    def test_a_service_that_never_was_active_has_no_period(
        self, isp: SmallIsp, line: Service, at: datetime
    ) -> None:
        films = services.create_carried_service(line=line, offering=isp.streaming, at=at)
        services.cease(service=films, at=at + DAY)
        assert spans(films) == []


class TestCarried:
    def test_a_product_belongs_to_its_line(
        self, isp: SmallIsp, line: Service, at: datetime
    ) -> None:
        films = services.create_carried_service(line=line, offering=isp.streaming, at=at)
        assert (films.line, films.subscriber, films.premises, films.state) == (
            line, line.subscriber, line.premises, "reserved"
        )  # fmt: skip
        assert films.created_at == at

    def test_it_needs_a_line_that_is_there(
        self, isp: SmallIsp, line: Service, at: datetime
    ) -> None:
        films = services.create_carried_service(line=line, offering=isp.streaming, at=at)
        with pytest.raises(InvalidInput):
            services.create_carried_service(line=films, offering=isp.streaming, at=at)
        ceased = services.cease(service=line, at=at)
        with pytest.raises(InvalidInput):
            services.create_carried_service(line=ceased, offering=isp.streaming, at=at)


class TestCeasing:
    def test_a_line_ends_with_all_that_hangs_on_it(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        line = factories.live_line(isp, ada, "films-streaming", at=at)
        services.cease(service=line, at=at + DAY)
        films = Service.objects.get(offering=isp.streaming)
        assert films.state == "ceased"
        assert spans(films) == [("active", at, at + DAY)]
        assert ServiceOrder.objects.get(service=films).state == "cancelled"
        assert not AaaCredential.objects.get(service=line).enabled
        assert AddressHolder.objects.get(service_ref=line.public_id).ended_at == at + DAY
        assert not AccessPort.objects.filter(service_ref=line.public_id).exists()
        assert ground.kinds()[-3:] == [
            "service.ceased", "service_order.cancelled", "service.ceased"
        ]  # fmt: skip

    def test_a_product_ends_alone(self, isp: SmallIsp, ada: Subscriber, at: datetime) -> None:
        line = factories.live_line(isp, ada, "films-streaming", at=at)
        films = Service.objects.get(offering=isp.streaming)
        services.cease(service=films, at=at + DAY)
        line.refresh_from_db()
        assert line.state == "active"
        assert line.credential.enabled
        assert AccessPort.objects.filter(service_ref=line.public_id).exists()

    def test_what_was_used_up_is_not_asked_back(
        self, isp: SmallIsp, line: Service, at: datetime
    ) -> None:
        """A film that was watched is not taken back when its service ends."""
        film = type(isp.streaming).objects.create(
            code="one-film", name="A film", kind="bsp", provider=isp.films, sold_from=at
        )
        service = services.create_carried_service(line=line, offering=film, at=at)
        asked = partner_orders.request_entitlement(
            line=line, service=service, offering=film, cause="pur_1", at=at
        )
        partner_orders.complete(service_order_id=asked.pk, partner=isp.films, at=at)
        services.cease(service=service, at=at)
        asked.refresh_from_db()
        assert asked.state == "completed"

    def test_what_was_not_delivered_yet_is(
        self, isp: SmallIsp, line: Service, at: datetime
    ) -> None:
        film = type(isp.streaming).objects.create(
            code="one-film", name="A film", kind="bsp", provider=isp.films, sold_from=at
        )
        service = services.create_carried_service(line=line, offering=film, at=at)
        asked = partner_orders.request_entitlement(
            line=line, service=service, offering=film, cause="pur_1", at=at
        )
        services.cease(service=service, at=at)
        asked.refresh_from_db()
        assert asked.state == "cancelled"


class TestPorts:
    def test_a_line_keeps_the_port_that_it_has(self, line: Service, at: datetime) -> None:
        port = AccessPort.objects.get(service_ref=line.public_id)
        assert services.take_port(line=line, at=at + DAY) == port

    def test_a_network_that_counts_none(self, isp: SmallIsp, ada: Subscriber, at: datetime) -> None:
        order = factories.order(ada, isp.oak_1, "dsl-25", at=at)
        line = order.items.get().service
        assert line is not None
        assert services.take_port(line=line, at=at) is None

    def test_the_last_one_is_gone(self, isp: SmallIsp, line: Service, at: datetime) -> None:
        services.cease(service=line, at=at)
        AccessPort.objects.filter(node=isp.fibre_node).delete()
        with pytest.raises(NoFreePort):
            services.take_port(line=line, at=at)

    def test_a_product_has_no_port(self, isp: SmallIsp, line: Service, at: datetime) -> None:
        films = services.create_carried_service(line=line, offering=isp.streaming, at=at)
        with pytest.raises(ValueError, match="is no access plan"):
            services.take_port(line=films, at=at)
