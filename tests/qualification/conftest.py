"""The demonstration's cable network, running once for all tests of this folder that ask it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.offnet import DemoNetwork


@pytest.fixture(scope="session")
def _running_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoNetwork]:
    from tests.offnet import demo_network

    with demo_network(tmp_path_factory.mktemp("network")) as network:
        yield network


@pytest.fixture
def network(_running_network: DemoNetwork) -> Iterator[DemoNetwork]:
    """The process, behaving well at the start and at the end of the test."""
    _running_network.misbehave("")
    yield _running_network
    _running_network.misbehave("")
