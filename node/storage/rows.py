"""What the index tells of studies and deliveries, a row each."""

from dataclasses import dataclass
from datetime import datetime

#: What proves a delivery, best first (`node.exchange.proving`).
PROOFS = ("commitment", "query", "status")


@dataclass(frozen=True)
class LastRun:
    """How the last run of a study began and ended.

    Attributes
    ----------
    started : tuple of str
        Why; read by people.
    used : str
        The fingerprint of the series that were chosen.
    ended : str
        The state it ended in; empty before.
    """

    started: tuple[str, ...]
    used: str
    ended: str = ""


@dataclass(frozen=True)
class StudyRow:
    """One line of the work list.

    Attributes
    ----------
    study_uid : str
    state : str
        receiving, incomplete, queued, running, delivering, done, rejected, failed or cancelled.
    reasons : tuple of str
        Why it is in this state; read by people.
    job_id : str or None
        The workflow that works, or worked, on it.
    source : str
        Who sent the first image.
    first_received, last_received : datetime
        UTC.
    instances : int
    last_run : LastRun or None
        None before the first.
    urgent : bool
        Some of its images were sent as urgent.
    """

    study_uid: str
    state: str
    reasons: tuple[str, ...]
    job_id: str | None
    source: str
    first_received: datetime
    last_received: datetime
    instances: int
    last_run: LastRun | None = None
    urgent: bool = False

    @property
    def started(self) -> tuple[str, ...]:
        """Why the last run was started; empty before the first."""
        return self.last_run.started if self.last_run else ()


@dataclass(frozen=True)
class DeliveryRow:
    """The results of one job on their way to one destination.

    Attributes
    ----------
    proof : str
        What proves that they are there: "commitment", "query" or "status"; empty: nothing yet.
    proof_note : str
        What stands in the way of a better proof, or of any; read by people.
    """

    job_id: str
    study_uid: str
    destination: str
    state: str
    attempts: int
    message: str
    updated_at: datetime
    proof: str = ""
    proof_note: str = ""
