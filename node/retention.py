"""Delete images, and results, once delivery is proven; nothing undelivered is ever deleted.

The node is no archive: the PACS has the images. Rows of the index stay, so that an image that
comes again is known; results stay as long as the policy says.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from node.config import Retention as Rules
from node.storage.archive import Archive
from node.storage.index import Index
from node.storage.instances import batches

log = structlog.get_logger()

SWEEP_S = 60.0
#: What is kept for days is looked at so often: its past is long.
SELDOM = timedelta(hours=1)
#: A file that was stored or read within this time (s) is left for the next sweep.
IDLE_S = 600.0
#: Later than this a destination's report of storage commitment is one that nobody asked for.
REMEMBERED = timedelta(days=30)


@dataclass
class Retention:
    """Deletes the files of studies that are finished and proven to be delivered.

    Attributes
    ----------
    rules : config.Retention
    min_free_mb : int
        The watermark below which images are refused (MiB); at twice of it finished studies go
        before their time, the oldest first.
    archive : Archive
    index : Index
    drop_results : callable
        Deletes the results of a job, given by its id; again is no error.
    forget : callable
        Forgets what destinations were asked before a time and have not answered.
    forget_jobs : callable
        Deletes the jobs that ended before a time.
    """

    rules: Rules
    min_free_mb: int
    archive: Archive
    index: Index
    drop_results: Callable[[str], None]
    forget: Callable[[datetime], None]
    forget_jobs: Callable[[datetime], object]
    _left: set[str] = field(default_factory=set)
    _is_caught_up: bool = False
    _cleared_at: datetime | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Sweep in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop sweeping."""
        self._stopped.set()
        if self._thread:
            self._thread.join(timeout=10)

    def sweep(self, now: datetime) -> list[str]:
        """Delete what is due at ``now`` (UTC); return the studies whose images are released."""
        self.forget(now - REMEMBERED)
        if self._cleared_at is None or now - self._cleared_at >= SELDOM:
            self._cleared_at = now
            self._drop_results(now)
            if self.rules.jobs_days:
                self.forget_jobs(now - timedelta(days=self.rules.jobs_days))
        if not self.rules.images_h:
            return []
        proofs = self.rules.proofs
        due = now - timedelta(hours=self.rules.images_h)
        ended = (*self.index.walked(), *self.index.delivered_before(due, proofs))
        gone = [self._release(study) for study in dict.fromkeys(ended)]
        self._delete()
        for study in self.index.delivered_before(now, proofs):
            if self.archive.free_mb() >= 2 * self.min_free_mb:
                break
            gone.append(self._release(study))
            self._delete()
        return gone

    def _drop_results(self, now: datetime) -> None:
        """Delete first, then note: what a crash leaves is deleted by the next sweep."""
        if not self.rules.results_days:
            return
        due = now - timedelta(days=self.rules.results_days)
        for job_id in self.index.results_due(due, self.rules.proofs):
            self.drop_results(job_id)
            self.index.note_results_deleted(job_id, now)
            log.info("results deleted", job_id=job_id)

    def _release(self, study_uid: str) -> str:
        """Note first, then delete: whoever asks meanwhile is not promised a file."""
        hashes = self.index.release(study_uid)
        self._left.update(hashes)
        log.info("images released after delivery", study_uid=study_uid, instances=len(hashes))
        return study_uid

    def _delete(self) -> None:
        """Delete what nobody uses; what came again since it was noted is noted no more."""
        for some in batches(tuple(self._left)):
            noted = self.index.released_of(some)
            self._left -= {s for s in some if s not in noted or self.archive.remove(s, IDLE_S)}

    def _catch_up(self) -> None:
        """Find what a crash left between noting and deleting."""
        for some in batches(file.sha256 for file in self.archive.iterate()):
            self._left |= self.index.released_of(some)
        self._is_caught_up = True

    def _run(self) -> None:
        while not self._stopped.wait(SWEEP_S):
            try:
                if not self._is_caught_up:
                    self._catch_up()
                self.sweep(datetime.now(UTC))
            except Exception:
                log.exception("images could not be released; it is tried again")
