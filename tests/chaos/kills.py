"""``kill -9`` of a node's processes at a chosen moment, and the time until the work goes on."""

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import requests

from tests.chaos.senders import Ledger
from tests.chaos.sight import Sight
from tests.node_process import NodeProcess
from tests.receiving import dcmtk

ROLES = ("listener", "acceptor", "worker", "web")
#: When to kill: a chapter that the worker itself is in, or a state that some study is in.
CHAPTERS = ("study: begin", "study: find", "study: write", "study: deliver", "deliver: send")
STATES = ("receiving", "queued", "running", "delivering", "waiting")
AT_RANDOM = "at random"
#: As in deploy/systemd/lumbar-node@.service.
RESTART_S = 2.0
_PATIENCE_S = 8.0
_LOOK_S = 0.004
_MOST_S = 180.0


class Kill(NamedTuple):
    """One kill: of what, when it was to be, the states there were, and what it cut off."""

    role: str
    wanted: str
    found: tuple[str, ...]
    cut_off: tuple[str, ...]


@dataclass
class Record:
    """What was killed, and how long (s) it took to go on; for several threads.

    Attributes
    ----------
    kills : list of Kill
    resumed : dict of what to list of float
    stuck : list of str
        What did not go on.
    """

    kills: list[Kill] = field(default_factory=list)
    resumed: dict[str, list[float]] = field(default_factory=dict)
    stuck: list[str] = field(default_factory=list)
    _watching: list[threading.Thread] = field(default_factory=list)

    def watch(self, what: str, has_resumed: Callable[[], bool], every: float = 0.02) -> None:
        """Take the time from now until something has resumed, beside the caller."""
        since = time.monotonic()

        def wait() -> None:
            while not has_resumed():
                if time.monotonic() - since > _MOST_S:
                    self.stuck.append(what)
                    return
                time.sleep(every)
            self.resumed.setdefault(what, []).append(time.monotonic() - since)

        thread = threading.Thread(target=wait, daemon=True)
        self._watching.append(thread)
        thread.start()

    def settle(self) -> None:
        """Wait for everything that is being watched."""
        for thread in self._watching:
            thread.join()


class Supervisor:
    """Starts again what has ended, as systemd would, and counts what ended by itself."""

    def __init__(self, node: NodeProcess, ledger: Ledger) -> None:
        self._node, self._ledger = node, ledger
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._due: dict[str, float] = {}
        self.killed: set[int] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch until the block ends."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for command, pid in self._node.ended().items():
                if command not in self._due:
                    self._due[command] = time.monotonic() + RESTART_S
                    if pid not in self.killed:
                        self._ledger.count(f"{command} ended by itself")
                elif time.monotonic() >= self._due[command]:
                    del self._due[command]
                    self._node.relaunch(command)


@dataclass
class Killer:
    """Kills processes of a node, at the moments asked for."""

    node: NodeProcess
    sight: Sight
    supervisor: Supervisor
    record: Record
    chance: random.Random

    def kill(self, role: str, moment: str) -> None:
        """Stop a process at the moment, or after some seconds at any, look, and kill it.

        It is stopped before it is looked at for the last time, so that what is noted is what
        the kill cut off.
        """
        deadline = time.monotonic() + _PATIENCE_S
        found: tuple[str, ...] = ()
        pid = 0
        while not pid:
            pid = self._living(role)
            if not pid:
                if time.monotonic() > deadline:
                    return
                time.sleep(0.1)
                continue
            is_late = moment == AT_RANDOM or time.monotonic() > deadline
            if not is_late and moment not in self._found(role, moment, pid):
                pid = 0
                time.sleep(_LOOK_S)
                continue
            _signal(pid, signal.SIGSTOP)
            found = self._found(role, moment, pid)
            if not is_late and moment not in found:
                _signal(pid, signal.SIGCONT)
                pid = 0
        self._kill(role, moment, pid, found)

    def freeze(self, seconds: float) -> None:
        """Let a worker stand still, so that another takes its jobs over, and then go on."""
        if pid := self._living("worker"):
            _signal(pid, signal.SIGSTOP)
            time.sleep(seconds)
            _signal(pid, signal.SIGCONT)

    def _kill(self, role: str, moment: str, pid: int, found: tuple[str, ...]) -> None:
        worker = self.sight.worker(pid) if role == "worker" else ""
        held = self.sight.held(worker) if worker else []
        self.supervisor.killed.add(pid)
        _signal(pid, signal.SIGKILL)
        chapters = tuple(job.chapter for job in held)
        self.record.kills.append(Kill(role, moment, found, chapters))
        if role == "web":
            self.record.watch("web: answers again", self._web_answers)
        elif role in {"listener", "acceptor"}:
            self.record.watch(f"{role}: C-ECHO answered", self._listener_answers, 0.1)
        for job in held:
            self.record.watch("worker: job given back", lambda j=job: self._is_free(*j[:2]))  # type: ignore[misc]
            if job.chapter.startswith("study"):
                self.record.watch(
                    "worker: study resumed by another",
                    lambda j=job: self._is_resumed(*j[:2]),  # type: ignore[misc]
                )

    def _living(self, role: str) -> int:
        """Return the process to kill; 0 while there is none that has come up."""
        ended = self.node.ended()
        command = {"listener": "listen", "acceptor": "listen", "worker": "work"}.get(role, role)
        pids = [
            self.node.pid(c)
            for c in self.node.commands
            if c.partition(":")[0] == command and c not in ended
        ]
        if role == "acceptor":
            pids = [child for pid in pids for child in children(pid)]
        if role == "worker":
            pids = [pid for pid in pids if self.sight.worker(pid)]
        elif not self._is_up(role):
            return 0
        return self.chance.choice(pids) if pids else 0

    def _is_up(self, role: str) -> bool:
        port = self.node.web_port if role == "web" else self.node.dicom_port
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def _found(self, role: str, moment: str, pid: int) -> tuple[str, ...]:
        if role == "worker" and moment in CHAPTERS:
            return tuple(sorted(job.chapter for job in self.sight.held(self.sight.worker(pid))))
        return tuple(sorted(self.sight.open_states()))

    def _web_answers(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self.node.url}/healthz", timeout=2).ok
        return False

    def _listener_answers(self) -> bool:
        told = dcmtk("echoscu", "-to", "2", "-aec", "LUMBAR", "127.0.0.1", self.node.dicom_port)
        return told.returncode == 0

    def _is_free(self, job_id: str, worker: str) -> bool:
        status, executor = self.sight.job(job_id)
        return bool(status) and (status != "PENDING" or executor != worker)

    def _is_resumed(self, job_id: str, worker: str) -> bool:
        status, executor = self.sight.job(job_id)
        is_ended = status in {"SUCCESS", "CANCELLED"}  # cancelled: it was handed in anew
        return is_ended or (status == "PENDING" and executor != worker)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children, all threads' together."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found
