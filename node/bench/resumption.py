"""How soon a job goes on whose worker was killed: ``bench engine`` kills some.

``python -m node.bench.resumption URL FOLDER HOST`` is a worker that holds on to a job until it is
killed, or, where another has held it before, notes when the job went on.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from node.jobs import Desk, Queue, Step, Worker
from node.loopback import running

_QUEUE = "held"
_PATIENCE_S = 60.0
_HELD, _AGAIN = "held", "again"


def measure(url: str, folder: Path, kills: int) -> list[float]:
    """Kill workers with SIGKILL over a job each, while another waits; return the silences (s).

    On SQLite both are of this host. On a database that hosts can share, the one that is killed
    calls itself another host's: only its silence tells that it is dead.
    """
    other = "" if url.startswith("sqlite") else "elsewhere"
    found = []
    for _ in range(kills):
        with TemporaryDirectory(dir=folder) as name:
            found.append(_one(url, Path(name), other))
    return found


def _one(url: str, folder: Path, other: str) -> float:
    desk = Desk(url)
    try:
        desk.enqueue(_QUEUE, str(folder), str(folder))
    finally:
        desk.close()
    with ExitStack() as stack:

        def worker(host: str) -> "subprocess.Popen[bytes]":
            command = [sys.executable, "-m", "node.bench.resumption", url, str(folder), host]
            process = stack.enter_context(running(command, folder / "log"))
            _wait(folder / str(process.pid))
            return process

        first = worker(other)
        _wait(folder / _HELD)
        worker("")
        killed = time.monotonic()
        first.kill()
        first.wait()  # a process that nobody has asked after is still in the table of processes
        _wait(folder / _AGAIN)
        return float((folder / _AGAIN).read_text("ascii")) - killed


def _wait(sign: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not sign.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("a worker of the bench did not get on")
        time.sleep(0.01)


def main(url: str, folder: Path, host: str) -> None:
    """Work until killed."""
    if host:
        socket.gethostname = lambda: host

    def story(step: Step, place: str) -> None:
        step("find", _hold_or_tell, Path(place))

    Worker(url, (Queue(_QUEUE, story, 1),)).start()
    _tell(folder / str(os.getpid()))
    threading.Event().wait()


def _hold_or_tell(folder: Path) -> None:
    if (folder / _HELD).exists():
        _tell(folder / _AGAIN)
    else:
        _tell(folder / _HELD)
        threading.Event().wait()


def _tell(place: Path) -> None:
    """Write the time, by the clock that all processes of a machine share, to a new file."""
    part = place.with_suffix(".part")
    part.write_text(str(time.monotonic()), "ascii")
    part.rename(place)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
