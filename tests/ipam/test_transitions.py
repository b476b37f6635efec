"""The state table of over-allocation requests: everything that is not allowed is refused."""

import itertools

import pytest

from ipam import transitions

STATES = ("pending", "granted", "denied", "expired")
ALLOWED = {("pending", "granted"), ("pending", "denied"), ("pending", "expired")}


@pytest.mark.parametrize(("state", "following"), list(itertools.product(STATES, repeat=2)))
def test_a_request_is_decided_once(state: str, following: str) -> None:
    assert transitions.may_become(state, following) is ((state, following) in ALLOWED)
