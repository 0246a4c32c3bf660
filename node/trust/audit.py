"""The audit trail: DICOM audit messages, a line each, in a file for each day.

Each process of the node appends for itself. Events that repeat within seconds are one message
with a count; messages are written by a thread of their own and flushed to the disk (fsync) with
each batch. So what a power cut or ``kill -9`` may take is the last `QUIET_S` seconds, or the last
`LONGEST_S` of something that goes on without a pause.
"""

import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from node.config import Audit
from node.dicom.audit import Event, message

log = structlog.get_logger()

QUIET_S = 5.0
LONGEST_S = 60.0
_POLL_S = 0.5
_PRIVATE = 0o700


@dataclass
class _Pending:
    """An event that may happen again in a moment."""

    when: datetime
    first: float
    last: float
    counts: Counter[str] = field(default_factory=Counter)

    def is_due(self, now: float) -> bool:
        return now - self.last >= QUIET_S or now - self.first >= LONGEST_S


class Trail:
    """Where this process records what happened; every method may be called from any thread.

    Parameters
    ----------
    folder : Path
        Created when missing; holds ``audit-YYYY-MM-DD.log``, days of UTC.
    settings : config.Audit
    ae_title : str
        Of this node.
    """

    def __init__(self, folder: Path, settings: Audit, ae_title: str) -> None:
        self._folder = folder
        self._settings = settings
        self._ae_title = ae_title
        self._lock = threading.Lock()
        self._pending: dict[Event, _Pending] = {}
        self._unwritten: list[str] = []
        self._day = ""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write, with the message that the application has started."""
        self.note(Event("start"))
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write everything, with the message that the application stops."""
        if self._thread is None:
            return
        self.note(Event("stop"))
        self._stopped.set()
        self._thread.join()
        self._thread = None

    def note(self, event: Event, sop_class: str = "") -> None:
        """Record that something happened, once more; returns at once."""
        now = time.monotonic()
        with self._lock:
            pending = self._pending.get(event)
            if pending is None:
                pending = self._pending[event] = _Pending(datetime.now(UTC), now, now)
            pending.last = now
            pending.counts[sop_class] += 1

    def _run(self) -> None:
        while not self._stopped.wait(_POLL_S):
            self._write(everything=False)
        self._write(everything=True)

    def _write(self, *, everything: bool) -> None:
        now = time.monotonic()
        with self._lock:
            due = {e: p for e, p in self._pending.items() if everything or p.is_due(now)}
            for event in due:
                del self._pending[event]
        self._unwritten += [message(e, p.when, p.counts, self._ae_title) for e, p in due.items()]
        if not self._unwritten:
            return
        try:
            self._append("".join(f"{line}\n" for line in self._unwritten))
            self._unwritten.clear()
        except OSError as error:
            # Kept, and tried again with the next; a disk that is full refuses images as well.
            log.error("the audit trail cannot be written", reason=error.strerror)

    def _append(self, text: str) -> None:
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        if today != self._day:
            self._folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self._forget_old()
            self._day = today
        # One write to a file opened for appending: lines of several processes never mix.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        handle = os.open(self._folder / f"audit-{today}.log", flags, 0o600)
        try:
            os.write(handle, text.encode("utf-8"))
            os.fsync(handle)
        finally:
            os.close(handle)

    def _forget_old(self) -> None:
        oldest = datetime.now(UTC) - timedelta(days=self._settings.keep_days)
        for path in self._folder.glob("audit-????-??-??.log"):
            if path.stem < f"audit-{oldest:%Y-%m-%d}":
                path.unlink(missing_ok=True)
