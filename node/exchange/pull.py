"""Fetch a study from an archive that holds it, and decide about it at once.

An Orthanc tells this node about a stable study, or somebody names a study of a DICOMweb archive:
what happens then is the same.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from node.config import Deliver, DicomwebPeer, OrthancPeer
from node.dicom import dicomweb, orthanc, statuses
from node.dicom.arrival import Arrival, Verdict
from node.dicom.intake import Intake
from node.errors import DiskFull, InvalidInstance, LumbarError, RetryLater
from node.exchange.notice import ORTHANC
from node.exchange.outbox import next_delay
from node.jobs import Desk, Step

log = structlog.get_logger()

#: Sources of this kind are DICOMweb archives; results for their studies go back to them.
DICOMWEB = "dicomweb:"

#: A study's UID to the SOP Instance UIDs that are here already.
Held = Callable[[str], Collection[str]]


@dataclass(frozen=True)
class Pull:
    """The story of one fetch.

    Attributes
    ----------
    desk : Desk
    rules : Deliver
        How long and how often a fetch that failed for now is repeated.
    fetch : callable
        ``(source, what)``: bring a study in and return its UID; LookupError when the source is
        not configured.
    consider : callable
        ``(study_uid, source)``: decide about a study that its source calls stable.
    say : callable
        ``(source, what, words)``: show where the study is why nothing came of it.
    """

    desk: Desk
    rules: Deliver
    fetch: Callable[[str, str], str]
    consider: Callable[[str, str], None]
    say: Callable[[str, str, str], None]

    def trigger(self, source: str, what: str) -> None:
        """Hand in a fetch, durably.

        Parameters
        ----------
        source : str
            ``orthanc:NAME`` or ``dicomweb:NAME``.
        what : str
            The study, by the identifier that the source knows it by.
        """
        self._enqueue(source, what, 1, datetime.now(UTC).isoformat(), 0.0)

    def story(self, step: Step, source: str, what: str, attempt: int, since: str) -> None:
        """Fetch, then decide about the study; what was fetched before a failure is kept."""
        study_uid, words, delay = step("fetch", self._try, source, what, attempt, since)
        if study_uid:
            step("consider", self.consider, study_uid, source)
        elif delay is not None:
            step("again", self._enqueue, source, what, attempt + 1, since, delay)
        else:
            step("say", self.say, source, what, words)

    def _try(self, source: str, what: str, attempt: int, since: str) -> list[Any]:
        """Return the study's UID or why there is none, and the seconds until the next try."""
        say = log.bind(source=source, what=what)
        try:
            return [self.fetch(source, what), "", None]
        except RetryLater as error:
            age = (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
            delay = next_delay(attempt, age, self.rules)
            say.warning("the fetch failed", reason=str(error), next_try_s=delay)
            return ["", f"failed: {error}", delay]
        except (LumbarError, LookupError) as error:
            say.error("the fetch ended", reason=str(error))
            return ["", f"rejected: {error}", None]

    def _enqueue(self, source: str, what: str, attempt: int, since: str, delay_s: float) -> None:
        job_id = f"pull/{source}/{what}/{since}/{attempt}"
        self.desk.enqueue("pull", job_id, source, what, attempt, since, delay_s=delay_s)


def from_orthanc(
    peer: OrthancPeer, orthanc_id: str, intake: Intake, held: Held, source: str = ""
) -> str:
    """Bring a study of an Orthanc in and return its UID; what is not fit to read is left out.

    ``source`` is where its images say they came from, the peer unless given.

    Raises
    ------
    LumbarError
        As `node.dicom.orthanc.pull`.
    """

    def take(part10: bytes) -> None:
        try:
            intake.receive(part10, source or ORTHANC + peer.name)
        except InvalidInstance as error:
            log.warning("an instance is left out", peer=peer.name, reason=str(error))

    return orthanc.pull(peer, orthanc_id, take, held).study_uid


def from_dicomweb(
    peer: DicomwebPeer, study_uid: str, intake: Intake, held: Held, source: str = ""
) -> str:
    """Bring a study of a DICOMweb archive in; what is not fit to read is left out.

    ``source`` is where its images say they came from, the peer unless given.

    Raises
    ------
    DiskFull
        When there is no room for all of it.
    LumbarError
        As `node.dicom.dicomweb.pull`.
    """

    def arrive() -> Arrival:
        return Arrival(intake, source or DICOMWEB + peer.name, require_space, study_uid=study_uid)

    dicomweb.pull(peer, study_uid, arrive, held(study_uid))
    return study_uid


def require_space(verdict: Verdict) -> None:
    """Raise `DiskFull` where there was no room for an instance; any other is only left out."""
    if verdict.status == statuses.OUT_OF_RESOURCES:
        raise DiskFull(verdict.reason)


def say_in_orthanc(peer: OrthancPeer, orthanc_id: str, words: str) -> None:
    """Show in an Orthanc why a fetch ended; a silent one costs nothing."""
    try:
        orthanc.say(peer, orthanc_id, words)
    except LumbarError as error:
        log.info("the end is not shown in Orthanc", orthanc_id=orthanc_id, reason=str(error))
