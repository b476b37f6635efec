"""Child processes that never outlive the process that started them.

Shared by the embedded servers, the supervisor and the tests. Every child leads a session of its
own, so that Ctrl-C in a terminal reaches only the parent, which then stops its children in order;
and so that a child's own children can be found and ended with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import psutil

_PR_SET_PDEATHSIG = 1  # prctl(2)
_prctl: Callable[[int, int], int] | None = (
    ctypes.CDLL(None).prctl if sys.platform.startswith("linux") else None
)


def spawn(
    command: Sequence[str | Path],
    *,
    output: IO[bytes],
    environment: Mapping[str, str],
    account: pwd.struct_passwd | None = None,
    folder: Path | str = "/",
    stop_signal: signal.Signals = signal.SIGTERM,
    text: bytes | None = None,
    sockets: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child that gets `stop_signal` from the kernel (on Linux) when this process dies.

    `account` is the user to run as, for a server that refuses to be root. `text` is sent to the
    child's standard input, which is then closed. `sockets` are the numbers of open files that it
    inherits. Raises `OSError` when it cannot be executed.
    """

    child: subprocess.Popen[bytes] = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=dict(environment),
        start_new_session=True,
        # Between fork and exec, after the change of user, which would clear the request.
        preexec_fn=lambda: end_with_parent(stop_signal),
        pass_fds=sockets,
        **run_as(account),
    )
    if child.stdin is not None and text is not None:
        with contextlib.suppress(BrokenPipeError), child.stdin:
            child.stdin.write(text)
    return child


def end_with_parent(stop_signal: signal.Signals) -> None:
    """Ask the kernel (on Linux) to send this process a signal when its parent dies."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, stop_signal)


def run_as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """The arguments of `subprocess` that run a program as this user and no group of ours."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def stop(child: subprocess.Popen[bytes], *steps: tuple[signal.Signals, float]) -> None:
    """Send each signal in turn and wait its seconds; then end whatever the child left behind."""
    for number, seconds in steps:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(seconds)
    end_group(child.pid)


def end_group(leader: int) -> None:
    """Kill what is left of the group that a stopped or dead child led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def stop_leftover(pid_file: Path, program: str, folder: Path, *, seconds: float = 60) -> None:
    """End a server that an earlier, killed owner of its folder left running.

    The number in the file may by now belong to an unrelated process, which is told apart by its
    program name and working folder. Raises `psutil.TimeoutExpired` when it does not end.
    """
    unknown = (OSError, ValueError, IndexError, psutil.NoSuchProcess, psutil.AccessDenied)
    with contextlib.suppress(*unknown):
        process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
        if process.name() == program and Path(process.cwd()) == folder.resolve():
            process.send_signal(signal.SIGINT)
            process.wait(seconds)


def wait_until(answer: Callable[[], bool], *, seconds: float, every: float = 0.05) -> bool:
    """Ask until the answer is yes or the time is over; says which."""
    deadline = time.monotonic() + seconds
    while not answer():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
