"""Storage commitment requests as durable jobs: each is answered, also after a restart.

A request becomes a job before the peer hears that it was taken. The listener tries to report on
the same association at once; when the peer confirms, the job is dropped. Otherwise the job opens
an association to the peer, and tries again as deliveries do.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from node.config import Config, Deliver, Destination, source_of
from node.dicom.commitment import Answer, Asked, Holding, Reference, answer
from node.errors import LumbarError, RetryLater
from node.exchange.outbox import next_delay
from node.jobs import Desk, Step
from node.storage.index import Index

log = structlog.get_logger()

#: Seconds that the peer has to wait for the report on its own association.
_SAME_ASSOCIATION_S = 15.0
_WAITING = frozenset({"DELAYED", "ENQUEUED"})


class Commitments:
    """What this node has been asked to commit to, and has not yet answered.

    Parameters
    ----------
    desk : Desk
    index : Index
    path_of : callable
        A hash to the place of the file.
    rules : Deliver
        When to try again.
    peer_of : callable
        An AE title to where it listens; None where that is not configured.
    report : callable
        ``(answer, peer)``; raises DestinationUnavailable or DeliveryRefused.
    """

    def __init__(
        self,
        *,
        desk: Desk,
        index: Index,
        path_of: Callable[[str], Path],
        rules: Deliver,
        peer_of: Callable[[str], Destination | None],
        report: Callable[[Answer, Destination], None],
    ) -> None:
        self._desk = desk
        self._index = index
        self._path_of = path_of
        self._rules = rules
        self._peer_of = peer_of
        self._report = report

    def take(self, calling_ae: str, asked: Asked) -> None:
        """Take a request on, durably; its job waits for the listener's own try."""
        if self._peer_of(calling_ae) is None:
            log.warning(
                "the outcome of a storage commitment can be told on its own association only: "
                "set commit_to in the sender's [[sources]]",
                source=calling_ae,
            )
            return
        self._enqueue(calling_ae, asked, 1, datetime.now(UTC).isoformat(), _SAME_ASSOCIATION_S)

    def told(self, calling_ae: str, transaction_uid: str) -> None:
        """Drop the job: the peer has confirmed the report."""
        self._desk.cancel(_job_id(calling_ae, transaction_uid, 1))

    def untold(self, calling_ae: str, asked: Asked) -> None:
        """Report at once by an association of our own: the peer's has ended without it."""
        job = self._desk.job(_job_id(calling_ae, asked.transaction_uid, 1))
        if job is not None and job.status in _WAITING:
            self._desk.cancel(job.job_id)
            self._enqueue(calling_ae, asked, 2, datetime.now(UTC).isoformat(), 0.0)

    def holdings(self, sop_instance_uids: Sequence[str]) -> Mapping[str, Holding]:
        """Return where instances are; those that are not held are left out."""
        rows = self._index.instances_named(sop_instance_uids)
        return {
            row.sop_instance_uid: Holding(row.sop_class_uid, row.sha256, self._path_of(row.sha256))
            for row in rows
        }

    def story(self, step: Step, *told: Any) -> None:
        """Try once to report; on a failure that may pass, hand in the next try."""
        calling_ae, transaction_uid, references, attempt, since = told
        asked = Asked(transaction_uid, tuple(Reference(*pair) for pair in references))
        delay_s = step("report", self._try, calling_ae, asked, attempt, since)
        if delay_s is not None:
            step("next", self._enqueue, calling_ae, asked, attempt + 1, since, delay_s)

    def _try(self, calling_ae: str, asked: Asked, attempt: int, since: str) -> float | None:
        """Report; return the seconds to the next try, or None when there is none."""
        say = log.bind(source=calling_ae, transaction_uid=asked.transaction_uid, attempt=attempt)
        peer = self._peer_of(calling_ae)
        if peer is None:
            say.error("a storage commitment is not answered: commit_to is no longer configured")
            return None
        try:
            outcome = answer(asked, self.holdings)
            self._report(outcome, peer)
        except RetryLater as error:  # the peer's, or of the object store that has the images
            age_s = (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
            delay_s = next_delay(attempt, age_s, self._rules)
            say.warning("storage commitment is not told yet", reason=str(error), next_s=delay_s)
            return delay_s
        except LumbarError as error:
            say.error("storage commitment cannot be told", reason=str(error))
            return None
        failed = len(outcome.report.get("FailedSOPSequence", []))
        say.info("storage commitment told", instances=len(asked.references), failed=failed)
        return None

    def _enqueue(
        self, calling_ae: str, asked: Asked, attempt: int, since: str, delay_s: float
    ) -> None:
        job_id = _job_id(calling_ae, asked.transaction_uid, attempt)
        references = [list(reference) for reference in asked.references]
        told = (calling_ae, asked.transaction_uid, references, attempt, since)
        self._desk.enqueue("commit", job_id, *told, delay_s=delay_s)


def commitment_peer(config: Config, calling_ae: str) -> Destination | None:
    """Return where a sender hears of its commitments: its ``commit_to``, else the destination.

    Over TLS where the listener speaks it too; a destination says that for itself.
    """
    told = source_of(calling_ae, config.sources).commit_to
    if told is not None:
        title, _, address = told.partition("@")
        host, _, port = address.rpartition(":")
        return Destination(
            name="commitment", host=host, port=int(port), ae_title=title, tls=config.tls.listen
        )
    return next((d for d in config.destinations if d.ae_title == calling_ae), None)


def _job_id(calling_ae: str, transaction_uid: str, attempt: int) -> str:
    return f"commit/{calling_ae}/{transaction_uid}/{attempt}"
