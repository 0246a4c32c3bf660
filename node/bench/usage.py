"""What a process and all its descendants use, read from Linux's /proc."""

import os
import threading
import time
from pathlib import Path

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def tree(pid: int) -> list[int]:
    """Return a process and its living descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*"):
            try:
                found += map(int, (task / "children").read_text().split())
            except OSError:
                continue  # it has just ended
    return found


def cpu_ms(pid: int) -> float:
    """Return the CPU time (ms, user and system) of a process tree, ended children included."""
    ticks = 0
    for one in tree(pid):
        try:
            stat = Path(f"/proc/{one}/stat").read_text()
        except OSError:
            continue
        ticks += sum(map(int, stat.rpartition(")")[2].split()[11:15]))
    return ticks * _TICK_MS


def memory_mb(pid: int) -> float:
    """Return the resident memory (MiB) of a process tree; shared pages count in each process."""
    pages = 0
    for one in tree(pid):
        try:
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * _PAGE_MB


def settle(pid: int, *, quiet_s: float = 0.5, limit_s: float = 30.0) -> None:
    """Wait until a process tree uses no CPU time: whatever it loads or warms up is done."""
    deadline = time.monotonic() + limit_s
    before = -1.0
    while time.monotonic() < deadline and (now := cpu_ms(pid)) != before:
        before = now
        time.sleep(quiet_s)


class PeakMemory:
    """Samples the memory of a process tree while it is entered."""

    def __init__(self, pid: int, every_s: float = 0.05) -> None:
        self.mb = 0.0
        self._pid = pid
        self._every_s = every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:  # also a load that ends at once has been looked at
            self.mb = max(self.mb, memory_mb(self._pid))
            if self._done.wait(self._every_s):
                return
