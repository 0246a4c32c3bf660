"""The watcher's decisions, with an index and a desk of a few lines."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from node.config import Complete, Source
from node.errors import DestinationUnavailable, Misconfigured
from node.exchange.asking import Asking, Counts
from node.jobs import Job
from node.runs import Runs, job_id_of
from node.spine.facts import SeriesFacts
from node.spine.instances import InstanceRow, input_hash
from node.spine.series import SeriesChoice, choose
from node.storage.rows import LastRun, StudyRow
from node.storage.turns import FIRST, Priority
from node.watch import Watcher
from tests.unit.series_habits import ax_t2, sag_t1, sag_t2
from tests.waiting import wait_for

if TYPE_CHECKING:
    from node.jobs import Desk
    from node.received import Received
    from node.storage.index import Index

NOW = datetime.now(UTC)
STUDY = "1.2.3"
QUIET = StudyRow(STUDY, "receiving", (), None, "PACS", NOW, NOW - timedelta(seconds=70), 2)


PROVEN = (sag_t1(), sag_t2(), ax_t2())
#: All three series, but axial slices through four discs only.
UNPROVEN = (sag_t1(), sag_t2(), ax_t2(count=24))
LONE = (sag_t2(),)


class World:
    """An index, a desk and headers, all in one."""

    def __init__(self, row: StudyRow, series: Sequence[SeriesFacts] = UNPROVEN) -> None:
        self.row = row
        self.series = series
        self.images = ["a", "b"]
        self.handed_in: list[tuple[Any, ...]] = []
        self.turns: list[int] = []
        self.asked_as_urgent = False
        self.read = self.looked = 0
        self.deleted: frozenset[str] = frozenset()
        self.told: Counts | None = None
        self.waiting = threading.Event()
        self.waiting.set()

    def watcher(
        self,
        times: Complete | None = None,
        open_associations: int = 0,
        sources: Sequence[Source] = (),
        decides: bool = True,
    ) -> Watcher:
        return Watcher(
            times=times or Complete(),
            index=cast("Index", self),
            desk=cast("Desk", self),
            runs=self.runs(sources),
            received=cast("Received", self),
            asking=Asking(self.count),
            open_associations=lambda _uid: open_associations,
            sources=sources,
            decides=lambda _uid: decides,
        )

    def runs(self, sources: Sequence[Source] = ()) -> Runs:
        here = cast("Any", self)
        return Runs(here, here, here, sources)

    def end(self) -> None:
        """Let the study's job come to its end."""
        for state in ("running", "delivering", "done"):
            self.runs().note(STUDY, self.row.job_id or "", state, [])

    def is_urgent(self, _uid: str) -> bool:
        return self.asked_as_urgent

    def choice(self, _uid: str, _instances: Sequence[InstanceRow]) -> SeriesChoice | None:
        self.read += 1
        return choose(self.series) if self.series else None

    def forget(self, _uid: str) -> None:
        pass

    def count(self, _address: str, _uid: str) -> Counts:
        self.waiting.wait(20)
        if self.told is None:
            raise DestinationUnavailable("PACS cannot be reached")
        return self.told

    def study(self, _uid: str, **_: bool) -> StudyRow:
        return self.row

    def studies(self, _limit: int, *, state: str) -> tuple[StudyRow, ...]:
        self.looked += state == "receiving"
        return (self.row,) if self.row.state == state else ()

    def instances(self, _uid: str) -> list[InstanceRow]:
        return [InstanceRow(i, "s", STUDY, "c", "t", i, 1, "PACS", NOW) for i in self.images]

    def released(self, _uid: str) -> frozenset[str]:
        return self.deleted

    def input_hash(self, uid: str) -> str:
        return input_hash(self.instances(uid))

    def set_state(
        self, _uid: str, state: str, reasons: Sequence[str] = (), job_id: str | None = None
    ) -> None:
        self.row = replace(
            self.row, state=state, reasons=tuple(reasons), job_id=job_id or self.row.job_id
        )

    def set_reasons(self, _uid: str, state: str, reasons: Sequence[str]) -> None:
        assert self.row.state == state
        self.row = replace(self.row, reasons=tuple(reasons))

    def set_last_run(self, _uid: str, run: LastRun) -> None:
        self.row = replace(self.row, last_run=run)

    @contextmanager
    def together(self) -> Iterator[str]:
        yield "one transaction"

    def give_turn(self, _study: StudyRow, priority: Priority) -> int:
        return FIRST[priority]

    def enqueue(
        self, _queue: str, job_id: str, *told: Any, delay_s: float, priority: int, within: str
    ) -> None:
        assert within == "one transaction"
        self.turns.append(priority)
        self.handed_in.append((job_id, told[-1], delay_s))

    def job(self, job_id: str) -> Job | None:
        known = any(job_id == j for j, *_ in self.handed_in)
        return Job(job_id, "study", "SUCCESS") if known else None

    def jobs(self, prefix: str) -> list[Job]:
        return [Job(j, "study", "ERROR") for j, *_ in self.handed_in if j.startswith(prefix)]


