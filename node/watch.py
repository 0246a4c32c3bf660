"""Watch the studies that are being received, and start a job when one is complete."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from node.config import Complete
from node.errors import LumbarError, NotAssessable
from node.jobs import Desk
from node.spine.anatomy import Role
from node.spine.completeness import Decision, StudyState, decide
from node.storage.archive import Archive
from node.storage.index import Index, StudyRow

log = structlog.get_logger()

POLL_S = 0.5


def job_id_of(study_uid: str, input_hash: str, attempt: int = 1) -> str:
    """Return the id of a study's job: the study and its instance set, so that twice is once.

    ``attempt`` is raised only by hand (``requeue``); results keep their identities all the same.
    """
    return f"{study_uid}:{input_hash[:16]}" + (f"~{attempt}" if attempt > 1 else "")


@dataclass
class Watcher:
    """Decide, study by study, whether to wait, to run or to give up waiting.

    Attributes
    ----------
    times : Complete
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
    _known_roles: dict[str, tuple[str, frozenset[Role]]] = field(default_factory=dict)
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
        while not self._stopped.wait(POLL_S):
            try:
                for row in self.index.studies_in("receiving"):
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
        decision = self._decide(row, settled=settled)
        if decision.verdict == "ready" or (
            decision.verdict == "incomplete" and self.times.run_incomplete
        ):
            self.enqueue(row.study_uid, list(decision.reasons))
        elif decision.verdict == "incomplete":
            self.index.set_state(row.study_uid, "incomplete", list(decision.reasons))
        return decision

    def enqueue(self, study_uid: str, reasons: list[str], attempt: int = 1) -> str:
        """Hand in the job for the instance set the study has now."""
        hashes = sorted(i.sha256 for i in self.index.instances(study_uid))
        job_id = job_id_of(study_uid, self.index.input_hash(study_uid), attempt)
        self.desk.enqueue("study", job_id, job_id, study_uid, hashes)
        self.index.set_state(study_uid, "queued", reasons, job_id=job_id)
        log.info("study queued", study_uid=study_uid, job_id=job_id, instances=len(hashes))
        return job_id

    def _decide(self, row: StudyRow, *, settled: bool) -> Decision:
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
                seconds_since_last=self.times.incomplete_s,
                seconds_since_first=self.times.forced_s,
            )
        hopeful = decide(state, self.times)
        if hopeful.verdict == "wait":
            return hopeful
        return decide(replace(state, roles=self._roles(row)), self.times)

    def _roles(self, row: StudyRow) -> frozenset[Role]:
        input_hash = self.index.input_hash(row.study_uid)
        known = self._known_roles.get(row.study_uid)
        if known and known[0] == input_hash:
            return known[1]
        paths = [self.archive.path(i.sha256) for i in self.index.instances(row.study_uid)]
        try:
            roles = self.roles_of(paths)
        except NotAssessable:
            roles = frozenset()
        except LumbarError as error:
            log.warning("headers unreadable", study_uid=row.study_uid, reason=str(error))
            roles = frozenset()
        self._known_roles[row.study_uid] = (input_hash, roles)
        return roles
