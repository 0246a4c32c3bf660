"""Two workers on one database: one dies or freezes, the other finishes its jobs."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from node.jobs import Desk
from node.storage.engine import engine_of
from node.storage.leases import Leases, leases
from tests.waiting import wait_for

JOBS = [f"job-{n}" for n in range(4)]

# Each job's first step says who runs it and takes long in the worker that is to be killed.
WORKER = textwrap.dedent(
    """
    import json, sys, time
    from pathlib import Path
    from node.jobs import Queue, Worker

    url, name, seconds, trace = sys.argv[1], sys.argv[2], float(sys.argv[3]), Path(sys.argv[4])

    def mark(job, word):
        with trace.open("a") as f:
            f.write(json.dumps([name, job, word]) + "\\n")

    def slow(job):
        mark(job, "begun")
        time.sleep(seconds)
        mark(job, "slept")

    def story(step, job):
        step("slow", slow, job)
        step("end", mark, job, "ended")

    Worker(url, (Queue("study", story, 2),), lease_s=2.0).start()
    time.sleep(120)
    """
)


class Workers:
    """Workers as processes of their own, and what they wrote down."""

    def __init__(self, url: str, trace: Path) -> None:
        self._url, self._trace = url, trace
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, seconds: float) -> subprocess.Popen[bytes]:
        """Start a worker whose jobs take this long."""
        command = [sys.executable, "-c", WORKER, self._url, name, str(seconds), str(self._trace)]
        self._processes.append(subprocess.Popen(command))
        return self._processes[-1]

    def seen(self, name: str, word: str) -> list[str]:
        """Return the jobs for which the worker wrote the word."""
        lines = self._trace.read_text().splitlines() if self._trace.exists() else []
        told = [json.loads(line) for line in lines]
        return [job for who, job, what in told if (who, what) == (name, word)]

    def end(self) -> None:
        """Kill what still runs."""
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def workers(database_url: str, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(database_url, tmp_path / "trace")
    yield workers
    workers.end()


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    desk = Desk(database_url)
    for job in JOBS:
        desk.enqueue("study", job, job)
    yield desk
    desk.close()


def _done(desk: Desk) -> bool:
    return all((job := desk.job(name)) and job.status == "SUCCESS" for name in JOBS)


@pytest.mark.parametrize("told", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_another_worker_finishes_what_one_left(
    desk: Desk, workers: Workers, told: signal.Signals
) -> None:
    """No job waits for a worker that is gone, and none ends twice."""
    victim = workers.start("victim", 100.0)
    wait_for(lambda: len(workers.seen("victim", "begun")) == 2, seconds=30)
    workers.start("heir", 0.1)
    victim.send_signal(told)
    wait_for(lambda: _done(desk), seconds=60)

    assert sorted(workers.seen("heir", "ended")) == JOBS
    assert workers.seen("victim", "ended") == []


def test_a_frozen_worker_that_wakes_up_changes_nothing(desk: Desk, workers: Workers) -> None:
    """Its step may end a second time, its job does not."""
    victim = workers.start("victim", 4.0)
    wait_for(lambda: len(workers.seen("victim", "begun")) == 2, seconds=30)
    victim.send_signal(signal.SIGSTOP)
    workers.start("heir", 0.1)
    wait_for(lambda: _done(desk), seconds=60)
    victim.send_signal(signal.SIGCONT)
    wait_for(lambda: len(workers.seen("victim", "slept")) == 2, seconds=30)

    assert sorted(workers.seen("heir", "ended")) == JOBS
    assert workers.seen("victim", "ended") == []


def test_a_silent_worker_is_dead_after_the_limit(database_url: str) -> None:
    """Only the database's clock counts, and a released lease is gone at once."""
    own, other, slow = (
        Leases(database_url, 60.0),
        Leases(database_url, 60.0),
        Leases(database_url, 1e-9),
    )
    own.renew()
    other.renew()
    assert {own.worker, other.worker} <= own.living() | other.living()
    assert slow.living() == frozenset()
    own.release()
    assert own.worker not in other.living()
    other.release()


def test_a_worker_that_was_silent_for_long_is_given_more_time(database_url: str) -> None:
    """On a machine with too much to do, two workers do not take each other's jobs for ever."""
    own = Leases(database_url, 0.5)
    own.renew()
    time.sleep(2.0)
    assert own.living() == frozenset()
    own.renew()
    time.sleep(1.0)

    assert own.living() == {own.worker}
    own.release()


def test_a_lease_from_the_future_keeps_nobody_alive(database_url: str) -> None:
    """A worker that died before the clock was set back is dead all the same."""
    own = Leases(database_url, 60.0)
    own.renew()
    assert own.living() == {own.worker}
    with engine_of(database_url).begin() as connection:
        connection.execute(update(leases).values(renewed=leases.c.renewed + 3600))

    assert own.living() == frozenset()
    own.release()


def test_a_worker_of_this_host_without_a_process_is_dead_at_once(database_url: str) -> None:
    """After a restart nothing waits for the lease of the process before."""
    script = f"from node.storage.leases import Leases; Leases({database_url!r}, 60.0).renew()"
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ)
    own = Leases(database_url, 60.0)
    own.renew()

    assert own.living() == {own.worker}
    own.release()
