"""What happens to a node in a bad week, at random: kills, full disks, rubbish on its port."""

import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.node_process import NodeProcess
from tests.small_disk import Ballast
from tests.soak.senders import Ledger

#: MiB that stay free when the disk is full only by the node's own rule (listen.min_free_mb: 50).
_BELOW_WATERMARK = 30


@dataclass
class Trouble:
    """Makes trouble, one piece after the other.

    Attributes
    ----------
    every_s : float
        Mean time between two pieces.
    hold_s : float
        How long a disk stays full.
    """

    node: NodeProcess
    ballast: Ballast
    ledger: Ledger
    stop: threading.Event
    every_s: float
    hold_s: float = 3.0

    def run(self) -> None:
        """Make trouble until told to stop, each kind in turn in a random order."""
        chance = random.Random(7)  # noqa: S311 - nothing secret
        kinds: list[Callable[[], None]] = []
        while not self.stop.wait(chance.uniform(0.5, 1.5) * self.every_s):
            kinds = kinds or chance.sample(self._kinds(), len(self._kinds()))
            kind = kinds.pop()
            kind()
            self.ledger.count(f"trouble: {(kind.__doc__ or '').rstrip('.').lower()}")
            for _ in range(self.node.revive()):
                self.ledger.count("a process ended by itself")

    def _kinds(self) -> list[Callable[[], None]]:
        return [
            self.kill_acceptor,
            self.kill_acceptor,
            self.kill_listener,
            self.kill_worker,
            self.fill_to_the_watermark,
            self.fill_to_the_last_byte,
            self.rubbish,
        ]

    def kill_acceptor(self) -> None:
        """Acceptor killed."""
        for pid in children(self.node.pid("listen"))[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_listener(self) -> None:
        """Listener killed."""
        self.node.replace("listen")

    def kill_worker(self) -> None:
        """Worker killed."""
        self.node.replace("work")

    def fill_to_the_watermark(self) -> None:
        """Disk filled to the watermark."""
        self._fill(_BELOW_WATERMARK)

    def fill_to_the_last_byte(self) -> None:
        """Disk filled to its last byte."""
        self._fill(0)

    def _fill(self, leave_mb: int) -> None:
        try:
            self.ballast.fill(leave_mb)
            time.sleep(self.hold_s)
        finally:
            self.ballast.release()

    def rubbish(self) -> None:
        """Rubbish on the port."""
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
                pid = self.node.pid(command)
                self.samples.setdefault(command, []).append(resident_mb(pid))
                for child in children(pid):
                    self.samples.setdefault(f"{command}'s child", []).append(resident_mb(child))


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children, all threads' together."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def resident_mb(pid: int) -> float:
    """Return a process's resident memory (MB); 0 when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0
