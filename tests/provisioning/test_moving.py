"""Moving a line and changing its network: overlap and gap, what goes along, what cannot be."""

from datetime import datetime, timedelta

import pytest

from ipam.models import AddressHolder
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import Subscriber, User
from provisioning import orders
from provisioning.models import AaaCredential, ProductOrder, Service, ServiceOrder
from provisioning.moving import SameNetwork
from provisioning.placing import ChangeUnderWay, OnlyForStaff
from qualification.models import AccessPort, Premises
from qualification.ports import NoFreePort
from qualification.qualify import OfferNotQualified
from tests import factories
from tests.provisioning import ground, later
from tests.provisioning.later import change_provider, move, periods
from tests.small_isp import SmallIsp, place

DAY = timedelta(days=1)


@pytest.fixture
def oak_3(isp: SmallIsp) -> Premises:
    return place("3 OAK ST")


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    return factories.live_line(isp, ada, "films-streaming", at=at)


def work(order: ProductOrder, at: datetime, **how: bool) -> str:
    factories.work(at=at, **how)
    order.refresh_from_db()
    return order.state


def new_line(order: ProductOrder) -> Service:
    service = order.items.get(action="add", offering__kind="access").service
    assert service is not None
    return service


def has_port(line: Service) -> bool:
    return AccessPort.objects.filter(service_ref=line.public_id).exists()


class TestMoving:
    def test_the_old_line_ends_when_the_new_one_is_live(
        self, isp: SmallIsp, line: Service, oak_3: Premises, at: datetime
    ) -> None:
        films = Service.objects.get(offering=isp.streaming)
        order = move(line, oak_3, at + DAY)
        assert set(order.items.values_list("action", "offering__code")) == {
            ("add", "fibre-500"), ("no_change", "films-streaming"), ("delete", "fibre-500")
        }  # fmt: skip
        new = new_line(order)
        assert (new.state, new.premises, has_port(new), has_port(line)) == (
            "reserved", oak_3, True, True
        )  # fmt: skip
        assert work(order, at + 2 * DAY) == "completed"
        line.refresh_from_db()
        films.refresh_from_db()
        assert (line.state, films.state, films.line, films.premises) == (
            "ceased", "active", new, oak_3
        )  # fmt: skip
        assert (has_port(new), has_port(line)) == (True, False)
        assert AddressHolder.objects.get(service_ref=line.public_id).ended_at
        assert len(periods(films)) == 1
        assert ServiceOrder.objects.get(offering=isp.streaming).state == "completed"
        logins = {login.service_id: login for login in AaaCredential.objects.all()}
        assert (logins[line.pk].enabled, logins[new.pk].enabled) == (False, True)
        assert logins[line.pk].username != logins[new.pk].username

    def test_both_lines_for_a_time(self, line: Service, oak_3: Premises, at: datetime) -> None:
        order = move(line, oak_3, at, wanted_from=at + 6 * DAY, old_line_until=at + 20 * DAY)
        assert work(order, at) == "in_progress"
        assert ground.states(order)["create_credentials"] == "completed"
        assert ground.step(order, "go_live").next_attempt_at == at + 6 * DAY
        assert new_line(order).state == "reserved"
        work(order, at + 6 * DAY)
        line.refresh_from_db()
        assert (new_line(order).state, line.state) == ("active", "active")
        assert work(order, at + 19 * DAY) == "in_progress"
        assert work(order, at + 20 * DAY) == "completed"
        line.refresh_from_db()
        assert (line.state, periods(line)[-1][3]) == ("ceased", at + 20 * DAY)

    def test_a_gap(self, isp: SmallIsp, line: Service, oak_3: Premises, at: datetime) -> None:
        """The products wait with the new line, which is not there yet."""
        order = move(line, oak_3, at, wanted_from=at + 10 * DAY, old_line_until=at + 3 * DAY)
        work(order, at + 3 * DAY)
        line.refresh_from_db()
        films = Service.objects.get(offering=isp.streaming)
        new = new_line(order)
        assert (line.state, new.state, films.line, films.state) == (
            "ceased", "reserved", new, "active"
        )  # fmt: skip
        assert work(order, at + 10 * DAY) == "completed"
        assert new_line(order).state == "active"

    def test_whoever_we_suspended_stays_so_on_the_new_line(
        self, line: Service, oak_3: Premises, at: datetime
    ) -> None:
        """Or a move would lift what was done for abuse."""
        work(later.suspend(line, at, "abuse", note="Call us"), at)
        work(later.suspend(line, at), at)
        new = new_line(order := move(line, oak_3, at + DAY))
        assert work(order, at + 2 * DAY) == "completed"
        new.refresh_from_db()
        assert new.state == "suspended"
        assert list(new.suspensions.values_list("reason", "treatment", "note", "ended_at")) == [
            ("abuse", "block", "Call us", None)
        ]
        with pytest.raises(OnlyForStaff):
            later.resume(new, at + 2 * DAY, "abuse", placed_by=line.subscriber.users.get())
        work(later.resume(new, at + 3 * DAY, "abuse"), at + 3 * DAY)
        new.refresh_from_db()
        assert new.state == "active"

    @pytest.mark.parametrize(("suspended_on_day", "old_ends_on_day"), [(1, 3), (1, 20), (8, 20)])
    def test_also_with_a_gap_and_when_suspended_meanwhile(
        self, line: Service, oak_3: Premises, at: datetime, suspended_on_day: int,
        old_ends_on_day: int,
    ) -> None:  # fmt: skip
        order = move(
            line, oak_3, at, wanted_from=at + 6 * DAY, old_line_until=at + old_ends_on_day * DAY
        )
        for day in range(22):
            if day == suspended_on_day:
                later.suspend(line, at + day * DAY, "non_payment", treatment="walled_garden")
            work(order, at + day * DAY)
        assert (order.state, new_line(order).state) == ("completed", "suspended")
        login = AaaCredential.objects.get(service=new_line(order))
        assert (login.enabled, login.treatment) == (True, "walled_garden")

    def test_with_another_plan_and_other_products(
        self, isp: SmallIsp, line: Service, at: datetime
    ) -> None:
        order = move(line, isp.elm_1, at, plan_code="dsl-6", remove=["films-streaming"])
        assert work(order, at, answer_partners=False) == "in_progress"
        assert ServiceOrder.objects.get(state="acknowledged").offering == isp.slow_dsl
        assert work(order, at + DAY) == "completed"
        assert new_line(order).offering == isp.slow_dsl
        assert Service.objects.get(offering=isp.streaming).state == "ceased"

    def test_a_boost_ends_and_what_was_bought_meanwhile_goes_along(
        self, isp: SmallIsp, ada: Subscriber, oak_3: Premises, at: datetime
    ) -> None:
        from provisioning import services

        addon = later.boost()
        line = factories.live_line(isp, ada, "boost", at=at)
        order = move(line, oak_3, at)
        bought = services.create_carried_service(line=line, offering=isp.streaming, at=at)
        services.activate(service=bought, at=at)
        assert work(order, at) == "completed"
        bought.refresh_from_db()
        assert (bought.line, bought.state) == (new_line(order), "active")
        assert Service.objects.get(offering=addon).state == "ceased"

    def test_cancelled_in_time_the_old_line_goes_on(
        self, line: Service, oak_3: Premises, otto: User, at: datetime
    ) -> None:
        order = move(line, oak_3, at, wanted_from=at + DAY)
        work(order, at)
        orders.cancel_order(order_id=order.pk, actor=otto, reason="Stays", at=at)
        work(order, at + DAY)
        line.refresh_from_db()
        new = new_line(order)
        assert (line.state, has_port(line), new.state, has_port(new)) == (
            "active", True, "ceased", False
        )  # fmt: skip
        assert line.carried.get().state == "active"

    def test_after_the_old_line_has_ended_only_we_give_up(
        self, line: Service, oak_3: Premises, otto: User, at: datetime
    ) -> None:
        order = move(line, oak_3, at, wanted_from=at + 9 * DAY, old_line_until=at + DAY)
        work(order, at + DAY)
        with pytest.raises(orders.TooLateToCancel):
            orders.cancel_order(order_id=order.pk, actor=otto, reason="Stays", at=at + DAY)
        orders.fail_order(order_id=order.pk, actor=otto, reason="Cannot be built", at=at + DAY)
        assert ground.states(order)["cease_service"] == "completed"
        assert set(Service.objects.values_list("state", flat=True)) == {"ceased"}


