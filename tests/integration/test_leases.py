"""Two workers on one database: one dies or freezes, the other finishes its jobs."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from node.jobs import Desk, Queue, Step, Worker
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
    version = sys.argv[5]

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

    Worker(url, (Queue("study", story, 2),), lease_s=2.0, version=version).start()
    time.sleep(120)
    """
)


class Workers:
    """Workers as processes of their own, and what they wrote down."""

    def __init__(self, url: str, trace: Path) -> None:
        self._url, self._trace = url, trace
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, seconds: float, version: str = "1") -> subprocess.Popen[bytes]:
        """Start a worker whose jobs take this long."""
        told = (self._url, name, str(seconds), str(self._trace), version)
        command = [sys.executable, "-c", WORKER, *told]
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


def test_a_job_is_finished_by_the_version_that_began_it(
    database_url: str, desk: Desk, workers: Workers
) -> None:
    """While a worker of that version lives, a newer one takes only what nobody has begun."""
    victim = workers.start("victim", 100.0)
    wait_for(lambda: len(workers.seen("victim", "begun")) == 2, seconds=30)
    begun = workers.seen("victim", "begun")
    workers.start("newer", 0.1, "2")
    wait_for(lambda: len(workers.seen("newer", "ended")) == 2, seconds=30)
    workers.start("fellow", 0.1)
    own = Leases(database_url, 2.0)
    wait_for(lambda: len(own.living()) == 3, seconds=30)
    victim.kill()
    wait_for(lambda: _done(desk), seconds=60)

    assert sorted(workers.seen("fellow", "ended")) == sorted(begun)
    assert sorted(workers.seen("newer", "ended")) == sorted(set(JOBS) - set(begun))


def test_a_job_begins_anew_when_nobody_has_its_version_any_more(
    desk: Desk, workers: Workers
) -> None:
    """The first half of one version is never followed by the second half of another."""
    victim = workers.start("victim", 100.0)
    wait_for(lambda: len(workers.seen("victim", "begun")) == 2, seconds=30)
    victim.kill()
    victim.wait()
    workers.start("newer", 0.1, "2")
    wait_for(lambda: sorted(workers.seen("newer", "ended")) == JOBS, seconds=60)

    ends = ["CANCELLED"] * 2 + ["SUCCESS"] * 4
    wait_for(lambda: sorted(j.status for name in JOBS for j in desk.jobs(name)) == ends)


def test_after_a_roll_back_the_older_version_takes_new_jobs_again(
    desk: Desk, workers: Workers
) -> None:
    """The version that came last is gone: nothing waits for it."""
    workers.start("older", 0.1)
    wait_for(lambda: _done(desk), seconds=60)
    newer = workers.start("newer", 0.1, "2")
    more = (f"more-{number}" for number in range(1000))

    def is_ahead() -> bool:
        """Hand in another job: those that come before it is ready are the older one's."""
        job = next(more)
        desk.enqueue("study", job, job)
        return bool(workers.seen("newer", "ended"))

    wait_for(is_ahead, seconds=60, every=0.5)
    newer.kill()
    newer.wait()
    desk.enqueue("study", "and one", "and one")

    wait_for(lambda: "and one" in workers.seen("older", "ended"), seconds=60)


def test_a_peer_that_hangs_holds_up_no_other(database_url: str) -> None:
    """Its jobs fill its own lane; those for another peer pass."""
    sent: list[str] = []
    hangs = threading.Event()

    def story(_step: Step, _study: str, _uid: str, destination: str) -> None:
        if destination == "hangs":
            hangs.wait(60)
        sent.append(destination)

    desk = Desk(database_url)
    for number in range(10):
        desk.enqueue("deliver", f"{number}/hangs", "job", "1.2", "hangs")
    desk.enqueue("deliver", "last", "job", "1.2", "answers")
    worker = Worker(database_url, (Queue("deliver", story, 4),))
    worker.start()
    try:
        wait_for(lambda: sent == ["answers"], seconds=30)
    finally:
        hangs.set()
        worker.stop()
        desk.close()
