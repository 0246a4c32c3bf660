"""``bench ingest``: how fast images come in, this node and its peers side by side.

Every figure is a median over the runs. In each run every receiver gets the same load, one after
another, in an order that rotates, fresh each time and in a fresh folder.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.bench import floor, images, machine, receivers, senders
from node.bench.receivers import Receiver
from node.bench.usage import PeakMemory, cpu_ms, memory_mb, settle

LOADS = ("series", "instance")  # what one association carries
_PARTS = 10  # of a memory run


@dataclass(frozen=True)
class Measured:
    """One receiver under one load."""

    receiver: str
    load: str
    senders: int
    per_s: float
    mb_per_s: float
    peak_mb: float
    cpu_ms: float
    sender_cpu_ms: float


def run(
    root: Path,
    *,
    count: int,
    runs: int,
    senders_at_once: Sequence[int],
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Measure, and return everything that is printed.

    Parameters
    ----------
    root : Path
        A folder on the disk that is to be measured.
    count : int
        Images of each series load; the loads with an association for each image get an eighth.
    runs : int
    senders_at_once : sequence of int
        How many senders there are, one load after another.
    progress : callable
        Is told what is measured now.
    """
    with tempfile.TemporaryDirectory(dir=root, prefix="lumbar-bench-") as name:
        folder = Path(name)
        files = images.write(folder / "images", count)
        present = [r for r in receivers.known() if r.program]
        progress("the floor")
        bottom = floor.measure(folder, files[0])
        measured = []
        for number in range(runs):
            for load in LOADS:
                share = files if load == "series" else files[: max(count // 8, *senders_at_once, 1)]
                for several in senders_at_once:
                    turn = number % len(present)
                    for receiver in present[turn:] + present[:turn]:
                        progress(f"run {number + 1}: {receiver.name}, {several} x {load}")
                        measured.append(_one(receiver, folder, share, load, several))
        size = files[0].stat().st_size
    return {
        "machine": machine.describe(root),
        "images": {"series": count, "instance": len(share), "bytes": size, "runs": runs},
        "floor": bottom,
        "not_installed": [r.name for r in receivers.known() if not r.program],
        "durable": {r.name: r.durable for r in present},
        "cells": _cells(measured),
    }


def memory(root: Path, *, count: int, progress: Callable[[str], None]) -> list[float]:
    """Return the memory (MiB) of this node after each tenth of ``count`` images, 4 senders."""
    ours = receivers.known()[0]
    with tempfile.TemporaryDirectory(dir=root, prefix="lumbar-bench-") as name:
        folder = Path(name)
        files = images.write(folder / "images", max(count // _PARTS, 4))
        shares = [files[n::4] for n in range(4)]
        sizes = []
        with receivers.running(ours, folder) as (pid, port):
            for part in range(1, _PARTS + 1):
                progress(f"memory: {part} of {_PARTS}")
                senders.send(port, shares, per_association=len(files))
                sizes.append(memory_mb(pid))
    return sizes


def _one(receiver: Receiver, root: Path, files: list[Path], load: str, several: int) -> Measured:
    shares = [files[n::several] for n in range(several)]
    with (
        tempfile.TemporaryDirectory(dir=root) as name,
        receivers.running(receiver, Path(name)) as (pid, port),
    ):
        senders.send(port, [files[:1]] * 2, per_association=1)  # what is loaded late is loaded now
        settle(pid)
        before, senders_before = cpu_ms(pid), senders.cpu_ms()
        with PeakMemory(pid) as peak:
            started = time.perf_counter()
            senders.send(port, shares, per_association=len(files) if load == "series" else 1)
            seconds = time.perf_counter() - started
        used, senders_used = cpu_ms(pid) - before, senders.cpu_ms() - senders_before
    size = sum(path.stat().st_size for path in files)
    return Measured(
        receiver=receiver.name,
        load=load,
        senders=several,
        per_s=len(files) / seconds,
        mb_per_s=size / seconds / 1e6,
        peak_mb=peak.mb,
        cpu_ms=used / len(files),
        sender_cpu_ms=senders_used / len(files),
    )


def _cells(measured: list[Measured]) -> list[dict[str, Any]]:
    """Return the medians of each receiver and load, with the ratio of this node to its peer."""
    cells = []
    for load in LOADS:
        for several in dict.fromkeys(m.senders for m in measured):
            here = [m for m in measured if (m.load, m.senders) == (load, several)]
            ours = [m.per_s for m in here if m.receiver == receivers.OURS]
            for name in dict.fromkeys(m.receiver for m in here):
                runs = [m for m in here if m.receiver == name]
                per_s = [m.per_s for m in runs]
                cells.append(
                    {
                        "load": load,
                        "senders": several,
                        "receiver": name,
                        "per_s": statistics.median(per_s),
                        "per_s_range": [min(per_s), max(per_s)],
                        "mb_per_s": statistics.median(m.mb_per_s for m in runs),
                        "peak_mb": max(m.peak_mb for m in runs),
                        "cpu_ms": statistics.median(m.cpu_ms for m in runs),
                        "sender_cpu_ms": statistics.median(m.sender_cpu_ms for m in runs),
                        # Run by run, since what else the machine does is the same for both.
                        "node_is_faster_by": statistics.median(
                            ours[n] / per_s[n] for n in range(len(runs))
                        ),
                    }
                )
    return cells
