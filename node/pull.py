"""Fetch a study from an Orthanc that says it is stable, and decide about it at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from node.config import OrthancPeer
from node.dicom import orthanc
from node.dicom.intake import Intake
from node.errors import InvalidInstance, LumbarError, RetryLater
from node.jobs import Desk, Step

log = structlog.get_logger()

#: Sources of this kind are Orthanc peers; results for their studies go back to them.
ORTHANC = "orthanc:"
AGAIN_S = 60.0


@dataclass(frozen=True)
class Pull:
    """The story of one fetch.

    Attributes
    ----------
    desk : Desk
    intake : Intake
        The same way in as C-STORE: checked, durable, indexed.
    peer_of : callable
        A name to the configured peer; LookupError when there is none.
    consider : callable
        Decide about a study that its source calls stable.
    """

    desk: Desk
    intake: Intake
    peer_of: Callable[[str], OrthancPeer]
    consider: Callable[[str], None]

    def trigger(self, peer: str, orthanc_id: str, delay_s: float = 0.0) -> None:
        """Hand in a fetch, durably.

        Raises
        ------
        LookupError
            When no such peer is configured.
        """
        self.peer_of(peer)
        job_id = f"pull/{peer}/{orthanc_id}/{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
        self.desk.enqueue("pull", job_id, peer, orthanc_id, delay_s=delay_s)

    def tell(self, source: str, study_uid: str, state: str, reasons: Sequence[str]) -> None:
        """Show a study's state in the Orthanc it came from; a silent Orthanc costs nothing."""
        if not source.startswith(ORTHANC):
            return
        words = f"{state}: {'; '.join(reasons)}" if reasons else state
        try:
            orthanc.note(self.peer_of(source.removeprefix(ORTHANC)), study_uid, words)
        except (LumbarError, LookupError) as error:
            log.info("the state is not shown in Orthanc", study_uid=study_uid, reason=str(error))

    def story(self, step: Step, peer: str, orthanc_id: str) -> None:
        """Fetch, then decide about each study that was in it."""
        say = log.bind(peer=peer, orthanc_id=orthanc_id)
        try:
            studies = step("fetch", self._fetch, peer, orthanc_id)
        except RetryLater as error:
            say.warning("the fetch waits", reason=str(error))
            step("again", self.trigger, peer, orthanc_id, AGAIN_S)
            return
        except (LumbarError, LookupError) as error:
            say.error("the fetch ended", reason=str(error))
            return
        for study_uid in studies:
            step("consider", self.consider, study_uid)

    def _fetch(self, peer: str, orthanc_id: str) -> list[str]:
        studies: set[str] = set()

        def take(part10: bytes) -> None:
            try:
                row, _ = self.intake.receive(part10, ORTHANC + peer)
            except InvalidInstance as error:
                log.warning("an instance is left out", peer=peer, reason=str(error))
            else:
                studies.add(row.study_uid)

        orthanc.pull(self.peer_of(peer), orthanc_id, take)
        return sorted(studies)
