"""`isp login`, `logout`, `register`, `order` and `status` as processes, against a told server."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.client.conftest import Server
from tests.client.test_command import ISP, answer, offer

DEVICE = {
    "device_code": "dev-1", "user_code": "ABCD-EFGH", "verification_uri": "http://x/device",
    "verification_uri_complete": "http://x/device?code=ABCD-EFGH", "expires_in": 30,
    "interval": 0.1,
}  # fmt: skip
TOKEN = {"access_token": "tok-1", "refresh_token": "ref-1", "expires_in": 3600}
TERMS = {"version": "2026-11", "published_at": "2026-11-01T00:00:00Z", "text": "## Leaving"}
ORDER = {
    "id": "ord_1", "state": "completed", "expected_at": "2026-12-25T12:00:00Z",
    "items": [{"name": "Glass 1500"}],
    "steps": [{"words": "Switch your line on", "state": "completed", "status": "Done"}],
}  # fmt: skip


def isp(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ISP, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        env={
            **os.environ, "COLUMNS": "100", "PYTHONPATH": "", "ISP_CONFIG_DIR": str(home / "isp"),
            **environment,
        },
    )  # fmt: skip


def keep(home: Path, url: str, **changes: Any) -> Path:
    kept = {"access_token": "tok-1", "refresh_token": "ref-1", "expires_at": time.time() + 999}
    (home / "isp").mkdir(exist_ok=True)
    file = home / "isp" / "tokens.json"
    file.write_text(json.dumps({url: kept | changes}))
    return file


class TestLogin:
    def test_it_waits_for_a_yes_in_the_browser(self, server: Server, tmp_path: Path) -> None:
        server.reply(200, DEVICE)
        server.reply(400, {"error": "authorization_pending"})
        server.reply(200, TOKEN)
        done = isp(tmp_path, "login", "--server", f"{server.url}/")
        assert (done.returncode, done.stderr) == (0, "")
        assert "ABCD-EFGH" in done.stdout
        assert "http://x/device?code=ABCD-EFGH" in done.stdout
        file = tmp_path / "isp" / "tokens.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert json.loads(file.read_text())[server.url]["access_token"] == "tok-1"
        assert [path for _, path, _ in server.forms] == [
            "/identity/o/api/device/code", "/identity/o/api/token", "/identity/o/api/token",
        ]  # fmt: skip
        assert "password" not in str(server.forms)

    @pytest.mark.parametrize(
        ("error", "words"), [("access_denied", "You said no"), ("expired_token", "has run out")]
    )
    def test_a_no_is_said(self, server: Server, tmp_path: Path, error: str, words: str) -> None:
        server.reply(200, DEVICE)
        server.reply(400, {"error": error})
        done = isp(tmp_path, "login", "--server", server.url)
        assert done.returncode == 2
        assert words in done.stderr
        assert not (tmp_path / "isp").exists()

    def test_a_token_goes_over_no_open_network(self, tmp_path: Path) -> None:
        done = isp(tmp_path, "login", "--server", "http://isp.example")
        assert done.returncode == 2
        assert "needs https" in done.stderr

    def test_a_server_that_is_away(self, tmp_path: Path) -> None:
        assert isp(tmp_path, "login", "--server", "http://127.0.0.1:9").returncode == 4

    def test_an_old_token_is_renewed(self, server: Server, tmp_path: Path) -> None:
        file = keep(tmp_path, server.url, expires_at=time.time() - 5)
        server.reply(200, TOKEN | {"access_token": "tok-2", "refresh_token": "ref-2"})
        server.reply(200, [])
        server.reply(200, {"items": []})
        assert isp(tmp_path, "status", "--server", server.url).returncode == 0
        assert json.loads(file.read_text())[server.url]["refresh_token"] == "ref-2"

    def test_one_that_cannot_be_renewed_is_forgotten(self, server: Server, tmp_path: Path) -> None:
        file = keep(tmp_path, server.url, expires_at=time.time() - 5)
        server.reply(400, {"error": "invalid_grant"})
        done = isp(tmp_path, "status", "--server", server.url)
        assert done.returncode == 5
        assert "Your login has ended. Run: isp login" in done.stderr
        assert json.loads(file.read_text()) == {}

    def test_without_a_login(self, server: Server, tmp_path: Path) -> None:
        server.reply(401, {"detail": "Authentication credentials were not provided."})
        done = isp(tmp_path, "register", "1 Oak St", "--server", server.url)
        assert done.returncode == 5
        assert "isp login" in done.stderr

    def test_signing_out_revokes_what_was_kept(self, server: Server, tmp_path: Path) -> None:
        keep(tmp_path, server.url)
        server.reply(200, b"")
        server.reply(200, b"")
        assert "signed out" in isp(tmp_path, "logout", "--server", server.url).stdout
        assert len(server.forms) == 2
        assert "Nobody" in isp(tmp_path, "logout", "--server", server.url).stdout


class TestRegister:
    ALL = (
        "--plan",
        "glass-1500",
        "--name",
        "Nora",
        "--pay",
        "invoice",
        "--accept-terms",
        "2026-11",
    )

    def test_everything_given_is_ordered(self, server: Server, tmp_path: Path) -> None:
        keep(tmp_path, server.url)
        server.reply(200, [])
        server.reply(201, answer())
        server.reply(200, [{"kind": "invoice", "name": "Invoice"}])
        server.reply(201, {"id": "reg_1", "order": "ord_1"})
        server.reply(200, ORDER)
        done = isp(tmp_path, "register", "1 Oak St", *self.ALL, "--server", server.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Your order is placed" in done.stdout
        assert "Switch your line on" in done.stdout
        sent = next(body for _, path, body in server.asked if path.endswith("/registrations"))
        assert sent == {
            "qualification": "qlf_1", "offering_codes": ["glass-1500"], "name": "Nora",
            "payment_kind": "invoice", "terms_version": "2026-11", "is_another_person": False,
        }  # fmt: skip

    def test_a_login_with_an_account_may_say_how_it_pays_alone(
        self, server: Server, tmp_path: Path
    ) -> None:
        keep(tmp_path, server.url)
        server.reply(200, [{"id": "sub_1", "name": "Nora", "terms_to_accept": False}])
        server.reply(201, answer())
        server.reply(200, [{"kind": "invoice", "name": "Invoice"}])
        server.reply(200, TERMS)
        server.reply(201, {"id": "reg_1", "order": "ord_1"})
        given = ("--plan", "glass-1500", "--pay", "invoice", "--no-wait")
        done = isp(tmp_path, "register", "1 Oak St", *given, "--server", server.url)
        assert (done.returncode, done.stderr) == (0, "")
        sent = next(body for _, path, body in server.asked if path.endswith("/registrations"))
        assert sent["payment_kind"] == "invoice"
        assert "name" not in sent

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ((), "--plan CODE"),
            (("--plan", "glass-1500"), "--name NAME"),
            (("--plan", "glass-1500", "--name", "N"), "--pay invoice"),
            (("--plan", "glass-1500", "--name", "N", "--pay", "invoice"), "--accept-terms 2026-11"),
            (("--plan", "nothing"), "cannot have nothing; it can have glass-1500 ("),
        ],
    )
    def test_what_is_not_given_is_named(
        self,
        server: Server,
        tmp_path: Path,
        given: tuple[str, ...],
        words: str,
    ) -> None:
        keep(tmp_path, server.url)
        server.reply(200, [])
        server.reply(201, answer())
        server.reply(200, [{"kind": "invoice", "name": "Invoice"}])
        server.reply(200, TERMS)
        done = isp(tmp_path, "register", "1 Oak St", *given, "--server", server.url)
        assert done.returncode == 2
        assert words in done.stderr
        assert not [path for _, path, _ in server.asked if path.endswith("/registrations")]

    def test_an_answer_that_is_lost_is_asked_for_with_the_same_key(
        self,
        server: Server,
        tmp_path: Path,
    ) -> None:
        keep(tmp_path, server.url)
        account = {"terms_to_accept": None, "name": "N", "id": "sub_1", "standing": "good"}
        server.reply(200, [account | {"pays_by": "Invoice"}])
        server.reply(200, answer())
        server.reply(200, TERMS)
        for _ in range(2):
            server.reply(502, b"bad gateway")
        server.reply(201, {"id": "reg_1", "order": "ord_1"})
        done = isp(
            tmp_path, "register", "--qualification", "qlf_1", "--plan", "glass-1500", "--json",
            "--server", server.url,
        )  # fmt: skip
        assert (done.returncode, json.loads(done.stdout)["id"]) == (0, "reg_1")
        keys = [
            key
            for (_, path, _), key in zip(server.asked, server.keys, strict=True)
            if path.endswith("/registrations")
        ]
        assert len(keys) == 3
        assert len(set(keys)) == 1

    def test_a_refusal_is_said(self, server: Server, tmp_path: Path) -> None:
        keep(tmp_path, server.url)
        server.reply(200, [])
        server.reply(201, answer())
        server.reply(200, [{"kind": "invoice", "name": "Invoice"}])
        problem = {"type": "/problems/no_free_port", "title": "x", "detail": "The last is taken."}
        server.reply(409, problem)
        done = isp(tmp_path, "register", "1 Oak St", *self.ALL, "--server", server.url)
        assert done.returncode == 2
        assert "The last is taken." in done.stderr

    def test_a_place_that_cannot_be_served(self, server: Server, tmp_path: Path) -> None:
        keep(tmp_path, server.url)
        server.reply(200, [])
        server.reply(201, answer("not_qualified", offers=[offer("x", eligible=False)]))
        done = isp(tmp_path, "register", "1 Oak St", *self.ALL, "--server", server.url)
        assert done.returncode == 1


@pytest.mark.parametrize(("state", "code"), [("completed", 0), ("failed", 1), ("in_progress", 3)])
def test_the_exit_code_tells_how_an_order_stands(
    server: Server,
    tmp_path: Path,
    state: str,
    code: int,
) -> None:
    keep(tmp_path, server.url)
    server.reply(200, ORDER | {"state": state})
    done = isp(tmp_path, "order", "ord_1", "--no-wait", "--server", server.url)
    assert done.returncode == code, done.stderr
    assert f"{server.url}/orders/ord_1/" in done.stdout
