"""What others must not change without our noticing."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.architecture import rooms


def test_oauthlib_has_the_device_grant_that_works() -> None:
    """With 4.0.1 the device grant answers 500: `validate_device_code` is missing there."""
    assert version("oauthlib") == "4.0.0"


@pytest.mark.xdist_group("pins")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_tests_that_must_share_a_process_do(request: pytest.FixtureRequest) -> None:
    """pytest 9.2 with pytest-xdist 3.8 takes no notice of groups, and says nothing."""
    assert request.node.nodeid.endswith("@pins")


def test_the_contract_of_the_api_is_the_committed_one(tmp_path: Path) -> None:
    fresh = tmp_path / "openapi.yaml"
    call_command("spectacular", file=str(fresh), validate=True, fail_on_warn=True)
    committed = rooms.REPOSITORY / "ispops" / "openapi.yaml"
    assert fresh.read_text() == committed.read_text(), "if you meant this change: make openapi"


def test_every_requirement_is_pinned() -> None:
    lines = (rooms.REPOSITORY / "requirements.txt").read_text().splitlines()
    wanted = [line.split("#")[0].strip() for line in lines]
    assert [line for line in wanted if line and "==" not in line] == []
