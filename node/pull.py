"""Fetch a study from an Orthanc that says it is stable, and decide about it at once."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from node.config import Deliver, OrthancPeer
from node.dicom import orthanc
from node.dicom.intake import Intake
from node.errors import InvalidInstance, LumbarError, RetryLater
from node.jobs import Desk, Step
from node.notice import ORTHANC
from node.outbox import next_delay

log = structlog.get_logger()


@dataclass(frozen=True)
class Pull:
    """The story of one fetch.

    Attributes
    ----------
    desk : Desk
    rules : Deliver
        How long and how often a fetch that failed for now is repeated.
    intake : Intake
        The same way in as C-STORE: checked, durable, indexed.
    peer_of : callable
        A name to the configured peer; LookupError when there is none.
    held : callable
        A study's UID to the SOP Instance UIDs that are here already.
    consider : callable
        ``(study_uid, source)``: decide about a study that its source calls stable.
    """

    desk: Desk
    rules: Deliver
    intake: Intake
    peer_of: Callable[[str], OrthancPeer]
    held: Callable[[str], Collection[str]]
    consider: Callable[[str, str], None]

    def trigger(self, peer: str, orthanc_id: str) -> None:
        """Hand in a fetch, durably.

        Raises
        ------
        LookupError
            When no such peer is configured.
        """
        self.peer_of(peer)
        self._enqueue(peer, orthanc_id, 1, datetime.now(UTC).isoformat(), 0.0)

    def story(self, step: Step, peer: str, orthanc_id: str, attempt: int, since: str) -> None:
        """Fetch, then decide about the study; what was fetched before a failure is kept."""
        study_uid, words, delay = step("fetch", self._try, peer, orthanc_id, attempt, since)
        if study_uid:
            step("consider", self.consider, study_uid, ORTHANC + peer)
        elif delay is not None:
            step("again", self._enqueue, peer, orthanc_id, attempt + 1, since, delay)
        else:
            step("say", self._say, peer, orthanc_id, words)

    def _try(self, peer: str, orthanc_id: str, attempt: int, since: str) -> list[Any]:
        """Return the study's UID or why there is none, and the seconds until the next try."""
        say = log.bind(peer=peer, orthanc_id=orthanc_id)
        try:
            return [self._fetch(peer, orthanc_id), "", None]
        except RetryLater as error:
            age = (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
            delay = next_delay(attempt, age, self.rules)
            say.warning("the fetch failed", reason=str(error), next_try_s=delay)
            return ["", f"failed: {error}", delay]
        except (LumbarError, LookupError) as error:
            say.error("the fetch ended", reason=str(error))
            return ["", f"rejected: {error}", None]

    def _fetch(self, peer: str, orthanc_id: str) -> str:
        def take(part10: bytes) -> None:
            try:
                self.intake.receive(part10, ORTHANC + peer)
            except InvalidInstance as error:
                log.warning("an instance is left out", peer=peer, reason=str(error))

        return orthanc.pull(self.peer_of(peer), orthanc_id, take, self.held).study_uid

    def _enqueue(
        self, peer: str, orthanc_id: str, attempt: int, since: str, delay_s: float
    ) -> None:
        job_id = f"pull/{peer}/{orthanc_id}/{since}/{attempt}"
        self.desk.enqueue("pull", job_id, peer, orthanc_id, attempt, since, delay_s=delay_s)

    def _say(self, peer: str, orthanc_id: str, words: str) -> None:
        try:
            orthanc.say(self.peer_of(peer), orthanc_id, words)
        except (LumbarError, LookupError) as error:
            log.info("the end is not shown in Orthanc", orthanc_id=orthanc_id, reason=str(error))