def test_a_quiet_study_with_all_roles_is_handed_in_with_its_instance_set() -> None:
    """The job's id is the study and its set, and the job gets exactly that set."""
    world = World(QUIET)

    world.watcher().consider(world.row)

    job_id = job_id_of(STUDY, world.input_hash(STUDY))
    assert world.handed_in == [(job_id, ["a", "b"], 0.0)]
    assert (world.row.state, world.row.job_id) == ("queued", job_id)


def test_headers_are_read_only_when_the_study_is_quiet_and_once_a_set() -> None:
    """Looking at every header twice a second would cost more than the analysis."""
    world = World(replace(QUIET, last_received=datetime.now(UTC)), LONE)
    watcher = world.watcher()
    watcher.consider(world.row)
    assert world.read == 0

    for _ in range(3):
        watcher.consider(QUIET)
    assert world.read == 1

    watcher.consider(replace(QUIET, instances=3))
    assert world.read == 2


def test_a_study_that_is_proven_whole_runs_without_waiting_for_quiet() -> None:
    """A second after the last image, with what was proven told on the study."""
    just_now = replace(QUIET, last_received=datetime.now(UTC) - timedelta(seconds=2))
    world, unproven = World(just_now, PROVEN), World(just_now, UNPROVEN)

    world.watcher().consider(world.row)
    unproven.watcher().consider(unproven.row)

    assert world.row.state == "queued"
    assert world.row.started[0] == "proven complete"
    assert unproven.row.state == "receiving"
    assert unproven.row.reasons == (
        "series ax covers only 101 mm from head to foot",
        "waiting for 60 s of silence",
    )


ASKED = [Source(ae_title="PACS", ask="PACS@127.0.0.1:104")]


def test_a_source_that_holds_no_more_lets_a_study_run_at_once() -> None:
    """No second of silence is needed when the source itself has counted."""
    world = World(replace(QUIET, last_received=datetime.now(UTC)), PROVEN)
    world.told = {"s": 2}

    decision = world.watcher(sources=ASKED).consider(world.row)

    assert decision.verdict == "ready"
    assert decision.reasons[-1] == "PACS@127.0.0.1:104 holds no image that is not here"


def test_a_source_that_holds_more_keeps_a_study_waiting_past_the_quiet_time() -> None:
    """Also when the headers say that nothing is missing."""
    world = World(QUIET, PROVEN)
    world.told = {"s": 5, "other": 3}

    decision = world.watcher(sources=ASKED).consider(world.row)

    assert decision.verdict == "wait"
    assert "PACS@127.0.0.1:104 holds 6 more image(s), in 2 MR series" in decision.reasons


def test_a_source_that_is_down_leaves_it_to_silence_and_says_so() -> None:
    """Nobody waits for a source that does not answer, and the study tells why it waited."""
    early, quiet = World(replace(QUIET, last_received=datetime.now(UTC)), PROVEN), World(QUIET)

    assert early.watcher(sources=ASKED).consider(early.row).verdict == "wait"
    quiet.watcher(sources=ASKED).consider(quiet.row)

    assert "PACS cannot be reached: silence decides" in quiet.row.started


def test_a_slow_source_holds_up_nobody() -> None:
    """The study waits for the answer, the watcher does not."""
    world = World(QUIET, PROVEN)
    world.told = {"s": 2}
    world.waiting.clear()
    watcher = world.watcher(sources=ASKED)

    assert watcher.consider(world.row).reasons[0].startswith("asking PACS")
    world.waiting.set()
    wait_for(lambda: watcher.consider(world.row).verdict == "ready", what="the answer")