class TestAnotherNetwork:
    def test_it_takes_the_place_of_the_old_one(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        factories.order(ada, isp.oak_1, "dsl-25", "films-streaming", at=at)
        factories.work(at=at)
        line = Service.objects.get(offering=isp.dsl)
        order = change_provider(line, "fibre-500", at + DAY)
        assert order.intent == "provider_change"
        assert work(order, at + DAY) == "completed"
        new = new_line(order)
        assert (new.offering, new.premises, new.state) == (isp.fast, line.premises, "active")
        assert new.carried.get().offering == isp.streaming
        line.refresh_from_db()
        assert line.state == "ceased"
        assert ServiceOrder.objects.get(kind="line").state == "cancelled"

    def test_the_same_network_is_a_change_of_plan(self, line: Service, at: datetime) -> None:
        with pytest.raises(SameNetwork):
            change_provider(line, "fibre-and-films", at)


class TestRefusals:
    def refused(self, why: type[Refusal], words: str, line: Service, to: Premises, at: datetime,
                **wanted: object) -> None:  # fmt: skip
        factories.qualified(to, at=at)
        before = ground.rows()
        with pytest.raises(why, match=words):
            move(line, to, at, **wanted)
        assert ground.rows() == before

    def test_what_makes_no_sense(
        self, isp: SmallIsp, line: Service, oak_3: Premises, at: datetime
    ) -> None:
        self.refused(InvalidInput, "at this address already", line, isp.oak_1, at)
        self.refused(OfferNotQualified, "cannot be delivered", line, isp.elm_1, at)
        self.refused(InvalidInput, "from today on", line, oak_3, at, old_line_until=at - DAY)
        self.refused(OfferNotQualified, "Films needs 25", line, isp.elm_1, at, plan_code="dsl-6")

    def test_the_last_port_is_gone(self, line: Service, oak_3: Premises, at: datetime) -> None:
        answer = factories.qualified(oak_3, at=at)
        for port in AccessPort.objects.filter(service_ref__isnull=True):
            AccessPort.objects.filter(pk=port.pk).update(service_ref=f"x{port.pk}", taken_at=at)
        from provisioning import moving

        before = ground.rows()
        with pytest.raises(NoFreePort):
            moving.move_line(**later.asked(line, at, qualification=answer))
        assert ground.rows() == before

    def test_one_change_at_a_time_and_a_repeat_is_none(
        self, line: Service, oak_3: Premises, at: datetime
    ) -> None:
        from provisioning import moving

        answer = factories.qualified(oak_3, at=at)
        wanted = later.asked(line, at, qualification=answer, idempotency_key="k")
        first = moving.move_line(**wanted)
        assert moving.move_line(**wanted) == first
        with pytest.raises(ChangeUnderWay):
            moving.move_line(**wanted | {"idempotency_key": "l"})
