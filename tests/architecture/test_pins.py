"""What others must not change without our noticing."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from django.core.management import call_command

from tests.architecture import rooms


def test_oauthlib_has_the_device_grant_that_works() -> None:
    """With 4.0.1 the device grant answers 500: `validate_device_code` is missing there."""
    assert version("oauthlib") == "4.0.0"


def test_the_contract_of_the_api_is_the_committed_one(tmp_path: Path) -> None:
    fresh = tmp_path / "openapi.yaml"
    call_command("spectacular", file=str(fresh), validate=True, fail_on_warn=True)
    committed = rooms.REPOSITORY / "ispops" / "openapi.yaml"
    assert fresh.read_text() == committed.read_text(), "if you meant this change: make openapi"


def test_every_requirement_is_pinned() -> None:
    lines = (rooms.REPOSITORY / "requirements.txt").read_text().splitlines()
    wanted = [line.split("#")[0].strip() for line in lines]
    assert [line for line in wanted if line and "==" not in line] == []