def test_late_images_that_change_no_chosen_series_do_not_run_again() -> None:
    """A localizer that comes last: the results stand, and the study says so."""
    world = World(QUIET)
    watcher = world.watcher()
    watcher.consider(world.row)
    world.end()

    world.images.append("localizer")
    world.row = replace(world.row, state="receiving", instances=3)
    watcher.consider(world.row)

    assert (world.row.state, len(world.handed_in)) == ("done", 1)
    assert "change no chosen series" in world.row.reasons[0]


def test_late_images_of_a_chosen_series_run_again() -> None:
    """A slice that was missing, or a better series: the larger set gets its own job."""
    world = World(QUIET, LONE)
    watcher = world.watcher(Complete(incomplete_s=61))
    watcher.consider(world.row)
    world.end()

    world.images.append("axial")
    world.series = UNPROVEN
    world.row = replace(world.row, state="receiving", instances=3)
    watcher.consider(world.row)

    assert (world.row.state, len(world.handed_in)) == ("queued", 2)


def test_a_late_series_is_not_cut_off_by_the_age_of_its_study() -> None:
    """What arrives hours after the results waits for its own end, not for that of the study."""
    long_ago = replace(QUIET, first_received=NOW - timedelta(hours=5))
    world = World(long_ago, LONE)
    watcher = world.watcher(Complete(incomplete_s=61))
    watcher.consider(world.row)
    world.end()

    world.row = replace(world.row, state="receiving", instances=3)
    world.images.append("first of a series")
    world.series = UNPROVEN
    busy = world.watcher(open_associations=1).consider(world.row)

    assert (busy.verdict, len(world.handed_in)) == ("wait", 1)


def test_a_study_that_cannot_be_read_keeps_no_other_waiting() -> None:
    """Whatever is wrong with one, the next in the list is decided."""
    bad = replace(QUIET, study_uid="bad")

    class Two(World):
        def studies(self, _limit: int, *, state: str) -> tuple[StudyRow, ...]:
            return tuple(r for r in (bad, self.row) if r.state == state)

        def choice(self, uid: str, instances: Sequence[InstanceRow]) -> SeriesChoice | None:
            if uid == "bad":
                raise RuntimeError("a header nobody thought of")
            return super().choice(uid, instances)

    world = Two(QUIET)
    watcher = world.watcher()
    watcher.start()
    wait_for(lambda: world.row.state == "queued", what="the other study")
    watcher.stop()


def test_an_open_association_waits() -> None:
    """The sender is not done, however long it has been silent."""
    world = World(QUIET)

    decision = world.watcher(open_associations=1).consider(world.row)

    assert decision.verdict == "wait"
    assert not world.handed_in


def test_a_study_that_stays_incomplete_runs_only_if_the_site_wants_it() -> None:
    """Partial results are a choice; without it the study stands there with its reasons."""
    late = replace(QUIET, last_received=NOW - timedelta(seconds=1000))
    wants, refuses = World(late, LONE), World(late, ())

    wants.watcher(Complete(run_incomplete=True)).consider(late)
    refuses.watcher(Complete(run_incomplete=False)).consider(late)

    assert wants.row.state == "queued"
    assert refuses.row.state == "incomplete"
    assert "no sagittal T1 series" in refuses.row.reasons
    assert not refuses.handed_in


def test_a_source_that_calls_the_study_stable_is_believed() -> None:
    """Orthanc has waited already: no second quiet time, and no open association counts."""
    world = World(replace(QUIET, last_received=datetime.now(UTC)))

    world.watcher(open_associations=1).settled(STUDY)

    assert world.row.state == "queued"


def test_images_that_came_during_the_analysis_open_the_study_again() -> None:
    """The result stands, and the larger set gets its own job."""
    world = World(QUIET)
    watcher = world.watcher()
    watcher.consider(world.row)
    world.images.append("c")

    world.end()

    assert world.row.state == "receiving"


def test_a_superseded_job_does_not_speak_for_the_study() -> None:
    """An old job that ends late must not overwrite what the newer one says."""
    world = World(replace(QUIET, state="running", job_id="newer"))

    world.runs().note(STUDY, "older", "failed", ["?"])

    assert world.row.state == "running"


