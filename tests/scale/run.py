"""A back-fill of many small studies through a real node, measured while it runs."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.bench import usage
from node.dicom import statuses
from node.dicom.receiver import Receiver
from tests.node_process import ENVIRONMENT, NodeProcess
from tests.scale.studies import write_studies

SR_3D = "1.2.840.10008.5.1.4.1.1.88.34"
SAMPLE_S = 10.0
#: Both cores of a small machine are busy: Python runs one thread of a process at a time.
COMMANDS = ("listen", "work", "work:2", "web")
SETTINGS = "[work]\nstudies_at_once = 2\nthreads = 1\n[report]\noverlays = false\n"


class Diary:
    """Lines of JSON in a file: what was noted before a measurement was cut off is known again."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+", encoding="utf-8")
        self._file.seek(0)
        self.past = [json.loads(line) for line in self._file]

    def note(self, told: Any) -> None:
        """Write a line down."""
        self._file.write(json.dumps(told) + "\n")
        self._file.flush()


class Pacs(Receiver):
    """A PACS that keeps nothing but the names of the reports of each study."""

    def __init__(self, folder: Path) -> None:
        self.reports: dict[str, set[str]] = defaultdict(set)
        super().__init__(folder, ae_title="PACS")
        self._diary = Diary(folder / "reports.jsonl")
        for study, name in self._diary.past:
            self.reports[study].add(name)

    def _on_store(self, event: Any) -> int:
        if event.request.AffectedSOPClassUID == SR_3D:
            study = str(event.dataset.StudyInstanceUID)
            name = str(event.request.AffectedSOPInstanceUID)
            self.reports[study].add(name)
            self._diary.note([study, name])
        return statuses.SUCCESS


@dataclass(frozen=True)
class Sample:
    """One look at the node.

    Attributes
    ----------
    seconds : float
        Since the back-fill began.
    ended : int
        Studies with an end.
    node_mb, walk_mb : float
        Resident memory (MiB) of the node's processes, and of the command's.
    database_bytes : int
        Of the database's files: studies and jobs.
    """

    seconds: float
    ended: int
    node_mb: float
    walk_mb: float
    database_bytes: int


@dataclass
class Outcome:
    """What came of it.

    Attributes
    ----------
    studies, kills : int
    summary : dict
        Of the last command; empty when it was stopped before its end.
    ended : Counter
        Studies by how they ended.
    told_twice : int
        Studies that ended twice.
    reports : dict
        Study UID to the UIDs of its reports at the PACS.
    samples : list of Sample
        Since the last kill.
    images_bytes, results_bytes : int
        On the node's disk, at the end.
    tables : dict
        Bytes of each table of the database with its indexes, at the end.
    """

    studies: int
    kills: int
    summary: dict[str, Any] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)
    told_twice: int = 0
    reports: dict[str, set[str]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    images_bytes: int = 0
    results_bytes: int = 0
    tables: dict[str, int] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Every study that has ended did so once, with one report at the PACS, and none failed."""
        count = self.ended.total()
        return (
            count > 0
            and not self.ended["failed"]
            and not self.told_twice
            and len(self.reports) >= count
            and all(len(found) == 1 for found in self.reports.values())
        )


@dataclass
class Scale:
    """One measurement in one folder; in the same folder one that was cut off goes on.

    Parameters
    ----------
    folder : Path
    studies : int
    kills : int
        ``kill -9`` of the node and of the command so often, within the first tenth of the studies
        or, where these are few, in the middle.
    seconds : float
        When to stop, done or not.
    at_once : int
        Studies that are here without an end, at most.
    """

    folder: Path
    studies: int
    kills: int
    seconds: float
    at_once: int = 4

    def __post_init__(self) -> None:
        self.outcome = Outcome(self.studies, self.kills)
        self._pacs = Pacs(self.folder / "pacs")
        self._node = NodeProcess(
            self.folder / "node",
            [("pacs", "PACS", self._pacs.port)],
            extra=SETTINGS,
            commands=COMMANDS,
        )
        self._seen: set[str] = set()
        self._diary = Diary(self.folder / "ended.jsonl")
        for told in self._diary.past:
            self._count(told)

    def run(self) -> Outcome:
        """Write the studies, back-fill them, and measure."""
        if not (self.folder / "archive").exists():
            write_studies(self.folder / "archive.part", self.studies)
            (self.folder / "archive.part").rename(self.folder / "archive")
        self._began = time.monotonic()
        with self._node:
            step = max(1, self.studies // 10 if self.studies > 100 else self.studies // 2)
            for kill in range(self.kills):
                until = max(1, step * (kill + 1) // self.kills)
                if len(self._seen) >= until:
                    continue
                self._walk(until)
                self._node.kill()
                self._node.start()
                self.outcome.samples.clear()
            self._walk(until=self.studies + 1)
        self._pacs.stop()
        data = self.folder / "node" / "data"
        self.outcome.images_bytes = _bytes(data / "archive")
        self.outcome.results_bytes = _bytes(data / "results")
        self.outcome.tables = _tables(data / "index.sqlite")
        self.outcome.reports = dict(self._pacs.reports)
        return self.outcome

    def _walk(self, until: int) -> None:
        """Run the command until so many studies have ended, it is done, or the time is over."""
        config = str(self._node.config)
        command = ["backfill", str(self.folder / "archive"), "--json", "--config", config]
        command += ["--at-once", str(self.at_once)]
        walk = subprocess.Popen(
            [sys.executable, "-m", "node.cli", *command],
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        stopped = threading.Event()
        sampling = threading.Thread(target=self._sample, args=(walk.pid, stopped))
        sampling.start()
        left = self.seconds - (time.monotonic() - self._began)
        clock = threading.Timer(max(left, 0.0), walk.kill)
        clock.start()
        assert walk.stdout is not None
        for line in walk.stdout:
            self._note(json.loads(line))
            if len(self._seen) >= until:
                walk.kill()
        walk.wait(timeout=60)
        clock.cancel()
        stopped.set()
        sampling.join()

    def _note(self, told: dict[str, Any]) -> None:
        if told["event"] == "summary":
            self.outcome.summary = told
        elif told["event"] == "study":
            self._diary.note(told)
            self._count(told)

    def _count(self, told: dict[str, Any]) -> None:
        if told["state"] == "known" and told["name"] in self._seen:
            return  # by a walk that begins again
        self.outcome.told_twice += told["name"] in self._seen
        self._seen.add(told["name"])
        self.outcome.ended[told["state"]] += 1

    def _sample(self, pid: int, stopped: threading.Event) -> None:
        data = self.folder / "node" / "data"
        while not stopped.wait(min(SAMPLE_S, 0.2 * self.studies)):
            self.outcome.samples.append(
                Sample(
                    time.monotonic() - self._began,
                    len(self._seen),
                    sum(usage.memory_mb(self._node.pid(command)) for command in COMMANDS),
                    usage.memory_mb(pid),
                    sum(path.stat().st_size for path in data.glob("index.sqlite*")),
                )
            )


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _tables(database: Path) -> dict[str, int]:
    with closing(sqlite3.connect(database)) as connection:
        query = (
            "SELECT m.tbl_name, SUM(s.pgsize) FROM dbstat s JOIN sqlite_master m "
            "ON m.name = s.name GROUP BY m.tbl_name ORDER BY 2 DESC"
        )
        return dict(connection.execute(query).fetchall())
