"""What a machine must offer to run a server, and one clear line when it does not."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import pwd
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil

MINIMUM_FREE_BYTES = 256 * 1024 * 1024
"""A new cluster takes 50 MB and writes 64 MB of log before its first checkpoint."""


class CannotStart(Exception):
    """A server cannot be started; the text is one line that says why and what to do."""


def wheel_folder(module: str, install: str, variable: str) -> Path:
    """Where an installed package keeps its files, without importing it and its side effects."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise CannotStart(
            f"There is no {install} here: install it (for example "
            f"`apt install redis-server`), or set {variable}."
        )
    return Path(spec.origin).resolve().parent


def account_for(cluster: Path) -> pwd.struct_passwd | None:
    """The user the servers run as when we are root, which PostgreSQL refuses to be.

    An existing cluster keeps its owner; otherwise it is a user that every system has, because
    adding one to somebody's machine is not ours to do.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists() and cluster.stat().st_uid != 0:
        uid = cluster.stat().st_uid
        try:
            return pwd.getpwuid(uid)
        except KeyError:
            raise CannotStart(f"{cluster} belongs to user {uid}, who has no name here.") from None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise CannotStart("PostgreSQL does not run as root, and there is no user postgres or nobody.")


def let_pass(path: Path) -> None:
    """Let other users pass through (not list) the folders above, as the server's user must."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def let_read(folder: Path) -> None:
    """Open an installed package to the server's user, where the umask had closed it."""
    let_pass(folder)
    if folder.stat().st_mode & stat.S_IROTH:
        return
    for path in [folder, *folder.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | (mode & 0o500) >> 6)


def server_environment() -> dict[str, str]:
    """Ours without what would move a server, its files or the language of its messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C"}


def require_free_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < MINIMUM_FREE_BYTES:
        raise CannotStart(
            f"The disk of {folder} is full ({free // 1024**2} MB left): free at least "
            f"{MINIMUM_FREE_BYTES // 1024**2} MB, or set ISPOPS_DATA_DIR to a folder elsewhere."
        )


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn an error of the file system into one line that says what to do."""
    try:
        yield
    except psutil.TimeoutExpired as error:
        raise CannotStart(f"Process {error.pid} still uses {folder} and does not end.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "the disk is full: free some space"
        else:
            advice = f"{error.strerror or error}: change who may write there"
        raise CannotStart(
            f"Cannot use {error.filename or folder}: {advice}, or set ISPOPS_DATA_DIR to a "
            "folder elsewhere."
        ) from error


def free_port() -> int:
    """A loopback TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
