"""Enter what is in a shared archive and not in the index: a listener died before it could.

A node with an archive of its own does this when it starts. Where several hosts share one, the
host that died may not come back, and another may be about to enter what it has just stored.
"""

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import structlog

from node.dicom.intake import read_row
from node.errors import RetryLater
from node.spine.instances import InstanceRow, StoredFile
from node.storage.archive import Archive
from node.storage.index import Index

log = structlog.get_logger()

#: Whoever stored a file enters it within this time (s), if it lives.
SETTLED_S = 60.0
EVERY_S = 600.0
AGAIN_S = 10.0


@dataclass
class Recovery:
    """Looks for files without a row, in a thread of its own.

    Attributes
    ----------
    archive : Archive
    index : Index
    """

    archive: Archive
    index: Index
    _seen: set[str] = field(default_factory=set)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Look now, once more when what is young now has settled, and then from time to time."""
        self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()
        if self._thread:
            self._thread.join(timeout=10)

    def look(self, now: datetime) -> int:
        """Enter every file that was stored long enough before ``now`` (UTC); return how many."""
        there = {file.sha256: file for file in self.archive.iterate()}
        settled = now - timedelta(seconds=SETTLED_S)
        files = [f for f in there.values() if f.sha256 not in self._seen and f.stored_at < settled]
        added = self.index.rebuild(files, self._row) if files else 0
        self._seen = {sha256 for sha256 in self._seen if sha256 in there}
        self._seen.update(file.sha256 for file in files)
        return added

    def _row(self, file: StoredFile) -> InstanceRow:
        return read_row(replace(file, path=self.archive.path(file.sha256)))

    def _run(self) -> None:
        pause_s, following_s = 0.0, SETTLED_S + 1
        while not self._stopped.wait(pause_s):
            pause_s = AGAIN_S
            try:
                added = self.look(datetime.now(UTC))
            except RetryLater as error:
                log.warning("the archive cannot be compared with the index", reason=str(error))
            except Exception:
                log.exception("the archive could not be compared with the index")
            else:
                if added:
                    log.warning("images were entered that a listener had left", images=added)
                pause_s, following_s = following_s, EVERY_S
