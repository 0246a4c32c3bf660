"""The runs of a study: a job for an instance set, handed in, told of, and handed in again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from node.config import Source, source_of
from node.errors import Misconfigured, RetryLater
from node.jobs import Desk
from node.received import Received
from node.spine.instances import InstanceRow, input_hash
from node.storage.index import Index
from node.storage.rows import LastRun, StudyRow
from node.storage.tables import TRANSITIONS
from node.storage.turns import FIRST, Priority

log = structlog.get_logger()

AGAIN_S = 60.0
ENDED = frozenset({"done", "rejected", "failed"})
AT_WORK = frozenset({"queued", "running", "delivering"})
ANEW = (
    "it was begun by a version of software and models that no worker has any more: it is run "
    "anew by the present one"
)
#: The fingerprint of a study without a usable series.
NOTHING = "nothing usable"
#: That of one whose images could not be read when it was handed in: it is like no other.
UNREAD = "not read"


def job_id_of(study_uid: str, input_hash: str, run: int = 1) -> str:
    """Return the id of a study's job: the study and its instance set, so that twice is once.

    ``run`` is raised when the same set is run again by hand or after a failure that passed;
    results keep their identities all the same.
    """
    return f"{study_uid}:{input_hash[:16]}" + (f"~{run}" if run > 1 else "")


@dataclass(frozen=True)
class Findings:
    """What a run has made (`StudyFindings.to_json`), and its job."""

    job_id: str
    made: dict[str, Any]


@dataclass(frozen=True)
class Runs:
    """Hands studies to the workers, and keeps the index true to what becomes of them.

    Attributes
    ----------
    index : Index
    desk : Desk
        Of the same database: that a study is queued and its job are one change.
    received : Received
        The series choice of a study.
    sources : sequence of Source
        What is different for single senders.
    """

    index: Index
    desk: Desk
    received: Received
    sources: Sequence[Source] = ()

    def enqueue(
        self,
        study_uid: str,
        reasons: Sequence[str],
        *,
        run: int = 1,
        delay_s: float = 0.0,
        findings: Findings | None = None,
    ) -> None:
        """Hand in the job for the instance set the study has now; handed in twice is once.

        Parameters
        ----------
        study_uid : str
        reasons : sequence of str
            Why now; shown with the study.
        run : int
            Above 1 to run a set once more whose job has ended.
        delay_s : float
            Not before.
        findings : Findings, optional
            What another run has made already; it counts if that run had the same set.

        Raises
        ------
        LookupError
            When the study is unknown.
        """
        instances = self.index.instances(study_uid)  # once: the id and the work are one set
        hashes = sorted(i.sha256 for i in instances)
        job_id = job_id_of(study_uid, input_hash(instances), run)
        begin = LastRun(tuple(reasons), self._fingerprint(study_uid, instances))
        with self.index.together() as transaction:
            row = self.index.study(study_uid, lock=True)
            if row is None:
                raise LookupError(f"study {study_uid} is not in the index")
            if row.job_id == job_id and row.state != "receiving":
                return  # another listener came to the same, and it may be at work already
            priority = self.priority_of(row)
            # A study that has to wait for a time stands in nobody's way meanwhile.
            turn = FIRST[priority] if delay_s else self.index.give_turn(row, priority)
            self.index.set_last_run(study_uid, begin)
            self.index.set_state(study_uid, "queued", reasons, job_id=job_id)
            told: tuple[Any, ...] = (job_id, study_uid, hashes)
            if findings and _same_set(findings.job_id, job_id):
                told += (findings.made,)
            self.desk.enqueue(
                "study", job_id, *told, delay_s=delay_s, priority=turn, within=transaction
            )
        self.received.forget(study_uid)
        log.info(
            "study queued",
            study_uid=study_uid,
            job_id=job_id,
            instances=len(hashes),
            priority=priority,
        )

    def _fingerprint(self, study_uid: str, instances: Sequence[InstanceRow]) -> str:
        """Return what the run will see, as far as that can be read now."""
        try:
            choice = self.received.choice(study_uid, instances)
        except RetryLater:
            return UNREAD
        return choice.fingerprint if choice else NOTHING

    def priority_of(self, row: StudyRow) -> Priority:
        """Return what its source's rule says, else what its images say, else routine."""
        by_rule = source_of(row.source, self.sources).priority
        is_urgent = row.urgent or self.received.is_urgent(row.study_uid)
        return by_rule or ("stat" if is_urgent else "routine")

    def again(self, study_uid: str, job_id: str, made: dict[str, Any] | None = None) -> None:
        """Run a study once more after a failure that may pass, from the findings on if it has any.

        Parameters
        ----------
        study_uid : str
        job_id : str
            The run that failed.
        made : dict, optional
            Its findings, `StudyFindings.to_json`.
        """
        self.enqueue(
            study_uid,
            ["waiting: it is tried again"],
            run=_run_of(job_id) + 1,
            delay_s=AGAIN_S,
            findings=Findings(job_id, made) if made else None,
        )

    def anew(self, job_id: str, study_uid: str, *_: object) -> None:
        """Run a study once more that no worker can finish, unless a newer job has it."""
        row = self.index.study(study_uid)
        if row is not None and row.job_id == job_id and row.state in AT_WORK:
            self.enqueue(study_uid, [ANEW], run=_run_of(job_id) + 1)

    def requeue(self, study_uid: str) -> None:
        """Run a study once more because a person says so.

        Raises
        ------
        Misconfigured
            When its images are no longer here.
        """
        if reason := self.gone(study_uid):
            raise Misconfigured(reason)
        stem = job_id_of(study_uid, self.index.input_hash(study_uid))
        row = self.index.study(study_uid)
        # Also where the jobs themselves are no longer kept.
        last = row.job_id if row and row.job_id and row.job_id.startswith(stem) else ""
        runs = [j.job_id for j in self.desk.jobs(stem) if j.queue == "study"]
        run = max(map(_run_of, filter(None, [last, *runs])), default=0)
        self.enqueue(study_uid, ["requeued by hand"], run=run + 1)

    def note(self, study_uid: str, job_id: str, state: str, reasons: Sequence[str]) -> None:
        """Put a job's state into the index, unless a newer job has taken the study over.

        Nor does a step that is repeated after a crash put a study back that is further by then.
        """
        with self.index.together():
            row = self.index.study(study_uid, lock=True)
            if row is None or row.job_id != job_id:
                return
            if state != row.state and state not in TRANSITIONS[row.state]:
                log.info("a step is repeated", study_uid=study_uid, step=state, state=row.state)
                return
            self.index.set_state(study_uid, state, reasons)
            if state not in ENDED:
                return
            if row.last_run:
                self.index.set_last_run(study_uid, replace(row.last_run, ended=state))
            its_set = job_id_of(study_uid, self.index.input_hash(study_uid))
            if not job_id.startswith(its_set):
                self.index.set_state(study_uid, "receiving", ["images arrived during the analysis"])

    def gone(self, study_uid: str) -> str:
        """Say that images of a study were deleted after delivery; empty when all are here."""
        gone = self.index.released(study_uid)
        if not gone:
            return ""
        return (
            f"{len(gone)} images of study {study_uid} were deleted here after their results were "
            "delivered ([retention]): send the whole study again"
        )


def _same_set(one: str, other: str) -> bool:
    return one.partition("~")[0] == other.partition("~")[0]


def _run_of(job_id: str) -> int:
    return int(job_id.partition("~")[2] or 1)
