"""The soak itself: start, let go wrong, end with a power cut, and count."""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from node.storage.archive import Archive
from node.storage.index import Index
from tests.node_process import NodeProcess
from tests.receiving import dataset
from tests.small_disk import Ballast, small_disk
from tests.soak.senders import Ledger, Sender
from tests.soak.trouble import Memory, Trouble

DISK_MB = 3000
ENDED = {"done", "rejected", "failed"}
#: Studies of the other senders are kept and not analysed, or the node would be busy for hours.
SOURCES = '[[sources]]\nae_title = "*"\nignore = true\n[[sources]]\nae_title = "ANALYSED"\n'


@dataclass
class Outcome:
    """What a soak ended with.

    Attributes
    ----------
    minutes : float
    acknowledged : int
        Instances that a sender was told Success for.
    lost, altered, not_indexed : int
        Of these: not in the archive, there with other bytes, without a row in the index.
    studies, without_end : int
        Studies that were to be analysed and came whole; those of them that have no end.
    counts : Counter
        Answers, aborts, kills, episodes.
    memory : dict of process to (median of the first fifth, of the last fifth, largest), MB
    """

    minutes: float
    acknowledged: int
    lost: int
    altered: int
    not_indexed: int
    studies: int
    without_end: list[str]
    counts: Counter[str]
    memory: dict[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Something was sent and nothing is missing."""
        missing = self.lost + self.altered + self.not_indexed + len(self.without_end)
        return self.acknowledged > 0 and missing == 0


def soak(
    folder: Path, seconds: float, *, trouble_every_s: float = 8.0, patience_s: float = 300.0
) -> Outcome:
    """Run a node on a small disk of its own for so long, and return what became of it.

    Parameters
    ----------
    folder : Path
        For the disk's image and the senders' files.
    seconds : float
    trouble_every_s : float
        Mean time between two pieces of trouble.
    patience_s : float
        How long the node may take for the studies that are left in the end.
    """
    with small_disk(folder, DISK_MB) as disk:
        node = NodeProcess(disk / "node", extra=SOURCES, commands=("listen", "work", "web"))
        ledger, ended, watched = Ledger(), threading.Event(), threading.Event()
        with node:
            senders = [
                Sender(name, node.dicom_port, folder / "out", ledger, ended, seed)
                for seed, name in enumerate(("FIRST", "SECOND", "THIRD"), start=1)
            ]
            senders.append(
                Sender("ANALYSED", node.dicom_port, folder / "out", ledger, ended, 4, 20.0, True)
            )
            trouble = Trouble(node, Ballast(disk), ledger, ended, trouble_every_s)
            memory = Memory(node, watched)
            busy = _started(*(sender.run for sender in senders), trouble.run)
            watching = _started(memory.run)
            time.sleep(seconds)
            ended.set()
            _joined(busy)
            node.revive()
            without_end = _wait_for_ends(node, ledger.whole, patience_s)
            watched.set()
            _joined(watching)
            node.kill()  # as a power cut: what was acknowledged is on the disk now, or never
            node.start()
        return _counted(disk / "node" / "data", ledger, seconds / 60, without_end, memory)


def _started(*works: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads


def _joined(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(timeout=120)
        if thread.is_alive():
            raise AssertionError("a sender does not come to its end: the node takes nothing more")


def _wait_for_ends(node: NodeProcess, studies: list[str], patience_s: float) -> list[str]:
    """Wait until the studies have an end, and return in words those that have none."""
    deadline = time.monotonic() + patience_s
    states = dict.fromkeys(studies, "")
    while time.monotonic() < deadline:
        states = {uid: str(node.study(uid).get("state")) for uid in studies}
        if set(states.values()) <= ENDED:
            return []
        time.sleep(1.0)
    return [f"{uid} is {state}" for uid, state in states.items() if state not in ENDED]


def _counted(
    data: Path, ledger: Ledger, minutes: float, without_end: list[str], memory: Memory
) -> Outcome:
    """Compare what was acknowledged with what is there."""
    archive, index = Archive(data / "archive", 0), Index(f"sqlite:///{data}/index.sqlite")
    stored = {
        hashlib.sha256(dataset(file.path.read_bytes())).hexdigest(): file.sha256
        for file in archive.iterate()
    }
    rows = {
        row.sop_instance_uid: row.sha256
        for study in index.studies(1_000_000)
        for row in index.instances(study.study_uid)
    }
    index.close()
    promised = ledger.acknowledged
    return Outcome(
        minutes=minutes,
        acknowledged=len(promised),
        lost=sum(contents not in stored for contents in promised.values()),
        altered=sum(
            rows[uid] != stored.get(contents) for uid, contents in promised.items() if uid in rows
        ),
        not_indexed=sum(uid not in rows for uid in promised),
        studies=len(ledger.whole),
        without_end=without_end,
        counts=ledger.counts,
        memory={process: _flat(samples) for process, samples in memory.samples.items()},
    )


def _flat(samples: list[float]) -> tuple[float, float, float]:
    fifth = max(1, len(samples) // 5)
    early, late = sorted(samples[:fifth]), sorted(samples[-fifth:])
    return early[len(early) // 2], late[len(late) // 2], max(samples)
