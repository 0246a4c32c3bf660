"""The engine on a real SQLite database: once, resumed, delayed, killed."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from node.jobs import Desk, Queue, Step, Worker
from tests.waiting import wait_for

ENDED = {"SUCCESS", "ERROR", "CANCELLED"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.sqlite"


@pytest.fixture
def desk(url: str) -> Iterator[Desk]:
    desk = Desk(url)
    yield desk
    desk.close()


def run(url: str, story: Any, desk: Desk, *job_ids: str) -> None:
    worker = Worker(url, (Queue("study", story, 1),))
    worker.start()
    try:
        wait_for(lambda: all(_ended(desk, j) for j in job_ids), seconds=30)
    finally:
        worker.stop(patience_s=0)


def _ended(desk: Desk, job_id: str) -> bool:
    job = desk.job(job_id)
    return job is not None and job.status in ENDED


def test_a_job_handed_in_twice_runs_once(url: str, desk: Desk) -> None:
    """The id is the job: a study that is decided twice is analysed once."""
    seen: list[str] = []

    def story(step: Step, name: str) -> None:
        step("see", seen.append, name)

    desk.enqueue("study", "one", "a")
    desk.enqueue("study", "one", "b")
    run(url, story, desk, "one")

    assert seen == ["a"]


def test_a_delayed_job_waits_and_a_hasty_one_passes(url: str, desk: Desk) -> None:
    """Waiting for a destination holds no worker."""
    seen: list[str] = []

    def story(step: Step, name: str) -> None:
        step("see", seen.append, name)

    desk.enqueue("study", "late", "late", delay_s=2)
    desk.enqueue("study", "now", "now")
    started = time.monotonic()
    run(url, story, desk, "late", "now")

    assert seen == ["now", "late"]
    assert time.monotonic() - started >= 2


def test_a_story_that_raises_is_an_error_and_the_next_runs(url: str, desk: Desk) -> None:
    """One bad study never stops the queue."""

    def story(_step: Step, name: str) -> None:
        if name == "bad":
            raise ValueError(name)

    desk.enqueue("study", "bad", "bad")
    desk.enqueue("study", "good", "good")
    run(url, story, desk, "bad", "good")

    bad, good = desk.job("bad"), desk.job("good")
    assert bad is not None
    assert good is not None
    assert (bad.status, good.status) == ("ERROR", "SUCCESS")


def test_old_jobs_that_went_well_are_forgotten(url: str, desk: Desk) -> None:
    """What failed, waits or is young stays; a forgotten job can be handed in once more."""

    def story(_step: Step, name: str) -> None:
        if name == "bad":
            raise ValueError(name)

    names = ["good", "fine", "bad"]
    for name in names:
        desk.enqueue("study", name, name)
    run(url, story, desk, *names)
    desk.enqueue("study", "waiting", "waiting")

    assert desk.forget(datetime.now(UTC) - timedelta(minutes=5)) == 0
    assert desk.forget(datetime.now(UTC) + timedelta(minutes=5)) == 2

    assert [name for name in [*names, "waiting"] if desk.job(name)] == ["bad", "waiting"]
    desk.enqueue("study", "good", "good")
    run(url, story, desk, "good", "waiting")


def test_a_killed_worker_goes_on_behind_its_last_step(url: str, desk: Desk, tmp_path: Path) -> None:
    """After kill -9 the finished step is not repeated and the cut-off one is."""
    trace = tmp_path / "trace"
    script = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from node.jobs import Queue, Worker

        def mark(word):
            with Path({str(trace)!r}).open("a") as f: f.write(word + " ")

        def slow():
            mark("second")
            time.sleep(float(sys.argv[1]))

        def story(step, name):
            step("first", mark, "first")
            step("second", slow)
            step("third", mark, "third")

        Worker({url!r}, (Queue("study", story, 1),)).start()
        time.sleep(60)
        """
    )
    desk.enqueue("study", "job", "x")
    first = subprocess.Popen([sys.executable, "-c", script, "60"])
    wait_for(lambda: trace.exists() and "second" in trace.read_text(), seconds=30)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = subprocess.Popen([sys.executable, "-c", script, "0"])
    try:
        wait_for(lambda: _ended(desk, "job"), seconds=30)
    finally:
        second.kill()
        second.wait()

    assert trace.read_text().split() == ["first", "second", "second", "third"]
