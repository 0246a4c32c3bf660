"""What is deleted after delivery, what never is, and what comes again; on both databases."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from node.config import Retention as Rules
from node.dicom.intake import read_row
from node.retention import Retention
from node.spine.instances import InstanceRow
from node.storage.archive import Archive
from node.storage.index import Index
from tests.builders import uid

NOW = datetime.now(UTC)
STUDY = uid("study", "retention")
SOURCE = "SCANNER"


@pytest.fixture
def index(database_url: str) -> Iterator[Index]:
    index = Index(database_url)
    yield index
    index.close()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive", 0)


def receive(
    archive: Archive, index: Index, number: int, study: str = STUDY, source: str = SOURCE
) -> Path:
    """Store an instance and index it, as the listener does."""
    stored = archive.put(f"image {number} of {study}".encode())
    row = InstanceRow(
        sop_instance_uid=uid("instance", study, number),
        series_uid=uid("series", study),
        study_uid=study,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sha256=stored.sha256,
        bytes=stored.bytes,
        source=source,
        received_at=stored.stored_at,
    )
    index.add_instance(row)
    return stored.path


def deliver(index: Index, *states: str, study: str = STUDY, proof: str = "commitment") -> None:
    """Bring a study to its end, its results to a destination for each state."""
    index.set_state(study, "queued", job_id=f"{study}:job")
    for state in ("running", "delivering", "done"):
        index.set_state(study, state)
    for number, state in enumerate(states):
        index.upsert_delivery(f"{study}:job", study, f"pacs{number}", state, 1, proof=proof)


def grow_old(path: Path) -> None:
    """Let a file look as if nobody had touched it for two hours."""
    os.utime(path, (time.time() - 7200, time.time() - 7200))


class Dropped:
    """What a retention has deleted of results, and how far back it remembers."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.forgotten_before: datetime | None = None

    def forget(self, when: datetime) -> None:
        self.forgotten_before = when


def retention(
    archive: Archive,
    index: Index,
    *,
    min_free_mb: int = 0,
    rules: Rules | None = None,
    dropped: Dropped | None = None,
) -> Retention:
    dropped = dropped or Dropped()
    return Retention(
        rules=rules or Rules(),
        min_free_mb=min_free_mb,
        archive=archive,
        index=index,
        drop_results=dropped.jobs.append,
        forget=dropped.forget,
        forget_jobs=lambda _: None,
    )


def sweep(archive: Archive, index: Index, *, hours: float, **options: Any) -> list[str]:
    """Sweep at a time so many hours from now."""
    return retention(archive, index, **options).sweep(NOW + timedelta(hours=hours))


def test_images_go_a_day_after_the_last_delivery(archive: Archive, index: Index) -> None:
    """Before that they stay; afterwards the rows stay and the files are gone."""
    paths = [receive(archive, index, number) for number in (1, 2)]
    deliver(index, "delivered", "delivered")
    for path in paths:
        grow_old(path)

    assert sweep(archive, index, hours=23) == []
    assert all(path.exists() for path in paths)
    assert sweep(archive, index, hours=25) == [STUDY]
    assert not any(path.exists() for path in paths)
    assert len(index.instances(STUDY)) == len(index.released(STUDY)) == 2
    assert sweep(archive, index, hours=26) == []


@pytest.mark.parametrize("states", [("delivered", "waiting"), ("dead",), ("refused",), ()])
def test_nothing_undelivered_is_deleted(
    archive: Archive, index: Index, states: tuple[str, ...]
) -> None:
    """However old it is, and also when there is nobody to deliver to."""
    path = receive(archive, index, 1)
    deliver(index, *states)
    grow_old(path)

    assert sweep(archive, index, hours=10_000, min_free_mb=2**40) == []
    assert path.exists()


@pytest.mark.parametrize(
    ("proof", "status_is_proof", "goes"),
    [
        ("", True, False),
        ("status", True, True),
        ("status", False, False),
        ("query", False, True),
        ("commitment", False, True),
    ],
)
def test_only_what_counts_as_proof_frees_images(
    archive: Archive, index: Index, proof: str, status_is_proof: bool, goes: bool
) -> None:
    """A Success alone is enough unless the policy says otherwise; nothing at all never is."""
    path = receive(archive, index, 1)
    deliver(index, "delivered", proof=proof)
    grow_old(path)

    gone = sweep(
        archive, index, hours=25, rules=Rules(status_is_proof=status_is_proof), min_free_mb=2**40
    )
    assert (gone == [STUDY], not path.exists()) == (goes, goes)


def test_results_go_when_the_policy_says_so(archive: Archive, index: Index) -> None:
    """Not before their days are over, once, and what was superseded goes with them."""
    receive(archive, index, 1)
    index.upsert_delivery(f"{STUDY}:old", STUDY, "pacs0", "delivered", 1, proof="query")
    deliver(index, "delivered", "delivered")
    dropped, rules = Dropped(), Rules(results_days=2)

    sweep(archive, index, hours=47, rules=rules, dropped=dropped)
    assert dropped.jobs == []
    for _ in range(2):
        sweep(archive, index, hours=49, rules=rules, dropped=dropped)
        assert dropped.jobs == [f"{STUDY}:job", f"{STUDY}:old"]
    assert index.results_deleted(f"{STUDY}:job") == NOW + timedelta(hours=49)
    assert index.results_deleted("another") is None


