"""Watch the studies that are being received, and start a job when one is complete."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from node.config import Complete, Source, source_of
from node.errors import RetryLater
from node.exchange.asking import Asking
from node.jobs import Desk
from node.received import Received
from node.runs import NOTHING, Runs
from node.spine import proof
from node.spine.anatomy import Role
from node.spine.completeness import Contents, Decision, StudyState, decide
from node.spine.instances import InstanceRow
from node.storage.index import Index
from node.storage.rows import StudyRow

log = structlog.get_logger()

POLL_S = 0.5
WAIT_S = 5.0  # for an object store that is away
EVERY = 1_000_000
DIED = (
    "the worker's process died on this study time and again, most likely in a pixel decoder: "
    "look at its images before you requeue it"
)
#: Ends that stand when nothing changes.
RESULTS = frozenset({"done", "rejected"})
#: Why a study waits is written down once it waits longer than this, not with every image.
TELL_AFTER_S = 2.0


@dataclass(frozen=True)
class _Look:
    """What the headers of a study said when it had so many images."""

    seen: tuple[int, datetime]
    contents: Contents
    fingerprint: str
    instances: Sequence[InstanceRow]


@dataclass(frozen=True)
class _Heard:
    """Since when, by the monotonic clock, a study has been silent that has so many images."""

    seen: tuple[int, datetime]
    since: float


@dataclass
class Watcher:
    """Decide, study by study, whether to wait, to run or to give up waiting.

    Attributes
    ----------
    times : Complete
    sources : sequence of Source
        What is different for single senders.
    index : Index
    desk : Desk
    runs : Runs
        Takes the studies that are ready.
    received : Received
        The series choice of a study. It is asked only once nothing more arrives, and once for
        each instance set, since reading headers costs.
    asking : Asking
        What the source of a study says it holds.
    open_associations : callable
        How many associations are open that have sent images of a study.
    decides : callable
        Whether this watcher decides about a study, where others look at the same index.
    """

    times: Complete
    index: Index
    desk: Desk
    runs: Runs
    received: Received
    asking: Asking
    open_associations: Callable[[str], int]
    sources: Sequence[Source] = ()
    decides: Callable[[str], bool] = lambda _: True
    _looks: dict[str, _Look] = field(default_factory=dict)
    _reopened: dict[str, datetime] = field(default_factory=dict)
    _heard: dict[str, "_Heard"] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch in a thread of its own."""
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()
        if self._thread:
            self._thread.join(timeout=10)
        self.asking.close()

    def _watch(self) -> None:
        self._bury()
        while not self._stopped.wait(POLL_S):
            try:
                rows = self.index.studies(EVERY, state="receiving")
            except Exception:
                log.exception("the watcher could not read the index; it tries again")
                continue
            self._forget(
                {*self._looks, *self._reopened, *self._heard} - {row.study_uid for row in rows}
            )
            try:
                self._consider_all([row for row in rows if self.decides(row.study_uid)])
            except RetryLater as error:
                log.warning("the watcher waits", reason=str(error))
                self._stopped.wait(WAIT_S)

    def _consider_all(self, rows: Sequence[StudyRow]) -> None:
        for row in rows:
            try:
                self.consider(row)
            except RetryLater:
                raise  # of no other study could more be read
            except Exception:  # one study never keeps the others waiting
                log.exception("the watcher could not decide", study_uid=row.study_uid)

    def consider(self, row: StudyRow, *, settled: bool = False) -> Decision:
        """Decide about one study and act on it.

        Parameters
        ----------
        row : StudyRow
        settled : bool
            The source itself said that the study is stable (Orthanc): do not wait for quiet.
        """
        rule = source_of(row.source, self.sources)
        if rule.ignore:
            why = f"the images of {row.source} are not analysed (sources: ignore)"
            self.index.set_state(row.study_uid, "cancelled", [why])
            return Decision("over", (why,))
        if reason := self.runs.gone(row.study_uid):
            self.index.set_state(row.study_uid, "incomplete", [reason])
            return Decision("over", (reason,))
        times = rule.times(self.times)
        state = self._state(row, rule, times, settled=settled)
        look = self._looks.get(row.study_uid)
        if look and look.seen == _seen(row) and (ending := self._unchanged(row, look)):
            why = "images that came later change no chosen series: the results stand"
            self._leave(row.study_uid)
            self.index.set_state(row.study_uid, ending, [why])
            return Decision("over", (why,))
        decision = decide(state, times)
        is_run = decision.verdict == "incomplete" and times.run_incomplete
        if decision.verdict == "ready" or is_run:
            self.runs.enqueue(row.study_uid, decision.reasons)
            self._leave(row.study_uid)
        elif decision.verdict == "incomplete":
            self._leave(row.study_uid)
            self.index.set_state(row.study_uid, "incomplete", decision.reasons)
        elif state.seconds_since_last >= TELL_AFTER_S and decision.reasons != row.reasons:
            self.index.set_reasons(row.study_uid, "receiving", decision.reasons)
        return decision

    def settled(self, study_uid: str) -> None:
        """Decide about a study that its source calls stable."""
        row = self.index.study(study_uid)
        if row is not None and row.state == "receiving":
            self.consider(row, settled=True)

    def _bury(self) -> None:
        """Say of a study whose job died with its process, time and again, that it failed."""
        for row in self.index.studies(EVERY, state="running"):
            job = self.desk.job(row.job_id) if row.job_id else None
            if job is not None and job.is_dead:
                self.index.set_state(row.study_uid, "failed", [DIED])

    def _state(self, row: StudyRow, rule: Source, times: Complete, *, settled: bool) -> StudyState:
        now = datetime.now(UTC)
        silence = self._silence(row, now)
        # Of a study that was decided before: since images came again.
        begin = self._reopened.setdefault(row.study_uid, now) if row.job_id else row.first_received
        age = (now - begin).total_seconds()
        open_associations = 0 if settled else self.open_associations(row.study_uid)
        is_quiet = silence >= min(times.proven_s, times.quiet_s) or rule.ask is not None
        must_look = settled or age >= times.forced_s or (is_quiet and not open_associations)
        contents = self._look(row).contents if must_look else Contents(frozenset())
        counted = None
        may_ask = contents.is_proven or silence >= times.quiet_s
        if rule.ask and not settled and may_ask and len(contents.roles) == len(Role):
            instances = self._look(row).instances
            counted = self.asking.about(rule.ask, row.study_uid, instances)
        return StudyState(open_associations, silence, age, contents, counted, settled)

    def _silence(self, row: StudyRow, now: datetime) -> float:
        """Return the seconds since the last image, whatever is done to the clock meanwhile.

        The clock is asked once for each last image; from then on time that only runs forward.
        """
        heard = self._heard.get(row.study_uid)
        if heard is None or heard.seen != _seen(row):
            already = max(0.0, (now - row.last_received).total_seconds())
            heard = _Heard(_seen(row), time.monotonic() - already)
            self._heard[row.study_uid] = heard
        return time.monotonic() - heard.since

    def _look(self, row: StudyRow) -> _Look:
        """Return what the study's headers say, read anew when images have arrived."""
        known = self._looks.get(row.study_uid)
        if known is None or known.seen != _seen(row):
            instances = self.index.instances(row.study_uid)
            choice = self.received.choice(row.study_uid, instances)
            known = _Look(
                _seen(row),
                proof.contents(choice) if choice else Contents(frozenset()),
                choice.fingerprint if choice else NOTHING,
                instances,
            )
            self._looks[row.study_uid] = known
        return known

    def _unchanged(self, row: StudyRow, look: _Look) -> str | None:
        """Return how the last run ended, when another would see the same images."""
        last = row.last_run
        is_same = last is not None and last.used == look.fingerprint and last.ended in RESULTS
        return last.ended if last and is_same else None

    def _forget(self, decided: Iterable[str]) -> None:
        """Give back what was kept about studies that others have decided."""
        for study_uid in decided:
            self._leave(study_uid)

    def _leave(self, study_uid: str) -> None:
        """Give back what was kept about a study that is decided."""
        self._looks.pop(study_uid, None)
        self._reopened.pop(study_uid, None)
        self._heard.pop(study_uid, None)
        self.received.forget(study_uid)
        self.asking.forget(study_uid)


def _seen(row: StudyRow) -> tuple[int, datetime]:
    return row.instances, row.last_received
