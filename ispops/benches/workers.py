"""Worker processes of a bench, which have connected before the clock runs."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection

from django.db import connection, connections

_fork = multiprocessing.get_context("fork")


class Workers:
    """Processes that begin their work when they are told; each is given its number."""

    def __init__(self, work: Callable[[int], None], count: int = 2) -> None:
        connections.close_all()
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(count):
            here, there = _fork.Pipe()
            process = _fork.Process(target=_work, args=(there, work, number), daemon=True)
            process.start()
            there.close()  # so that the end of the process is the end of the pipe
            here.recv()
            self._pipes.append(here)
            self._processes.append(process)

    def begin(self) -> None:
        for pipe in self._pipes:
            pipe.send("go")

    def wait(self) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.recv()
            process.join()

    def run(self) -> None:
        self.begin()
        self.wait()


def _work(pipe: Connection, work: Callable[[int], None], number: int) -> None:
    connection.ensure_connection()
    pipe.send("ready")
    pipe.recv()
    work(number)
    connections.close_all()
    pipe.send("done")
