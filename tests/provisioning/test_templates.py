"""What each make of access server is told at login and live, in its own attributes."""

from __future__ import annotations

import pytest

from provisioning.in_force import Profile, Speed
from provisioning.network import coa, templates
from provisioning.network.templates import Attributes, Names, at_login, live

NAMES = Names(walled="walled", open="open")
PLAN = Speed(100_000, 20_000)
FASTER = Speed(500_000, 50_000)
KINDS = ["", "wispr", "mikrotik", "cisco", "juniper", "huawei", "nokia"]


def normal(speed: Speed = PLAN) -> Profile:
    return Profile(enabled=True, treatment="", speed=speed)


def walled(speed: Speed = PLAN) -> Profile:
    return Profile(enabled=True, treatment="walled_garden", speed=speed)


SPEEDS: dict[str, Attributes] = {
    "wispr": {"WISPr-Bandwidth-Max-Down": 100_000_000, "WISPr-Bandwidth-Max-Up": 20_000_000},
    "mikrotik": {"Mikrotik-Rate-Limit": "20000k/100000k"},
    "cisco": {
        "Cisco-AVPair": ["ip:sub-qos-policy-in=up-20000k", "ip:sub-qos-policy-out=down-100000k"]
    },
    "juniper": {"ERX-Service-Activate:1": "speed(100000k,20000k)"},
    "huawei": {
        "Huawei-Input-Average-Rate": 20_000_000,
        "Huawei-Output-Average-Rate": 100_000_000,
    },
    "nokia": {"Alc-SLA-Prof-Str": "speed-100000-20000"},
}
SPEEDS[""] = SPEEDS["wispr"] | SPEEDS["mikrotik"]
GARDENS: dict[str, Attributes] = {
    "wispr": {"Filter-Id": "walled"},
    "mikrotik": {"Mikrotik-Address-List": "walled"},
    "cisco": {"Filter-Id": "walled.in"},
    "juniper": {"ERX-Service-Activate:2": "walled"},
    "huawei": {"Filter-Id": "walled"},
    "nokia": {"Alc-SLA-Prof-Str": "walled"},
    "": {"Filter-Id": "walled", "Mikrotik-Address-List": "walled"},
}
LEAVING: dict[str, Attributes] = {
    "wispr": {"Filter-Id": "open"},
    "mikrotik": {"Mikrotik-Address-List": "open"},
    "cisco": {"Filter-Id": "open.in"},
    "juniper": {"ERX-Service-Deactivate": ["walled"]},
    "huawei": {"Filter-Id": "open"},
    "nokia": {},
    "": {"Filter-Id": "open", "Mikrotik-Address-List": "open"},
}


@pytest.mark.parametrize("kind", KINDS)
class TestEachKind:
    def test_at_login(self, kind: str) -> None:
        assert at_login(kind, normal(), NAMES) == SPEEDS[kind]
        assert at_login(kind, walled(), NAMES) == SPEEDS[kind] | GARDENS[kind]

    def test_a_change_of_speed_says_nothing_of_walls(self, kind: str) -> None:
        told = live(kind, normal(), normal(FASTER), NAMES)
        told.pop("ERX-Service-Deactivate", None)
        assert told == SPEEDS[kind]

    def test_into_the_walled_garden(self, kind: str) -> None:
        assert live(kind, walled(), normal(), NAMES) == SPEEDS[kind] | GARDENS[kind]

    def test_out_of_the_walled_garden(self, kind: str) -> None:
        assert live(kind, normal(), walled(), NAMES) == SPEEDS[kind] | LEAVING[kind]

    def test_what_a_session_has_may_not_be_known(self, kind: str) -> None:
        """Then it is led out of a walled garden that it may be in."""
        told = live(kind, normal(), None, NAMES)
        expected = SPEEDS[kind] | LEAVING[kind]
        if kind == "juniper":  # which refuses to end a service that does not run
            expected = SPEEDS[kind]
        assert told == expected

    def test_every_attribute_can_be_sent(self, kind: str) -> None:
        known = coa._dictionary().attributes
        for new, old in ((normal(), walled(FASTER)), (walled(), normal()), (normal(), None)):
            for name in live(kind, new, old, NAMES):
                assert name.partition(":")[0] in known


def test_juniper_ends_the_speed_that_it_had() -> None:
    told = live("juniper", normal(FASTER), normal(), NAMES)
    assert told == {
        "ERX-Service-Activate:1": "speed(500000k,50000k)",
        "ERX-Service-Deactivate": ["speed(100000k,20000k)"],
    }


@pytest.mark.parametrize(
    ("kbps", "bits"), [(4_294_967, 4_294_967_000), (4_294_968, 2**32 - 1), (10**7, 2**32 - 1)]
)
@pytest.mark.parametrize("kind", ["wispr", "huawei"])
def test_a_speed_beyond_32_bits_does_not_wrap(kind: str, kbps: int, bits: int) -> None:
    told = at_login(kind, normal(Speed(kbps, kbps)), NAMES)
    assert set(told.values()) == {bits}


def test_the_kinds_are_those_of_the_model() -> None:
    from provisioning.models import AccessServer

    assert {"", *AccessServer.Kind.values} == set(templates._SPEED) == set(templates._WALLED)
