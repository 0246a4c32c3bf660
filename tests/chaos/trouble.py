"""What happens to a node in a bad week: kills, full disks, databases and destinations away."""

import os
import random
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.chaos.destination import MOODS, WELL, Destination
from tests.chaos.kills import AT_RANDOM, CHAPTERS, ROLES, STATES, Killer, children
from tests.chaos.senders import Ledger
from tests.node_process import NodeProcess
from tests.postgres_server import PostgresServer
from tests.s3_server import S3Server
from tests.small_disk import Ballast

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
#: MiB that stay free when the disk is full only by the node's own rule (listen.min_free_mb: 50).
_BELOW_WATERMARK = 30
_STEP_S = 3600
_KILLS = tuple(f"{role} killed" for role in ROLES)
#: More than [work] lease_s.
_FREEZE_S = 7.0


class Clock:
    """The clock of a node's processes, which can be stepped (libfaketime).

    libfaketime 0.9.10 refuses the absolute sleeps that Python's ``time.sleep`` asks for, so these
    processes sleep by ``select``. Monotonic clocks run on, as they do when a real clock is set.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._file = folder / "clock"
        self._site = folder / "site"
        self._site.mkdir()
        (self._site / "sitecustomize.py").write_text(
            "import select, time\ntime.sleep = lambda s: select.select([], [], [], s)\n", "ascii"
        )
        self.step(0)

    @property
    def words(self) -> list[str]:
        """What stands before the command line of a process that lives by this clock."""
        path = os.pathsep.join(filter(None, [str(self._site), os.environ.get("PYTHONPATH", "")]))
        return [
            "env",
            f"LD_PRELOAD={FAKETIME}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_CACHE_DURATION=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "FAKETIME_DISABLE_SHM=1",
            f"PYTHONPATH={path}",
        ]

    def step(self, seconds: int) -> None:
        """Let it be so many seconds before the true time."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{seconds:+d}\n", "ascii")
        part.replace(self._file)


@dataclass
class Trouble:
    """Makes trouble, one piece after the other, until enough processes were killed.

    Attributes
    ----------
    kills : int
        How many processes to kill.
    database : PostgresServer or None
    store : S3Server or None
        To be restarted.
    pause_s : float
        Mean time between two pieces.
    hold_s : float
        How long something stays bad.
    say : callable
        Told of each piece.
    """

    node: NodeProcess
    killer: Killer
    destination: Destination
    ballast: Ballast
    clock: Clock
    ledger: Ledger
    chance: random.Random
    stop: threading.Event
    kills: int
    database: PostgresServer | None = None
    store: S3Server | None = None
    pause_s: float = 1.0
    hold_s: float = 3.0
    say: Callable[[str], None] = lambda _: None
    counts: dict[str, int] = field(default_factory=dict)

    def run(self) -> None:
        """Make trouble, each kind in turn in a random order."""
        bag: list[tuple[str, Callable[[], None]]] = []
        while len(self.killer.record.kills) < self.kills and not self.stop.is_set():
            bag = bag or self.chance.sample(self._kinds(), len(self._kinds()))
            name, kind = bag.pop()
            kind()
            done = len(self.killer.record.kills)
            self.say(f"{done} of {self.kills} killed; {name}")
            if name not in _KILLS:  # these count themselves, when there was something to kill
                self.counts[name] = self.counts.get(name, 0) + 1
            self.stop.wait(self.chance.uniform(0.2, 1.8) * self.pause_s)

    def _kinds(self) -> list[tuple[str, Callable[[], None]]]:
        kills: list[tuple[str, Callable[[], None]]] = []
        for role in ROLES:
            moments = (*STATES, AT_RANDOM) if role != "worker" else (*STATES, *CHAPTERS, AT_RANDOM)
            kills += [
                (_KILLS[ROLES.index(role)], partial(self._kill, role, moment)) for moment in moments
            ]
        others: dict[str, Callable[[], None]] = {
            f"destination {mood}": partial(self._be, mood) for mood in MOODS
        }
        others["disk filled to the watermark"] = partial(self._fill, _BELOW_WATERMARK)
        others["disk filled to its last byte"] = partial(self._fill, 0)
        others["rubbish on the port"] = self._rubbish
        if FAKETIME.exists():
            others["clock an hour forward and back"] = partial(self._step, _STEP_S)
            others["clock an hour back and forward"] = partial(self._step, -_STEP_S)
        others["worker frozen longer than its lease"] = partial(self.killer.freeze, _FREEZE_S)
        if self.database is not None:
            others["PostgreSQL stopped at once and started"] = self._restart_database
        if self.store is not None:
            others["object store killed and started"] = self._restart_store
            others["object store silent"] = self._freeze_store
        return kills + 2 * list(others.items())

    def _kill(self, role: str, moment: str) -> None:
        if moment == "waiting":
            self.destination.mood = MOODS[0]
        self.killer.kill(role, moment)
        self.destination.mood = WELL

    def _be(self, mood: str) -> None:
        self.destination.mood = mood
        self.stop.wait(self.hold_s)
        self.destination.mood = WELL

    def _fill(self, leave_mb: int) -> None:
        try:
            self.ballast.fill(leave_mb)
            self.stop.wait(self.hold_s)
        finally:
            self.ballast.release()

    def _step(self, seconds: int) -> None:
        self.clock.step(seconds)
        self.stop.wait(self.hold_s)
        self.clock.step(0)

    def _restart_database(self) -> None:
        assert self.database is not None
        self.database.crash()
        self.stop.wait(self.chance.uniform(0.0, self.hold_s))
        self.database.start()

    def _restart_store(self) -> None:
        assert self.store is not None
        self.store.kill()
        self.stop.wait(self.chance.uniform(0.0, self.hold_s))
        self.store.start()

    def _freeze_store(self) -> None:
        assert self.store is not None
        self.store.freeze()
        self.stop.wait(2 * self.hold_s)
        self.store.thaw()

    def _rubbish(self) -> None:
        for noise in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(500), struct.pack(">BBI", 4, 0, 2**31)):
            with suppress(OSError), socket.create_connection(self._address, timeout=5) as peer:
                peer.sendall(noise)

    @property
    def _address(self) -> tuple[str, int]:
        return "127.0.0.1", self.node.dicom_port


@dataclass
class Memory:
    """Resident memory (MB) of the processes of a node, sampled once a second."""

    node: NodeProcess
    stop: threading.Event
    samples: dict[str, list[float]] = field(default_factory=dict)

    def run(self) -> None:
        """Sample until told to stop."""
        while not self.stop.wait(1.0):
            for command in self.node.commands:
                pid, role = self.node.pid(command), command.partition(":")[0]
                self.samples.setdefault(role, []).append(resident_mb(pid))
                for child in children(pid):
                    self.samples.setdefault(f"{role}'s child", []).append(resident_mb(child))


def resident_mb(pid: int) -> float:
    """Return a process's resident memory (MB); 0 when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0
