"""Workers that are made in no time, to be killed in the middle of one piece of work."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from django.db import connection

from tests import databases

# Ready once Django is, it makes a process for each line, which does what the line says, and says
# which process that is, and when it has ended. Making it by a fork costs nothing.
MAKER = """
import json, os, sys, django; django.setup()
for line in sys.stdin:
    if (child := os.fork()) == 0:
        try:
            exec(json.loads(line))
        finally:
            os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


class Workers:
    """Makes processes that work on the database of this test process, one at a time."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAKER],
            cwd=databases.REPOSITORY,
            env=os.environ
            | {
                "DATABASE_URL": databases.url_of(connection.settings_dict["NAME"]),
                "PYTHONPATH": str(databases.REPOSITORY),
                "IDENTITY_CHECK": "manual",
                "CREDIT_CHECK": "manual",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, work: str) -> int:
        """Have some Python done; gives the process."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(work) + "\n")
        self.process.stdin.flush()
        return int(self._next_line())

    def wait(self) -> None:
        """Wait until the process has ended, however it ended."""
        assert self._next_line() == "ended\n"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _next_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()
