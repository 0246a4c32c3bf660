"""Show a study's state in the Orthanc it came from, until it stands there."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from node.config import Deliver, OrthancPeer
from node.dicom import orthanc
from node.errors import LumbarError
from node.exchange.outbox import next_delay
from node.jobs import Desk, Step
from node.storage.engine import Transaction
from node.storage.rows import StudyRow

log = structlog.get_logger()

#: Sources of this kind are Orthanc peers; results for their studies go back to them.
ORTHANC = "orthanc:"


@dataclass(frozen=True)
class Notices:
    """Durable notices: each writes the state that the study has when it is written.

    So they may be late or come twice, and after a restart of either side Orthanc shows the truth.

    Attributes
    ----------
    desk : Desk
    rules : Deliver
        How long and how often a silent Orthanc is told again.
    study_of : callable
        A study's row in the index, or None.
    peer_of : callable
        A name to the configured peer; LookupError when there is none.
    review_of : callable
        A study's UID to the address of its review page.
    """

    desk: Desk
    rules: Deliver
    study_of: Callable[[str], StudyRow | None]
    peer_of: Callable[[str], OrthancPeer]
    review_of: Callable[[str], str]

    def show(self, study_uid: str, source: str = "", within: Transaction | None = None) -> None:
        """Hand in a notice, durably; a study that came from no Orthanc needs none.

        Parameters
        ----------
        study_uid : str
        source : str
            Where to show it; empty: where the study came from.
        within : Transaction, optional
            In which the state is being set.
        """
        row = self.study_of(study_uid)
        where = source or (row.source if row else "")
        if where.startswith(ORTHANC):
            now = datetime.now(UTC).isoformat()
            self._enqueue(where.removeprefix(ORTHANC), study_uid, 1, now, 0.0, within)

    def story(self, step: Step, peer: str, study_uid: str, attempt: int, since: str) -> None:
        """Try once; while Orthanc is silent, hand in the next try."""
        delay = step("show", self._try, peer, study_uid, attempt, since)
        if delay is not None:
            step("again", self._enqueue, peer, study_uid, attempt + 1, since, delay)

    def _try(self, peer: str, study_uid: str, attempt: int, since: str) -> float | None:
        row = self.study_of(study_uid)
        if row is None:
            return None
        words = f"{row.state}: {'; '.join(row.reasons)}" if row.reasons else row.state
        try:
            orthanc.note(self.peer_of(peer), study_uid, words, self.review_of(study_uid))
        except (LumbarError, LookupError) as error:
            log.info("the state is not shown in Orthanc", study_uid=study_uid, reason=str(error))
            age = (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
            return next_delay(attempt, age, self.rules)
        return None

    def _enqueue(  # noqa: PLR0917 - a job's arguments
        self,
        peer: str,
        study_uid: str,
        attempt: int,
        since: str,
        delay_s: float,
        within: Transaction | None = None,
    ) -> None:
        job_id = f"tell/{peer}/{study_uid}/{since}/{attempt}"
        told = (peer, study_uid, attempt, since)
        self.desk.enqueue("tell", job_id, *told, delay_s=delay_s, within=within)
