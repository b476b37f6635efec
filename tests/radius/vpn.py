"""A real access server and a real subscriber on one machine: ocserv, and openconnect in a network
namespace of its own. They need root, two Debian packages and a kernel that lets us."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ispops import processes
from ispops.network import freeradius
from tests.radius import nas

PACKAGES = ("ocserv", "openconnect", "iproute2", "iputils-ping", "openssl")
PROGRAMS = ("ocserv", "openconnect", "ip", "ping", "openssl")
NAMESPACE, CABLE = "ispops-vpn", "ispopsvpn"
LOCK = Path(tempfile.gettempdir()) / "ispops-vpn.lock"
# Ranges that tests may use (RFC 2544); the pool of addresses comes from the product.
HERE, THERE = "198.19.250.1", "198.19.250.2"
PORT = 4443


def missing() -> str:
    """Say why it cannot be tried on this machine; empty when it can."""
    if os.geteuid():
        return "only root may make a network namespace"
    if not all(map(freeradius.find, PROGRAMS)):
        freeradius.install(*PACKAGES)
    absent = [program for program in PROGRAMS if not freeradius.find(program)]
    if absent:
        return f"{', '.join(absent)} cannot be found: install the packages {' '.join(PACKAGES)}"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    probe = run("ip", "netns", "add", f"probe-{os.getpid()}", check=False)
    if probe.returncode:
        return f"this machine makes no network namespace ({probe.stderr.strip()})"
    run("ip", "netns", "del", f"probe-{os.getpid()}")
    return ""


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    program = freeradius.find(command[0])
    assert program is not None, command
    done = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, timeout=30, check=False
    )
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done


@contextlib.contextmanager
def namespace() -> Iterator[str]:
    """A namespace that a cable joins to this machine; `HERE` and `THERE` are its two ends.

    The addresses and names are the same for all: another run of the tests on this machine waits.
    """
    with LOCK.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _take_away()  # what a killed run has left
        try:
            run("ip", "netns", "add", NAMESPACE)
            run("ip", "link", "add", CABLE, "type", "veth", "peer", "name", f"{CABLE}1")
            run("ip", "link", "set", f"{CABLE}1", "netns", NAMESPACE)
            run("ip", "addr", "add", f"{HERE}/30", "dev", CABLE)
            run("ip", "link", "set", CABLE, "up")
            inside = ("ip", "netns", "exec", NAMESPACE, "ip")
            run(*inside, "addr", "add", f"{THERE}/30", "dev", f"{CABLE}1")
            run(*inside, "link", "set", f"{CABLE}1", "up")
            run(*inside, "link", "set", "lo", "up")
            yield NAMESPACE
        finally:
            _take_away()


def _take_away() -> None:
    run("ip", "netns", "del", NAMESPACE, check=False)
    run("ip", "link", "del", CABLE, check=False)


@contextlib.contextmanager
def access_server(folder: Path, *, auth_port: int, acct_port: int) -> Iterator[str]:
    """An ocserv that asks the RADIUS server on this machine; gives the pin of its certificate."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-keyout", str(key), "-out", str(certificate), "-subj", f"/CN={HERE}")  # fmt: skip
    servers, client = folder / "servers", folder / "radiusclient.conf"
    servers.write_text(f"127.0.0.1 {nas.SECRET}\n")
    client.write_text(
        f"nas-identifier ocserv\nauthserver 127.0.0.1:{auth_port}\n"
        f"acctserver 127.0.0.1:{acct_port}\nservers {servers}\n"
        "dictionary /etc/radcli/dictionary\nradius_timeout 10\nradius_retries 3\nbindaddr *\n"
    )
    settings = folder / "ocserv.conf"
    settings.write_text(
        f'auth = "radius[config={client},groupconfig=true]"\nacct = "radius[config={client}]"\n'
        f"listen-host = {HERE}\ntcp-port = {PORT}\nrun-as-user = root\nrun-as-group = root\n"
        f"socket-file = {folder}/ocserv.socket\nserver-cert = {certificate}\n"
        f"server-key = {key}\nisolate-workers = false\nmax-clients = 4\nmax-same-clients = 2\n"
        f"device = vpns\nipv4-network = 100.64.0.0\nipv4-netmask = 255.255.255.0\n"
        f"pid-file = {folder}/ocserv.pid\nuse-occtl = false\nping-leases = false\n"
        "route = 100.64.0.0/255.255.255.0\n"
    )
    program = freeradius.find("ocserv")
    assert program is not None
    with (folder / "ocserv.log").open("wb") as log:
        child = processes.spawn(
            [program, "-f", "-d", "2", "-c", str(settings)], output=log, environment=os.environ
        )
    try:
        yield _pin(certificate)
    finally:
        processes.stop(child, (signal.SIGTERM, 10), (signal.SIGKILL, 5))


def _pin(certificate: Path) -> str:
    public = f"openssl x509 -in {certificate} -pubkey -noout | openssl pkey -pubin -outform der"
    made = subprocess.run(
        ["sh", "-c", f"{public} | openssl dgst -sha256 -binary | openssl enc -base64"],
        capture_output=True,
        text=True,
        check=True,
    )
    return f"pin-sha256:{made.stdout.strip()}"


@contextlib.contextmanager
def subscriber(
    folder: Path, namespace: str, *, pin: str, username: str, password: str
) -> Iterator[Path]:
    """An openconnect in the namespace; gives the file with the address that it was given."""
    given, script = folder / "given", folder / "script"
    script.write_text(
        '#!/bin/sh\n[ "$reason" = connect ] || exit 0\n'
        'ip link set dev "$TUNDEV" up mtu 1300\n'
        'ip addr add "$INTERNAL_IP4_ADDRESS/32" dev "$TUNDEV"\n'
        'ip route add 100.64.0.0/24 dev "$TUNDEV"\n'
        f'echo "$INTERNAL_IP4_ADDRESS" >{given}.new && mv {given}.new {given}\n'
    )
    script.chmod(0o755)
    ip, program = freeradius.find("ip"), freeradius.find("openconnect")
    assert ip is not None
    assert program is not None
    with (folder / "openconnect.log").open("wb") as log:
        child = processes.spawn(
            [ip, "netns", "exec", namespace, program, "--passwd-on-stdin", "--no-dtls",
             f"--user={username}", f"--servercert={pin}", f"--script={script}",
             "--non-inter", f"https://{HERE}:{PORT}"],
            output=log,
            environment=os.environ | {"PATH": f"{os.environ['PATH']}:{freeradius.SYSTEM_FOLDERS}"},
            text=f"{password}\n".encode(),
        )  # fmt: skip
    try:
        yield given
    finally:
        processes.stop(child, (signal.SIGINT, 10), (signal.SIGKILL, 5))


def address_of_tunnel() -> str | None:
    """The address of this machine's end of the tunnel."""
    found = re.search(r"vpns\S*\s+inet ([\d.]+)", run("ip", "-o", "addr").stdout)
    return found[1] if found else None
