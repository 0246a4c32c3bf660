"""``bench engine``: what durability costs a study, beside a loop that only commits."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from node.bench import floor, resumption
from node.bench.machine import describe
from node.jobs import Desk, Queue, Step, Worker
from node.spine.instances import InstanceRow
from node.storage.engine import engine_of
from node.storage.index import Index

#: The chapters of `node.study`.
CHAPTERS = ("begin", "find", "write", "deliver")
_HASHES = ["0" * 64] * 100  # what a job is told: a hash for each image
_PATIENCE_S = 5.0  # for each job
#: What is measured, in the order of the table.
HAND_IN, STORY, STUDY = "handed in", "its four chapters", "handed in, waited and done"
PLAIN, SYNC = "plain loop: four commits of a row", "floor: four syncs of 4 KiB"


def run(
    folder: Path, *, jobs: int, kills: int, database: str, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Measure on SQLite, and on another database when one is given.

    Parameters
    ----------
    folder : Path
        On the disk to measure; SQLite's file lies below it.
    jobs : int
        Studies whose chapters do nothing, handed in at once and done one after another.
    kills : int
        Workers that are killed over a job; 0: none.
    database : str
        SQLAlchemy URL of an empty database, or empty.
    progress : callable

    Returns
    -------
    dict
        ``machine``, ``jobs``, and ``databases``: their kind, to ``ms`` (what is measured, to wall
        and CPU time (ms) of this process for a study) and ``resumed_s`` (s from each kill to the
        job going on in another worker).
    """
    found: dict[str, Any] = {}
    with TemporaryDirectory(dir=folder) as name:
        here = describe(Path(name))
        for url in filter(None, [f"sqlite:///{name}/index.sqlite", database]):
            kind = url.partition(":")[0].partition("+")[0]
            progress(f"{kind}: {jobs} studies")
            ms = {**_engine(url, jobs), PLAIN: _plain(url, jobs), SYNC: _synced(Path(name), jobs)}
            progress(f"{kind}: {kills} workers are killed")
            found[kind] = {"ms": ms, "resumed_s": resumption.measure(url, Path(name), kills)}
    return {"machine": here, "jobs": jobs, "databases": found}


def _engine(url: str, count: int) -> dict[str, dict[str, float]]:
    """Hand studies in and do them, one at once."""
    stories: list[dict[str, float]] = []

    def story(step: Step, *_: Any) -> None:
        with _timed(stories):
            for chapter in CHAPTERS:
                step(chapter, str)

    index, desk = Index(url), Desk(url)
    uids = [f"1.2.3.{number}" for number in range(count)]
    now = datetime.now(UTC)
    index.add_instances(
        [InstanceRow(uid, uid, uid, "class", "syntax", "0" * 64, 1, "PACS", now) for uid in uids]
    )
    handed_in: list[dict[str, float]] = []
    all_of_it: list[dict[str, float]] = []
    for uid in uids:
        with _timed(handed_in), index.together() as transaction:
            index.set_state(uid, "queued", ["complete"], job_id=uid)
            desk.enqueue("study", uid, uid, uid, _HASHES, within=transaction)
    worker = Worker(url, (Queue("study", story, 1),))
    worker.start()
    try:
        with _timed(all_of_it):
            _wait(desk, uids)
    finally:
        worker.stop()
        desk.close()
        index.close()
    told, whole = _typical(handed_in), all_of_it[0]
    study = {key: told[key] + whole[key] / count for key in told}
    return {HAND_IN: told, STORY: _typical(stories), STUDY: study}


def _plain(url: str, count: int) -> dict[str, float]:
    """Commit a row for each chapter, as durably as the engine does: no engine can do less."""
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE bench_chapters (chapter TEXT)")
    studies: list[dict[str, float]] = []
    for _ in range(count):
        with _timed(studies):
            for chapter in CHAPTERS:
                with engine.begin() as connection:
                    connection.exec_driver_sql(f"INSERT INTO bench_chapters VALUES ('{chapter}')")  # noqa: S608 - our own words
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE bench_chapters")
    engine.dispose()
    return _typical(studies)


def _synced(folder: Path, count: int) -> dict[str, float]:
    studies: list[dict[str, float]] = []
    with floor.page(folder) as write:
        for _ in range(count):
            with _timed(studies):
                for _ in CHAPTERS:
                    write()
    return _typical(studies)


@contextmanager
def _timed(into: list[dict[str, float]]) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    into.append({"wall": wall * 1000, "cpu": cpu * 1000})


def _typical(times: list[dict[str, float]]) -> dict[str, float]:
    """Return the median wall time, and the mean CPU time: its clock is coarser."""
    return {
        "wall": median(one["wall"] for one in times),
        "cpu": sum(one["cpu"] for one in times) / len(times),
    }


def _wait(desk: Desk, names: list[str]) -> None:
    deadline = time.monotonic() + _PATIENCE_S * len(names)
    left = list(names)
    while left:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(left)} jobs are not done after {_PATIENCE_S:g} s for each")
        job = desk.job(left[-1])
        if job is not None and job.status == "SUCCESS":
            left.pop()
        else:
            time.sleep(0.1)
