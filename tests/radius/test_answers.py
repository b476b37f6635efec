"""What FreeRADIUS makes of each answer: `deploy/freeradius` against a stand-in application."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ispops.network import freeradius
from ispops.network.freeradius import FreeRadius
from provisioning import radius
from provisioning.in_force import Profile, Speed
from provisioning.network import templates
from tests.radius import nas
from tests.radius.conftest import require_freeradius
from tests.radius.fake_app import FakeApp

pytestmark = [pytest.mark.daemon, pytest.mark.xdist_group("processes")]

CLIENTS = {"127.0.0.1": f'client bng-1 {{\n\tipv4addr = 127.0.0.1\n\tsecret = "{nas.SECRET}"\n}}\n'}
LINE = {
    "control:Cleartext-Password": "swordfish",
    "reply:Framed-IP-Address": "100.64.0.7",
    "reply:Mikrotik-Rate-Limit": "20000k/100000k",
    "reply:Class": "svc_1.2",
}


@pytest.fixture(scope="module")
def app() -> Iterator[FakeApp]:
    with FakeApp().running() as app:
        yield app


@pytest.fixture(scope="module")
def server(app: FakeApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    require_freeradius()
    auth_port, acct_port = nas.free_ports()
    started = FreeRadius(
        tmp_path_factory.mktemp("freeradius") / "run",
        app_url=app.url,
        server=("north", "half%{User-Name}half"),
        database="host=127.0.0.1 port=1 dbname=none",
        password="",
        clients=CLIENTS,
        auth_port=auth_port,
        acct_port=acct_port,
    )
    started.start()
    yield started
    started.stop()


def ask(server: FreeRadius, *lines: str, **options: Any) -> nas.Heard:
    usual = ('User-Name = "ada"', *(lines or ('User-Password = "swordfish"',)))
    return nas.send(server.auth_port, "auth", *usual, **options)


def test_an_access_server_that_is_registered_later_is_known_at_once(
    server: FreeRadius, app: FakeApp
) -> None:
    app.answer(200, radius.reply(LINE))
    from_there = ('User-Password = "swordfish"', "Packet-Src-IP-Address = 127.0.0.2")
    assert ask(server, *from_there, seconds=1) == nas.Heard("")
    made = f'client bng-2 {{\n\tipv4addr = 127.0.0.2\n\tsecret = "{nas.SECRET}"\n}}\n'
    assert freeradius.write_clients(server.clients_folder, CLIENTS | {"127.0.0.2": made}) == [
        "127.0.0.2"
    ]
    assert ask(server, *from_there).kind == "Access-Accept"
    assert ask(server).kind == "Access-Accept", "those that were known are"


def test_what_the_application_says_is_passed_on(server: FreeRadius, app: FakeApp) -> None:
    app.answer(200, radius.reply(LINE))
    heard = ask(server)
    assert (heard.kind, heard.values) == (
        "Access-Accept",
        {
            "Framed-IP-Address": "100.64.0.7",
            "Mikrotik-Rate-Limit": "20000k/100000k",
            "Class": "0x" + b"svc_1.2".hex(),
        },
    )


def test_a_reject_leaks_nothing(server: FreeRadius, app: FakeApp) -> None:
    """FreeRADIUS itself refuses the password, after it was told address, speed and class."""
    app.answer(200, radius.reply(LINE | {"reply:Reply-Message": "Welcome"}))
    heard = ask(server, 'User-Password = "wrong"')
    assert (heard.kind, heard.values) == ("Access-Reject", {"Reply-Message": "Welcome"})


def test_the_words_of_a_reject_are_passed_on(server: FreeRadius, app: FakeApp) -> None:
    app.answer(401, radius.reply({"reply:Reply-Message": "This line is suspended."}))
    heard = ask(server)
    assert heard.kind == "Access-Reject"
    assert heard.values == {"Reply-Message": "This line is suspended."}


@pytest.mark.parametrize("status", [400, 403, 404, 413, 429, 500, 502, 503])
def test_a_fault_is_no_reject(server: FreeRadius, app: FakeApp, status: int) -> None:
    app.answer(status, "Something is wrong here.")
    assert ask(server, seconds=1) == nas.Heard("")


def test_an_application_that_hangs_is_no_reject(server: FreeRadius, app: FakeApp) -> None:
    app.answer(200, radius.reply(LINE), seconds=4)
    assert ask(server, seconds=4.5) == nas.Heard("")


def test_an_answer_that_says_no_password_lets_nobody_in(server: FreeRadius, app: FakeApp) -> None:
    app.answer(200, radius.reply({"reply:Framed-IP-Address": "100.64.0.7"}))
    assert ask(server) == nas.Heard("Access-Reject")


def test_whoever_shows_no_password_is_not_even_asked_for(server: FreeRadius, app: FakeApp) -> None:
    app.answer(200, radius.reply(LINE))
    asked = len(app.asked)
    assert ask(server, "NAS-Port = 1") == nas.Heard("Access-Reject")
    assert len(app.asked) == asked


SPEEDS = {
    "": {"WISPr-Bandwidth-Max-Down", "WISPr-Bandwidth-Max-Up", "Mikrotik-Rate-Limit"},
    "wispr": {"WISPr-Bandwidth-Max-Down", "WISPr-Bandwidth-Max-Up"},
    "mikrotik": {"Mikrotik-Rate-Limit"},
    "cisco": {"Cisco-AVPair"},
    "juniper": {"ERX-Service-Activate:1"},
    "huawei": {"Huawei-Input-Average-Rate", "Huawei-Output-Average-Rate"},
    "nokia": {"Alc-SLA-Prof-Str"},
}


@pytest.mark.parametrize("kind", SPEEDS)
def test_each_make_hears_its_own_words(server: FreeRadius, app: FakeApp, kind: str) -> None:
    """FreeRADIUS knows the attributes of every make, and passes on each value of several."""
    names = templates.Names(walled="walled", open="open")
    profile = Profile(enabled=True, treatment="", speed=Speed(100_000, 20_000))
    told = templates.at_login(kind, profile, names)
    app.answer(
        200,
        radius.reply(
            {"control:Cleartext-Password": "swordfish"}
            | {f"reply:{name}": value for name, value in told.items()}
        ),
    )
    heard = ask(server)
    assert heard.kind == "Access-Accept"
    assert heard.values.keys() == SPEEDS[kind]
    if kind == "cisco":
        assert heard.several["Cisco-AVPair"] == told["Cisco-AVPair"]


class TestExpansion:
    """`%{...}` in a value is executed by FreeRADIUS unless it is told not to."""

    TRAP = "a%{User-Name}b"

    def test_what_we_say_is_not_expanded(self, server: FreeRadius, app: FakeApp) -> None:
        app.answer(200, radius.reply(LINE | {"reply:Reply-Message": self.TRAP}))
        assert ask(server).values["Reply-Message"] == self.TRAP

    def test_without_our_care_it_would_be(self, server: FreeRadius, app: FakeApp) -> None:
        careless = {"reply:Reply-Message": {"value": [self.TRAP]}}
        app.answer(200, radius.reply(LINE) | careless)
        assert ask(server).values["Reply-Message"] == "aadab"

    def test_what_a_subscriber_says_is_not_expanded(self, server: FreeRadius, app: FakeApp) -> None:
        app.answer(200, radius.reply(LINE))
        ask(server, 'User-Password = "swordfish"', f'Calling-Station-Id = "{self.TRAP}"')
        assert app.asked[-1]["Calling-Station-Id"]["value"] == [self.TRAP]


class TestChap:
    def test_the_challenge_comes_with_the_request(self, server: FreeRadius, app: FakeApp) -> None:
        """Without it nobody but FreeRADIUS could tell a right password from a wrong one."""
        app.answer(200, radius.reply(LINE))
        assert ask(server, 'CHAP-Password = "swordfish"').kind == "Access-Accept"
        sent = radius.Attributes.of(app.asked[-1])
        assert len(sent.text("CHAP-Challenge")) == len("0x") + 32
        assert radius.chap_fits(sent, "swordfish")
        assert not radius.chap_fits(sent, "swordfisch")

    def test_a_challenge_of_its_own_is_kept(self, server: FreeRadius, app: FakeApp) -> None:
        ask(server, "CHAP-Password = 0x01" + "ab" * 16, "CHAP-Challenge = 0x0102030405060708")
        sent = radius.Attributes.of(app.asked[-1])
        assert sent.text("CHAP-Challenge") == "0x0102030405060708"


def test_a_wrong_shared_secret_gets_no_answer(server: FreeRadius, app: FakeApp) -> None:
    app.answer(200, radius.reply(LINE))
    heard = nas.send(
        server.acct_port, "acct", "Acct-Status-Type = Start", 'Acct-Session-Id = "s"',
        secret="another-secret-altogether", seconds=1,
    )  # fmt: skip
    assert heard == nas.Heard("")


def test_our_own_secret_is_not_expanded(server: FreeRadius, app: FakeApp) -> None:
    app.answer(200, radius.reply(LINE))
    ask(server)
    assert app.logins[-1] == "north:half%{User-Name}half"
