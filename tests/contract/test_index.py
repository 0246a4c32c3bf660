"""What the index promises: first one kept, states by a table, rebuilt from the archive."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from node.errors import InvalidInstance
from node.spine.instances import InstanceRow, StoredFile
from node.storage.index import Index
from node.storage.rows import LastRun
from tests.builders import uid

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)

STATES = [
    *("receiving", "incomplete", "queued", "running", "delivering"),
    *("done", "rejected", "failed", "cancelled"),
]

# An independent copy of the design's table: what each state may change to.
ALLOWED = {
    "receiving": "incomplete queued done rejected failed cancelled",
    "incomplete": "receiving queued rejected failed cancelled",
    "queued": "receiving running rejected failed cancelled",
    "running": "queued delivering done rejected failed cancelled",
    "delivering": "queued done rejected failed cancelled",
    "done": "receiving queued failed",
    "rejected": "receiving queued failed cancelled",
    "failed": "receiving queued delivering cancelled",
    "cancelled": "receiving queued",
}

# The shortest way into each state.
WAYS = {
    "receiving": [],
    "incomplete": ["incomplete"],
    "queued": ["queued"],
    "running": ["queued", "running"],
    "delivering": ["queued", "running", "delivering"],
    "done": ["queued", "running", "done"],
    "rejected": ["rejected"],
    "failed": ["failed"],
    "cancelled": ["cancelled"],
}


@pytest.fixture
def index(database_url: str) -> Iterator[Index]:
    """An empty index."""
    made = Index(database_url)
    yield made
    made.close()


def row(number: int = 1, study: str = "a", contents: str = "") -> InstanceRow:
    return InstanceRow(
        sop_instance_uid=uid("instance", study, number),
        series_uid=uid("series", study),
        study_uid=uid("study", study),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sha256=hashlib.sha256(f"{study} {number} {contents}".encode()).hexdigest(),
        bytes=1000 + number,
        source="SCANNER",
        received_at=START + timedelta(seconds=number),
    )


STUDY = uid("study", "a")


def bring_to(index: Index, state: str) -> None:
    index.add_instance(row())
    for step in WAYS[state]:
        index.set_state(STUDY, step)


def test_a_new_instance_opens_its_study(index: Index) -> None:
    """The first image makes a study, later ones are counted into it."""
    assert index.add_instance(row(1)) == "new"
    assert index.add_instance(row(2)) == "new"
    study = index.study(STUDY)
    assert study is not None
    assert (study.state, study.instances, study.source) == ("receiving", 2, "SCANNER")
    assert study.first_received == START + timedelta(seconds=1)
    assert study.last_received == START + timedelta(seconds=2)
    assert study.reasons == ()
    assert study.job_id is None


def test_instances_come_back_as_they_went_in(index: Index) -> None:
    """Every field survives, times in UTC included."""
    rows = [row(number) for number in (3, 1, 2)]
    for one in rows:
        index.add_instance(one)
    expected = tuple(sorted(rows, key=lambda one: one.sop_instance_uid))
    assert index.instances(STUDY) == expected


def test_the_same_bytes_again_are_a_duplicate(index: Index) -> None:
    """A repeated instance changes nothing."""
    index.add_instance(row())
    before = index.study(STUDY)
    assert index.add_instance(replace(row(), received_at=START + timedelta(days=1))) == "duplicate"
    assert index.study(STUDY) == before
    assert index.conflicts(STUDY) == ()


def test_other_bytes_under_the_same_uid_are_a_conflict(index: Index) -> None:
    """The first is kept, the second is noted once."""
    index.add_instance(row())
    other = row(contents="other")
    assert index.add_instance(other) == "conflict"
    assert index.add_instance(other) == "conflict"
    assert index.instances(STUDY) == (row(),)
    assert index.conflicts(STUDY) == ((other.sop_instance_uid, other.sha256),)


@pytest.mark.parametrize("old", STATES)
@pytest.mark.parametrize("new", STATES)
def test_states_change_as_the_table_says(index: Index, old: str, new: str) -> None:
    """Every pair of states: allowed changes happen, others are refused and change nothing."""
    bring_to(index, old)
    if new == old or new in ALLOWED[old].split():
        index.set_state(STUDY, new, ["because"])
        expected = new
    else:
        with pytest.raises(ValueError, match=f"is {old}: it cannot become {new}"):
            index.set_state(STUDY, new, ["because"])
        expected = old
    study = index.study(STUDY)
    assert study is not None
    assert study.state == expected


@pytest.mark.parametrize("state", STATES)
def test_late_images_reopen_a_finished_study(index: Index, state: str) -> None:
    """Done, incomplete, rejected and failed studies are looked at again; others stay."""
    bring_to(index, state)
    index.add_instance(row(2))
    study = index.study(STUDY)
    assert study is not None
    reopened = state in {"done", "incomplete", "rejected", "failed"}
    assert study.state == ("receiving" if reopened else state)
    assert any("more images arrived" in reason for reason in study.reasons) == reopened
    assert study.instances == 2


def test_a_duplicate_does_not_reopen_a_finished_study(index: Index) -> None:
    """Sending the same study again runs nothing again."""
    bring_to(index, "done")
    index.add_instance(row())
    study = index.study(STUDY)
    assert study is not None
    assert study.state == "done"


def test_a_state_carries_its_reasons_and_its_job(index: Index) -> None:
    """Reasons are replaced with each change; the job id stays until another is given."""
    index.add_instance(row())
    index.set_state(STUDY, "queued", ["all three series are there"], job_id="job-1")
    index.set_state(STUDY, "running")
    study = index.study(STUDY)
    assert study is not None
    assert (study.reasons, study.job_id) == ((), "job-1")


def test_an_unknown_study_or_state_is_refused(index: Index) -> None:
    """A change needs a study that exists and a state that exists."""
    with pytest.raises(LookupError, match=r"1\.2\.3"):
        index.set_state("1.2.3", "queued")
    index.add_instance(row())
    with pytest.raises(ValueError, match="not a state"):
        index.set_state(STUDY, "finished")
    assert index.study("1.2.3") is None


def test_the_work_list_shows_the_newest_first(index: Index) -> None:
    """Studies come by their last image, limited, and by state when asked."""
    for number, name in enumerate("abc"):
        index.add_instance(row(number, study=name))
    index.set_state(uid("study", "b"), "queued")
    newest = [study.study_uid for study in index.studies(limit=2)]
    assert newest == [uid("study", "c"), uid("study", "b")]
    assert [s.study_uid for s in index.studies(state="queued")] == [uid("study", "b")]


def test_the_input_hash_is_of_the_set_of_instances(index: Index, tmp_path: Path) -> None:
    """Order does not matter; another instance or other bytes do."""
    other = Index(f"sqlite:///{tmp_path}/other.sqlite")
    for number in (1, 2, 3):
        index.add_instance(row(number))
        other.add_instance(row(4 - number))
    first = index.input_hash(STUDY)
    assert first == other.input_hash(STUDY)
    pairs = sorted((r.sop_instance_uid, r.sha256) for r in index.instances(STUDY))
    assert first == hashlib.sha256("".join(f"{u} {h}\n" for u, h in pairs).encode()).hexdigest()
    index.add_instance(row(4))
    assert index.input_hash(STUDY) != first
    other.close()


def test_a_delivery_is_one_row_that_changes(index: Index) -> None:
    """The later note of a job and destination takes the place of the earlier."""
    index.upsert_delivery("job-1", STUDY, "pacs", "waiting", 1, "no answer")
    index.upsert_delivery("job-1", STUDY, "archive", "delivered", 1)
    index.upsert_delivery("job-1", STUDY, "pacs", "delivered", 2)
    rows = {d.destination: (d.state, d.attempts, d.message) for d in index.deliveries(STUDY)}
    assert rows == {"pacs": ("delivered", 2, ""), "archive": ("delivered", 1, "")}


@pytest.mark.parametrize(
    ("before", "told", "is_news"),
    [
        (("pending", 1), ("pending", 1), False),
        (("pending", 1), ("waiting", 1), True),
        (("waiting", 1), ("pending", 1), False),
        (("delivered", 1), ("pending", 1), False),
        (("delivered", 1), ("delivered", 1), False),
        (("delivered", 1), ("dead", 1), True),
        (("delivered", 1), ("pending", 2), True),
        (("delivered", 2), ("waiting", 1), False),
        (("dead", 1), ("pending", 2), True),
    ],
)
def test_a_delivery_never_goes_back(
    index: Index, before: tuple[str, int], told: tuple[str, int], is_news: bool
) -> None:
    """A step that is run again after a crash does not undo what came after it, or its proof."""
    index.upsert_delivery("job-1", STUDY, "pacs", *before, proof="query")

    assert index.upsert_delivery("job-1", STUDY, "pacs", *told) == is_news

    (row,) = index.deliveries(STUDY)
    expected = (*told, "") if is_news else (*before, "query")
    assert (row.state, row.attempts, row.proof) == expected


def test_a_proof_belongs_to_the_delivery_that_was_made(index: Index) -> None:
    """A better proof stays; one of an earlier try, or of what is not delivered, is none."""
    index.upsert_delivery("job-1", STUDY, "pacs", "delivered", 2)

    def proof() -> tuple[str, str]:
        (found,) = index.deliveries(STUDY)
        return found.proof, found.proof_note

    index.set_proof("job-1", "pacs", 1, "commitment", "")
    assert proof() == ("", "")
    index.set_proof("job-1", "pacs", 2, "", "asked for")
    assert proof() == ("", "asked for")
    index.set_proof("job-1", "pacs", 2, "query", "no commitment")
    assert proof() == ("query", "no commitment")
    index.set_proof("job-1", "pacs", 2, "commitment", "")
    for lesser in ("query", "status", ""):
        index.set_proof("job-1", "pacs", 2, lesser, "too late")
    assert proof() == ("commitment", "")
    index.upsert_delivery("job-1", STUDY, "pacs", "pending", 3)
    index.set_proof("job-1", "pacs", 3, "commitment", "")
    assert proof() == ("", "")


def test_why_a_run_was_started_stays_with_the_study(index: Index) -> None:
    """Whatever its states say later."""
    index.add_instance(row())
    index.set_last_run(STUDY, LastRun(("proven complete",), "ab"))
    index.set_state(STUDY, "queued", ["something else"])
    study = index.study(STUDY)
    assert study is not None
    assert study.started == ("proven complete",)


def test_the_reasons_of_a_state_change_only_while_it_lasts(index: Index) -> None:
    """A watcher that looks at an old row does not speak for a study that went on."""
    index.add_instance(row())
    index.set_reasons(STUDY, "receiving", ["waiting for 60 s of silence"])
    assert index.studies()[0].reasons == ("waiting for 60 s of silence",)

    index.set_state(STUDY, "cancelled", ["cancelled by hand"])
    index.set_reasons(STUDY, "receiving", ["waiting for 60 s of silence"])
    assert index.studies()[0].reasons == ("cancelled by hand",)


def test_a_rebuild_restores_what_is_missing(index: Index, tmp_path: Path) -> None:
    """Only files the index does not know are read; a damaged one is left out."""
    rows = {one.sha256: one for one in (row(number) for number in range(1, 6))}
    files = [StoredFile(sha, tmp_path / sha, one.bytes, START) for sha, one in rows.items()]
    damaged = StoredFile("0" * 64, tmp_path / "damaged", 3, START)
    reads: list[str] = []

    def read(file: StoredFile) -> InstanceRow:
        reads.append(file.sha256)
        if file.sha256 not in rows:
            raise InvalidInstance("truncated")
        return rows[file.sha256]

    index.add_instance(row(1))
    assert index.rebuild([*files, damaged], read) == 4
    assert reads == [*list(rows)[1:], damaged.sha256]
    index.set_state(STUDY, "queued")
    assert index.rebuild(files, read) == 0
    study = index.study(STUDY)
    assert study is not None
    assert (study.instances, study.state) == (5, "queued")


def test_it_survives_being_opened_again(tmp_path: Path) -> None:
    """Another process with the same URL sees what was written."""
    url = f"sqlite:///{tmp_path}/index.sqlite"
    first, second = Index(url), Index(url)
    first.add_instance(row())
    assert second.instances(STUDY) == (row(),)
    first.close()
    second.close()


def test_sqlite_is_set_up_to_be_durable(tmp_path: Path) -> None:
    """The file is in WAL mode, so that readers do not stop the listener."""
    url = f"sqlite:///{tmp_path}/index.sqlite"
    Index(url).close()
    with create_engine(url).connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"


def test_many_threads_lose_nothing(index: Index) -> None:
    """Eight threads with overlapping instances: each is new exactly once, all are counted."""
    outcomes: list[str] = []

    def add(offset: int) -> None:
        outcomes.extend(index.add_instance(row(number)) for number in range(offset, offset + 20))

    threads = [threading.Thread(target=add, args=(10 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 160
    assert outcomes.count("new") == 90
    assert outcomes.count("duplicate") == 70
    study = index.study(STUDY)
    assert study is not None
    assert study.instances == 90
