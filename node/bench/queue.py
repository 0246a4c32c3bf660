"""``bench queue``: what the node asks of its databases, as their history grows."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from node.bench import history
from node.bench.machine import describe
from node.jobs import Desk, Queue, Step, Worker
from node.spine.instances import InstanceRow
from node.storage.index import Index

#: Jobs that are handed in and done to time one of them.
JOBS = 20
UID = "1.2.3"
PATIENCE_S = 120.0
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
IDLE_S = 4.0


def run(
    *, rows: list[int], runs: int, database: str, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Measure at each length of history.

    Parameters
    ----------
    rows : list of int
        Finished studies, each with its jobs, ascending.
    runs : int
        Every figure is a median of so many.
    database : str
        SQLAlchemy URL of an empty database; empty: a SQLite file of our own.
    progress : callable

    Returns
    -------
    dict
        ``machine``, ``database``, ``rows``, and ``ms``: what is asked, to a figure for each length.
    """
    with TemporaryDirectory() as folder:
        url = database or f"sqlite:///{folder}/index.sqlite"
        index, desk = Index(url), Desk(url)
        worker = Worker(url, (Queue("bench", _story, 1),))
        worker.start()
        found: dict[str, list[float]] = {}
        try:
            _first(index, desk)
            there = 0
            for count in rows:
                progress(f"{count} studies of history")
                history.copy(url, history.INDEX, count - there, there)
                history.copy(url, history.JOBS, count - there, there)
                there = count
                for what, ms in _measure(index, desk, worker, count, runs).items():
                    found.setdefault(what, []).append(ms)
        finally:
            worker.stop()
            desk.close()
            index.close()
        kind = database.partition(":")[0] or "sqlite"
        return {"machine": describe(Path(folder)), "database": kind, "rows": rows, "ms": found}


def _story(step: Step, *_: Any) -> None:
    """Four checkpoints, as a study has."""
    for name in ("begin", "find", "write", "deliver"):
        step(name, str)


def _first(index: Index, desk: Desk) -> None:
    """Bring a study and its job to their end: what history repeats."""
    now = datetime.now(UTC)
    row = InstanceRow(UID, UID, UID, "class", "syntax", "0" * 64, 1, "PACS", now)
    index.add_instance(row)
    for state in ("queued", "running", "delivering", "done"):
        index.set_state(UID, state, ["because"], job_id=UID)
    index.upsert_delivery(UID, UID, "pacs", "delivered", 1, proof="commitment")
    index.note_results_deleted(UID, now)
    index.release(UID)
    desk.enqueue("bench", UID, UID, UID, ["0" * 64] * 100)
    _wait(desk, UID)


def _measure(index: Index, desk: Desk, worker: Worker, count: int, runs: int) -> dict[str, float]:
    now = datetime.now(UTC)
    some = f"history-{count // 2}"
    asked: dict[str, Callable[[], object]] = {
        "watcher: studies being received": lambda: index.studies(10**6, state="receiving"),
        "web: the newest studies": index.studies,
        "one study": lambda: index.study(some),
        "images of a study": lambda: index.instances(some),
        "released images of a study": lambda: index.released(some),
        "deliveries of a study": lambda: index.deliveries(some),
        "retention: images to release": lambda: index.delivered_before(now),
        "retention: images of a back-fill": index.walked,
        "retention: results to delete": lambda: index.results_due(now),
        "retention: jobs to forget": lambda: desk.forget(LONG_AGO),
        "one job": lambda: desk.job(some),
        "jobs of a study": lambda: desk.jobs(some + ":"),
        "lease, and jobs of dead workers": worker.look_after,
    }
    found = {what: median(_ms(ask) for _ in range(runs)) for what, ask in asked.items()}
    names = [f"new-{count}-{number}" for number in range(JOBS)]
    found["hand in a job"] = median(_ms(partial(desk.enqueue, "bench", n, n)) for n in names)
    found["hand in and do a job"] = _ms(lambda: _wait(desk, names[-1])) / JOBS
    found["idle worker, a second"] = _idle_ms()
    return found


def _idle_ms() -> float:
    """Return the CPU time (ms) that a worker without work takes in a second."""
    began = time.process_time()
    time.sleep(IDLE_S)
    return (time.process_time() - began) * 1000 / IDLE_S


def _ms(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


def _wait(desk: Desk, job_id: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (job := desk.job(job_id)) is None or job.status != "SUCCESS":
        if time.monotonic() > deadline:
            raise TimeoutError(f"job {job_id} is not done after {PATIENCE_S:g} s")
        time.sleep(0.01)
