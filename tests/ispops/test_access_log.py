"""The web server's log and ours do not show what opens something for whoever reads them."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from django.conf import settings

from ispops import supervisor
from ispops.access_log import without_secrets
from tests.desk import until

SECRET = "s3cr3t-b9f1"
ADDRESSES = [
    f"/invitation/{SECRET}/",
    f"/accounts/password/reset/key/1a-{SECRET}/",
    f"/accounts/confirm-email/Mg:{SECRET}/",
    f"/waitlist/{SECRET}/leave/",
    f"/sms/reports?token={SECRET}",
    f"/sms/reports?id=7&TOKEN={SECRET}&state=delivered",
    f"/device/code/?user_code={SECRET}",
    f"/api/v1/usage?access_token={SECRET}",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_secret_part_of_an_address_is_hidden(address: str) -> None:
    shown = without_secrets(f'"GET {address} HTTP/1.1" 404')
    assert SECRET not in shown
    assert shown.startswith('"GET /')
    assert shown.endswith(' HTTP/1.1" 404')
    assert address.split(SECRET)[0].split("Mg")[0].split("1a-")[0] in shown


@pytest.mark.parametrize("address", ["/check/qlf_1/?address=1+Oak+St", "/waitlist/", "/orders/"])
def test_all_else_is_as_it_was(address: str) -> None:
    assert without_secrets(address) == address


def test_the_line_of_our_own_log() -> None:
    made = settings.LOGGING["formatters"]["line"]
    module, _, name = made["class"].rpartition(".")
    line = getattr(sys.modules[module], name)(made["format"])
    record = logging.LogRecord(
        "django.request", logging.WARNING, "x", 1, "Gone: %s", (ADDRESSES[0],), None
    )
    assert line.format(record).endswith("WARNING django.request Gone: /invitation/•••/")


@pytest.mark.xdist_group("processes")
def test_the_web_server_as_it_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        web = supervisor.programs(listener=listener, data_dir=tmp_path, demo=False)[0]
        command = [
            "ispops.benches.null_answer:application" if part == "ispops.wsgi:application" else part
            for part in web.command
        ]
        log = tmp_path / "log"
        with log.open("wb") as output, subprocess.Popen(
            command, pass_fds=(listener.fileno(),), stdout=output, stderr=output,
            cwd=Path(__file__).parents[2],
        ) as server:  # fmt: skip
            try:
                here = f"http://127.0.0.1:{listener.getsockname()[1]}"
                for address in ADDRESSES:
                    came_from = {"Referer": f"{here}{address}"}
                    requests.post(here + address, headers=came_from, timeout=30)
                until(lambda: log.read_text().count("POST") == len(ADDRESSES))
            finally:
                server.terminate()
    assert SECRET not in log.read_text()
    assert '"POST /invitation/•••/ HTTP/1.1" 200' in log.read_text()
