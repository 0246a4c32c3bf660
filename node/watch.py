"""Watch the studies that are being received, and start a job when one is complete."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from node.config import Complete, Source, source_of
from node.errors import LumbarError, NotAssessable
from node.jobs import Desk
from node.spine.anatomy import Role
from node.spine.completeness import Decision, StudyState, decide
from node.spine.instances import input_hash
from node.storage.archive import Archive
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
#: Of a job; the engine takes the smallest first.
PRIORITY = {"stat": 1, "routine": 10}


def job_id_of(study_uid: str, input_hash: str, run: int = 1) -> str:
    """Return the id of a study's job: the study and its instance set, so that twice is once.

    ``run`` is raised when the same set is run again by hand or after a failure that passed;
    results keep their identities all the same.
    """
    return f"{study_uid}:{input_hash[:16]}" + (f"~{run}" if run > 1 else "")


@dataclass
class Watcher:
    """Decide, study by study, whether to wait, to run or to give up waiting.

    Attributes
    ----------
    times : Complete
    sources : sequence of Source
        What is different for single senders.
    index : Index
    archive : Archive
    desk : Desk
    roles_of : callable
        Files to the roles their headers offer; reading them costs, so it is asked only of a
        study that is quiet, and once for each instance set.
    open_associations : callable
        How many associations are open that have sent images of a study.
    """

    times: Complete
    index: Index
    archive: Archive
    desk: Desk
    roles_of: Callable[[list[Path]], frozenset[Role]]
    open_associations: Callable[[str], int]
    sources: Sequence[Source] = ()
    _known_roles: dict[str, tuple[Any, frozenset[Role]]] = field(default_factory=dict)
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

    def _watch(self) -> None:
        self._reconcile()
        while not self._stopped.wait(POLL_S):
            try:
                for row in self.index.studies(EVERY, state="receiving"):
                    self.consider(row)
            except Exception:
                log.exception("the watcher could not read the index; it tries again")

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
            return Decision("wait", (why,))
        times = rule.times(self.times)
        decision = self._decide(row, times, settled=settled)
        if decision.verdict == "ready" or (
            decision.verdict == "incomplete" and times.run_incomplete
        ):
            self.enqueue(row.study_uid, decision.reasons)
        elif decision.verdict == "incomplete":
            self.index.set_state(row.study_uid, "incomplete", decision.reasons)
        return decision

    def settled(self, study_uid: str) -> None:
        """Decide about a study that its source calls stable."""
        row = self.index.study(study_uid)
        if row is not None and row.state == "receiving":
            self.consider(row, settled=True)

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
        """Run a study once more because a person says so."""
        stem = job_id_of(study_uid, self.index.input_hash(study_uid))
        runs = [j for j in self.desk.jobs(stem) if j.queue == "study"]
        self.enqueue(study_uid, ["requeued by hand"], run=len(runs) + 1)

    def note(self, study_uid: str, job_id: str, state: str, reasons: Sequence[str]) -> None:
        """Put a job's state into the index, unless a newer job has taken the study over."""
        row = self.index.study(study_uid)
        if row is None or row.job_id != job_id:
            return
        self.index.set_state(study_uid, state, reasons)
        its_set = job_id_of(study_uid, self.index.input_hash(study_uid))
        if state in ENDED and not job_id.startswith(its_set):
            self.index.set_state(study_uid, "receiving", ["images arrived during the analysis"])

    def _reconcile(self) -> None:
        """Mend what a crash left: a job not handed in, or one that died with its process."""
        for row in self.index.studies(EVERY, state="queued"):
            if row.job_id is None or self.desk.job(row.job_id) is None:
                self.enqueue(row.study_uid, row.reasons)
        for row in self.index.studies(EVERY, state="running"):
            job = self.desk.job(row.job_id) if row.job_id else None
            if job is not None and job.is_dead:
                self.index.set_state(row.study_uid, "failed", [DIED])

    def _decide(self, row: StudyRow, times: Complete, *, settled: bool) -> Decision:
        now = datetime.now(UTC)
        state = StudyState(
            open_associations=0 if settled else self.open_associations(row.study_uid),
            seconds_since_last=(now - row.last_received).total_seconds(),
            seconds_since_first=(now - row.first_received).total_seconds(),
            roles=frozenset(Role),
            instances=row.instances,
        )
        if settled:
            state = replace(
                state,
                seconds_since_last=times.incomplete_s,
                seconds_since_first=times.forced_s,
            )
        hopeful = decide(state, times)
        if hopeful.verdict == "wait":
            return hopeful
        return decide(replace(state, roles=self._roles(row)), times)

    def _roles(self, row: StudyRow) -> frozenset[Role]:
        seen = (row.instances, row.last_received)
        known = self._known_roles.get(row.study_uid)
        if known and known[0] == seen:
            return known[1]
        paths = [self.archive.path(i.sha256) for i in self.index.instances(row.study_uid)]
        try:
            roles = self.roles_of(paths)
        except NotAssessable:
            roles = frozenset()
        except LumbarError as error:
            log.warning("headers unreadable", study_uid=row.study_uid, reason=str(error))
            roles = frozenset()
        self._known_roles[row.study_uid] = (seen, roles)
        return roles
