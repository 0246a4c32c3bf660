"""Studies on their way to the workers, on real databases: one change with their job, in turns."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from node import runs as runs_module
from node.config import Config, Deliver, Report, Source
from node.exchange.outbox import Delivered, Outbox
from node.inference.runtime import ModelStore
from node.jobs import Desk, Queue, Step, Worker
from node.runs import Runs
from node.spine.instances import InstanceRow
from node.storage.index import Index
from node.study import StudyStory
from tests.builders import mr_study, write_all
from tests.small_disk import Ballast, small_disk
from tests.waiting import wait_for

if TYPE_CHECKING:
    from node.received import Received

NOW = datetime.now(UTC)


@pytest.fixture
def index(database_url: str) -> Iterator[Index]:
    index = Index(database_url)
    yield index
    index.close()


@pytest.fixture
def desk(database_url: str, index: Index) -> Iterator[Desk]:  # the index comes first
    desk = Desk(database_url)
    yield desk
    desk.close()


class Unread:
    """Headers that nobody has to read."""

    def choice(self, _uid: str, _instances: Sequence[InstanceRow]) -> None:
        return

    def is_urgent(self, _uid: str) -> bool:
        return False

    def forget(self, _uid: str) -> None:
        pass


def runs_of(index: Index, desk: Desk, *sources: Source) -> Runs:
    return Runs(index, desk, cast("Received", Unread()), sources)


def receive(index: Index, source: str, *studies: str) -> None:
    index.add_instances(
        [InstanceRow(f"{s}.1", f"{s}.2", s, "c", "t", s, 1, source, NOW) for s in studies]
    )


def test_a_queued_study_and_its_job_are_there_together_or_not_at_all(
    index: Index, desk: Desk
) -> None:
    """Whatever ends the process between the two writes, there are none or both."""
    receive(index, "PACS", "1.2", "1.3")
    runs = runs_of(index, desk)

    with pytest.raises(ZeroDivisionError), index.together():
        runs.enqueue("1.2", ["complete"])
        raise ZeroDivisionError
    runs.enqueue("1.3", ["complete"])

    lost, kept = index.study("1.2"), index.study("1.3")
    assert lost is not None
    assert kept is not None
    assert (lost.state, lost.job_id, desk.jobs("1.2")) == ("receiving", None, [])
    assert kept.state == "queued"
    assert [job.job_id for job in desk.jobs("1.3")] == [kept.job_id]


def test_what_two_listeners_decide_about_a_study_is_one_job(index: Index, desk: Desk) -> None:
    """The slower of the two does not call a study queued that is at work."""
    receive(index, "PACS", "1.2")
    for runs in (runs_of(index, desk), runs_of(index, desk)):
        runs.enqueue("1.2", ["complete"])
        index.set_state("1.2", "running")

    study = index.study("1.2")
    assert study is not None
    assert study.state == "running"
    assert [job.job_id for job in desk.jobs("1.2")] == [study.job_id]


def test_a_step_that_is_repeated_leaves_a_study_at_its_end(index: Index, desk: Desk) -> None:
    """A worker that is killed behind a step's work, before it is kept, is followed by another."""
    receive(index, "PACS", "1.2")
    runs = runs_of(index, desk)
    runs.enqueue("1.2", ["complete"])
    (job,) = desk.jobs("1.2")
    outbox = Outbox(
        rules=Deliver(),
        index=index,
        desk=desk,
        note=runs.note,
        ending_of=lambda _job: "done",
        destinations_of=lambda _source: ["pacs"],
        files_of=lambda _job: [],
        send=lambda _destination, _files: Delivered("", [], proof="query"),
        prove=lambda *_: None,
    )

    def deliver() -> None:
        runs.note("1.2", job.job_id, "delivering", [])
        outbox.put("1.2", job.job_id)

    def send() -> None:
        told = (job.job_id, "1.2", "pacs", 1, NOW.isoformat())
        outbox.story(lambda _name, function, *arguments: function(*arguments), *told)

    runs.note("1.2", job.job_id, "running", [])
    for step in (deliver, deliver, send, deliver, send):
        step()
        index.set_proof(job.job_id, "pacs", 1, "commitment", "")

    study, (delivery,) = index.study("1.2"), index.deliveries("1.2")
    assert study is not None
    assert study.state == "done"
    assert (delivery.state, delivery.attempts, delivery.proof) == ("delivered", 1, "commitment")


def test_findings_that_could_not_be_written_are_not_made_again(
    database_url: str, index: Index, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk is full behind the models: the next run writes what the first has found."""
    monkeypatch.setattr(runs_module, "AGAIN_S", 0.5)
    study, files = "1.2", write_all(mr_study("found"), tmp_path / "in")
    receive(index, "PACS", study)
    runs = runs_of(index, desk)
    told: list[str] = []
    with small_disk(tmp_path / "small", 16) as disk:
        ballast = Ballast(disk)
        story = StudyStory(
            store=ModelStore(Config().models_dir, "cpu", 1),
            settings=Report(),
            files_of=lambda _: files,
            folder_of=lambda job_id: disk / job_id.rpartition(":")[2],
            earlier_of=lambda *_: [],
            note=runs.note,
            deliver=lambda *_: None,
            again=runs.again,
        )

        def watched(step: Step, *arguments: Any) -> None:
            def noted(name: str, *rest: Any) -> Any:
                told.append(name)
                return step(name, *rest)

            story(noted, *arguments)

        ballast.fill()
        worker = Worker(database_url, (Queue("study", watched, 1),))
        worker.start()
        try:
            runs.enqueue(study, ["complete"])
            wait_for(lambda: "again" in told, seconds=30)
            ballast.release()
            wait_for(lambda: "deliver" in told, seconds=30)
        finally:
            worker.stop(patience_s=1)
        written = [path.name for path in disk.rglob("sr.dcm")]

    assert [name for name in told if name == "find"] == ["find"]
    assert (told[0], told[-2:], written) == ("begin", ["write", "deliver"], ["sr.dcm"])


def test_sources_take_turns(database_url: str, index: Index, desk: Desk) -> None:
    """Urgent, then routine, then back-fill; and 200 studies of one sender keep no other waiting."""
    runs = runs_of(index, desk, Source(ae_title="OLD", priority="backfill"))
    noisy = [f"1.1.{n}" for n in range(200)]
    receive(index, "OLD", "1.4")
    receive(index, "NOISY", *noisy)
    receive(index, "QUIET", "1.2")
    receive(index, "SCANNER", "1.3")
    index.set_urgent("1.3")
    with index.together():
        for study in ("1.4", *noisy, "1.2", "1.3"):
            runs.enqueue(study, ["complete"])

    seen: list[str] = []

    def story(_step: Step, job_id: str, study_uid: str, _hashes: list[str]) -> None:
        index.set_state(study_uid, "running")
        seen.append(study_uid)
        if study_uid == noisy[1]:  # one that comes while the others are at work
            receive(index, "LATE", "1.5")
            runs.enqueue("1.5", ["complete"])

    worker = Worker(database_url, (Queue("study", story, 1),))
    worker.start()
    try:
        wait_for(lambda: "1.5" in seen, seconds=30)
    finally:
        worker.stop(patience_s=1)

    assert seen[:4] == ["1.3", noisy[0], "1.2", noisy[1]]
    assert seen.index("1.5") <= 6
    assert "1.4" not in seen
