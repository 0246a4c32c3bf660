"""Watch the studies that are being received, and start a job when one is complete."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from node.config import Complete, Source, source_of
from node.errors import Misconfigured
from node.exchange.asking import Asking
from node.jobs import Desk
from node.received import Received
from node.spine import proof
from node.spine.anatomy import Role
from node.spine.completeness import Contents, Decision, StudyState, decide
from node.spine.instances import InstanceRow, input_hash
from node.storage.index import Index, StudyRow

log = structlog.get_logger()

POLL_S = 0.5
EVERY = 1_000_000
AGAIN_S = 60.0
DIED = (
    "the worker's process died on this study time and again, most likely in a pixel decoder: "
    "look at its images before you requeue it"
)
ENDED = frozenset({"done", "rejected", "failed"})
#: Ends that stand when nothing changes.
RESULTS = frozenset({"done", "rejected"})
#: Of a job; the engine takes the smallest first.
PRIORITY = {"stat": 1, "routine": 10, "backfill": 20}
#: The fingerprint of a study without a usable series.
NOTHING = "nothing usable"
#: Why a study waits is written down once it waits longer than this, not with every image.
TELL_AFTER_S = 2.0


def job_id_of(study_uid: str, input_hash: str, run: int = 1) -> str:
    """Return the id of a study's job: the study and its instance set, so that twice is once.

    ``run`` is raised when the same set is run again by hand or after a failure that passed;
    results keep their identities all the same.
    """
    return f"{study_uid}:{input_hash[:16]}" + (f"~{run}" if run > 1 else "")


@dataclass(frozen=True)
class _Look:
    """What the headers of a study said when it had so many images."""

    seen: tuple[int, datetime]
    contents: Contents
    fingerprint: str
    instances: Sequence[InstanceRow]


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
    received : Received
        The series choice of a study. It is asked only once nothing more arrives, and once for
        each instance set, since reading headers costs.
    asking : Asking
        What the source of a study says it holds.
    open_associations : callable
        How many associations are open that have sent images of a study.
    """

    times: Complete
    index: Index
    desk: Desk
    received: Received
    asking: Asking
    open_associations: Callable[[str], int]
    sources: Sequence[Source] = ()
    _looks: dict[str, _Look] = field(default_factory=dict)
    _reopened: dict[str, datetime] = field(default_factory=dict)
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
        self._reconcile()
        while not self._stopped.wait(POLL_S):
            try:
                rows = self.index.studies(EVERY, state="receiving")
            except Exception:
                log.exception("the watcher could not read the index; it tries again")
                continue
            for row in rows:
                try:
                    self.consider(row)
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
        if reason := self._gone(row.study_uid):
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
            self.enqueue(row.study_uid, decision.reasons)
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
        elif row is not None and row.state == "queued":
            self._hand_in(row)

    def enqueue(
        self, study_uid: str, reasons: Sequence[str], *, run: int = 1, delay_s: float = 0.0
    ) -> None:
        """Hand in the job for the instance set the study has now.

        Parameters
        ----------
        study_uid : str
        reasons : sequence of str
            Why now; shown with the study.
        run : int
            Above 1 to run a set once more whose job has ended.
        delay_s : float
            Not before.
        """
        instances = self.index.instances(study_uid)  # once: the id and the work are one set
        hashes = sorted(i.sha256 for i in instances)
        job_id = job_id_of(study_uid, input_hash(instances), run)
        choice = self.received.choice(study_uid, instances)
        start = {"started": list(reasons), "used": choice.fingerprint if choice else NOTHING}
        self._leave(study_uid)
        self.index.set_summary(study_uid, json.dumps(start))
        # State first: a job that finds another job's id in the index keeps silent about itself.
        # A crash between the two lines is mended by `_reconcile`.
        self.index.set_state(study_uid, "queued", reasons, job_id=job_id)
        row = self.index.study(study_uid)
        rule = source_of(row.source if row else "", self.sources)
        self.desk.enqueue(
            "study",
            job_id,
            job_id,
            study_uid,
            hashes,
            delay_s=delay_s,
            priority=PRIORITY[rule.priority],
        )
        log.info("study queued", study_uid=study_uid, job_id=job_id, instances=len(hashes))

    def run_again(self, study_uid: str, job_id: str) -> None:
        """Run a study once more after a failure that may pass."""
        run = int(job_id.partition("~")[2] or 1) + 1
        self.enqueue(study_uid, ["waiting: it is tried again"], run=run, delay_s=AGAIN_S)

    def requeue(self, study_uid: str) -> None:
        """Run a study once more because a person says so.

        Raises
        ------
        Misconfigured
            When its images are no longer here.
        """
        if reason := self._gone(study_uid):
            raise Misconfigured(reason)
        stem = job_id_of(study_uid, self.index.input_hash(study_uid))
        runs = [j for j in self.desk.jobs(stem) if j.queue == "study"]
        self.enqueue(study_uid, ["requeued by hand"], run=len(runs) + 1)

    def note(self, study_uid: str, job_id: str, state: str, reasons: Sequence[str]) -> None:
        """Put a job's state into the index, unless a newer job has taken the study over."""
        row = self.index.study(study_uid)
        if row is None or row.job_id != job_id:
            return
        self.index.set_state(study_uid, state, reasons)
        if state in ENDED and row.summary:
            last = {**json.loads(row.summary), "ended": state}
            self.index.set_summary(study_uid, json.dumps(last))
        its_set = job_id_of(study_uid, self.index.input_hash(study_uid))
        if state in ENDED and not job_id.startswith(its_set):
            self.index.set_state(study_uid, "receiving", ["images arrived during the analysis"])

    def _reconcile(self) -> None:
        """Mend what a crash left: a job not handed in, or one that died with its process."""
        for row in self.index.studies(EVERY, state="queued"):
            self._hand_in(row)
        for row in self.index.studies(EVERY, state="running"):
            job = self.desk.job(row.job_id) if row.job_id else None
            if job is not None and job.is_dead:
                self.index.set_state(row.study_uid, "failed", [DIED])

    def _hand_in(self, row: StudyRow) -> None:
        """Hand in the job of a study that is queued, where a crash came before it was."""
        if row.job_id is None or self.desk.job(row.job_id) is None:
            self.enqueue(row.study_uid, row.reasons)

    def _state(self, row: StudyRow, rule: Source, times: Complete, *, settled: bool) -> StudyState:
        now = datetime.now(UTC)
        silence = (now - row.last_received).total_seconds()
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

    def _gone(self, study_uid: str) -> str:
        """Say that images of a study were deleted after delivery; empty when all are here."""
        gone = self.index.released(study_uid)
        if not gone:
            return ""
        return (
            f"{len(gone)} images of study {study_uid} were deleted here after their results were "
            "delivered ([retention]): send the whole study again"
        )

    def _unchanged(self, row: StudyRow, look: _Look) -> str | None:
        """Return how the last run ended, when another would see the same images."""
        last = json.loads(row.summary) if row.summary else {}
        ended = last.get("ended")
        return ended if last.get("used") == look.fingerprint and ended in RESULTS else None

    def _leave(self, study_uid: str) -> None:
        """Give back what was kept about a study that is decided."""
        self._looks.pop(study_uid, None)
        self._reopened.pop(study_uid, None)
        self.received.forget(study_uid)
        self.asking.forget(study_uid)


def _seen(row: StudyRow) -> tuple[int, datetime]:
    return row.instances, row.last_received