@pytest.mark.parametrize(
    ("states", "proof", "days"),
    [
        (("delivered",), "query", 0),
        (("delivered", "waiting"), "query", 1),
        (("dead",), "", 1),
        (("delivered",), "", 1),
        ((), "", 1),
    ],
)
def test_results_that_are_not_proven_to_be_elsewhere_stay(
    archive: Archive, index: Index, states: tuple[str, ...], proof: str, days: int
) -> None:
    """However old they are; and by default all of them stay."""
    receive(archive, index, 1)
    deliver(index, *states, proof=proof)
    dropped = Dropped()

    sweep(archive, index, hours=10_000, rules=Rules(results_days=days), dropped=dropped)
    assert dropped.jobs == []


def test_an_undelivered_result_that_was_superseded_stays(archive: Archive, index: Index) -> None:
    """What never reached anybody is deleted by nobody."""
    receive(archive, index, 1)
    index.upsert_delivery(f"{STUDY}:old", STUDY, "pacs0", "dead", 1)
    deliver(index, "delivered")
    dropped = Dropped()

    sweep(archive, index, hours=10_000, rules=Rules(results_days=1), dropped=dropped)
    assert dropped.jobs == [f"{STUDY}:job"]


def test_a_full_disk_frees_finished_studies_first(archive: Archive, index: Index) -> None:
    """Near the watermark a finished study need not wait for its day."""
    waiting = uid("study", "waiting")
    kept, gone = receive(archive, index, 1, waiting), receive(archive, index, 1)
    deliver(index, "delivered")
    for path in (kept, gone):
        grow_old(path)

    assert sweep(archive, index, hours=1, min_free_mb=2**40) == [STUDY]
    assert (kept.exists(), gone.exists()) == (True, False)


def test_a_file_in_use_waits_for_the_next_sweep(archive: Archive, index: Index) -> None:
    """What was stored again a moment ago was acknowledged again: it is not deleted."""
    path = receive(archive, index, 1)
    deliver(index, "delivered")
    grow_old(path)
    receive(archive, index, 1)
    keeper = retention(archive, index)

    keeper.sweep(NOW + timedelta(hours=25))
    assert path.exists()
    grow_old(path)
    keeper.sweep(NOW + timedelta(hours=26))
    assert not path.exists()


def test_a_study_that_comes_again_is_whole_again(archive: Archive, index: Index) -> None:
    """A late image alone waits for the others; when they come, the study is looked at."""
    path = receive(archive, index, 1)
    deliver(index, "delivered")
    grow_old(path)
    sweep(archive, index, hours=25)
    receive(archive, index, 2)
    index.set_state(STUDY, "incomplete", ["images were deleted"])

    assert receive(archive, index, 1) == path
    assert path.exists()
    assert index.released(STUDY) == frozenset()
    study = index.study(STUDY)
    assert study is not None
    assert (study.state, study.instances) == ("receiving", 2)


def test_what_comes_again_before_it_was_deleted_stays(archive: Archive, index: Index) -> None:
    """A file in use waits for the next sweep; until then a sender may be told that it is safe."""
    path = receive(archive, index, 1)
    deliver(index, "delivered")
    keeper = retention(archive, index)
    assert keeper.sweep(NOW + timedelta(hours=25)) == [STUDY]
    assert path.exists()

    receive(archive, index, 1)
    grow_old(path)
    keeper.sweep(NOW)

    assert path.exists()
    assert index.released(STUDY) == frozenset()


def test_a_finished_study_sent_again_stays_finished(archive: Archive, index: Index) -> None:
    """The same images make no second result; they are deleted again in time."""
    path = receive(archive, index, 1)
    deliver(index, "delivered")
    grow_old(path)
    sweep(archive, index, hours=25)
    receive(archive, index, 1)
    study = index.study(STUDY)
    assert study is not None
    assert study.state == "done"

    grow_old(path)
    assert sweep(archive, index, hours=50) == [STUDY]
    assert not path.exists()


def test_images_of_a_backfill_go_as_soon_as_nobody_needs_them(
    archive: Archive, index: Index
) -> None:
    """The archive that was walked through has them; what is on its way or was refused stays."""
    ended = {
        "kept here": [],
        "delivered": ["delivered"],
        "waiting": ["delivered", "waiting"],
        "refused": ["refused"],
    }
    for study, states in ended.items():
        grow_old(receive(archive, index, 1, study, "backfill:orthanc:main"))
        deliver(index, *states, study=study)
    receive(archive, index, 1)
    deliver(index)  # a live one, for which there is no destination

    assert sorted(sweep(archive, index, hours=0)) == ["delivered", "kept here"]
    assert sweep(archive, index, hours=0) == []
    assert len(list(archive.iterate())) == 3


def test_what_was_released_and_comes_again_is_released_again(
    archive: Archive, index: Index
) -> None:
    """A study is looked at for release for as long as a file of it is here, and no longer."""
    grow_old(receive(archive, index, 1, source="backfill:folder"))
    deliver(index)
    assert sweep(archive, index, hours=0) == [STUDY]

    path = receive(archive, index, 2, source="backfill:folder")
    grow_old(path)
    deliver(index)

    assert sweep(archive, index, hours=0) == [STUDY]
    assert not path.exists()


def test_a_start_does_not_take_a_released_file_for_a_new_one(
    archive: Archive, index: Index
) -> None:
    """A file in use when its study was released stays released, and goes at a later sweep."""
    path = receive(archive, index, 1, source="backfill:folder")
    deliver(index)
    assert sweep(archive, index, hours=0) == [STUDY]
    assert path.exists()

    assert index.rebuild(archive.iterate(), read_row) == 0

    assert len(index.released(STUDY)) == 1