def test_a_requeued_study_is_a_new_run_of_the_same_set() -> None:
    """By hand, or after a failure that may pass: the number goes up, the set stays."""
    world = World(QUIET)
    runs = world.runs()
    runs.enqueue(STUDY, ["complete"])
    first = world.row.job_id or ""

    runs.requeue(STUDY)
    assert world.row.job_id == f"{first}~2"
    runs.again(STUDY, f"{first}~2")
    assert world.row.job_id == f"{first}~3"
    assert world.handed_in[-1][2] > 0


@pytest.mark.parametrize(("late", "counts"), [((), True), (("c",), False)])
def test_findings_count_for_the_set_they_were_made_of(late: Sequence[str], counts: bool) -> None:
    """A run that is tried again keeps what it has found, unless images came meanwhile."""
    world = World(QUIET)
    world.runs().enqueue(STUDY, ["complete"])
    world.images += late

    world.runs().again(STUDY, world.row.job_id or "", {"made": "before"})

    assert (world.handed_in[-1][1] == {"made": "before"}) is counts


def test_a_sender_has_its_own_times() -> None:
    """A slow sender waits longer than the others, by its own rule or by that of ``*``."""
    slow = [Source(ae_title="PACS", quiet_s=800), Source(ae_title="*", quiet_s=1)]
    own, others = World(QUIET), World(replace(QUIET, source="SCANNER"))

    assert own.watcher(sources=slow).consider(own.row).verdict == "wait"
    assert others.watcher(sources=slow).consider(others.row).verdict == "ready"


def test_a_sender_that_is_ignored_gets_no_analysis() -> None:
    """Its images are kept, its study says why nothing happens, and nobody reads its headers."""
    world = World(QUIET)

    world.watcher(sources=[Source(ae_title="PACS", ignore=True)]).consider(world.row)

    assert (world.row.state, world.handed_in, world.read) == ("cancelled", [], 0)
    assert "PACS are not analysed" in world.row.reasons[0]


@pytest.mark.parametrize(
    ("rule", "sent_as_urgent", "asked_as_urgent", "priority"),
    [
        (None, False, False, "routine"),
        (None, True, False, "stat"),
        (None, False, True, "stat"),
        ("stat", False, False, "stat"),
        ("routine", True, True, "routine"),
        ("backfill", True, True, "backfill"),
    ],
)
def test_the_rule_of_the_source_decides_else_what_the_images_say(
    rule: Priority | None, sent_as_urgent: bool, asked_as_urgent: bool, priority: Priority
) -> None:
    """The engine takes the smallest number first; a site may overrule a sender that exaggerates."""
    world = World(replace(QUIET, urgent=sent_as_urgent))
    world.asked_as_urgent = asked_as_urgent

    world.watcher(sources=[Source(ae_title="*", priority=rule)]).consider(world.row)

    assert world.turns == [FIRST[priority]]


def test_a_study_whose_images_were_deleted_waits_for_all_of_them() -> None:
    """A late image cannot run alone, and nobody can requeue what is not there."""
    world = World(QUIET)
    world.deleted = frozenset({"a"})
    watcher = world.watcher()

    watcher.consider(world.row)

    assert world.row.state == "incomplete"
    assert "send the whole study again" in world.row.reasons[0]
    with pytest.raises(Misconfigured, match="send the whole study again"):
        world.runs().requeue(STUDY)
    assert world.handed_in == []


def test_a_clock_that_is_set_back_holds_up_no_study() -> None:
    """Images from the future are as silent as any: their silence is counted from now on."""
    world = World(replace(QUIET, last_received=datetime.now(UTC) + timedelta(hours=1)))
    watcher = world.watcher(Complete(quiet_s=0.2))

    assert watcher.consider(world.row).verdict == "wait"
    wait_for(lambda: watcher.consider(world.row).verdict == "ready")


def test_a_study_that_another_listener_decides_is_left_to_it() -> None:
    """Of several watchers on one index, one hands a study in."""
    world = World(QUIET)
    watcher = world.watcher(decides=False)
    watcher.start()
    wait_for(lambda: world.looked >= 3, what="the watcher")
    watcher.stop()
    assert world.handed_in == []
    assert world.read == 0
