"""The index rows of what came, written in groups by a thread of their own.

The rows are derived from the archive (`node.storage.index`), so they follow the acknowledgement:
a row is written together with its neighbours within `GROUP_S`.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import structlog

from node.dicom.intake import Register
from node.spine.instances import InstanceRow

log = structlog.get_logger()

GROUP_S = 0.05
_GROUP = 500  # rows of one transaction
_WAITING = 10_000  # rows that may wait; then senders do
_AGAIN_S = 1.0


@dataclass(frozen=True)
class _Mark:
    """A place in the queue: what is to be done once all rows before it are written."""

    do: Callable[[], Any]
    done: "Future[Any]" = field(default_factory=Future)

    def reach(self) -> None:
        self.done.set_result(self.do())


class Rows:
    """A queue of rows and the thread that writes them.

    Parameters
    ----------
    register : intake.Register
        Where they go.
    count : callable
        Is told what became of those that were written.
    """

    def __init__(self, register: Register, count: Callable[[Iterable[str]], None]) -> None:
        self._register = register
        self._count = count
        self._queue: queue.Queue[InstanceRow | _Mark | None] = queue.Queue(_WAITING)
        self._writer: threading.Thread | None = None
        self._is_ending = threading.Event()

    def start(self) -> None:
        """Begin to write rows."""
        self._is_ending.clear()
        self._writer = threading.Thread(target=self._write, name="index writer", daemon=True)
        self._writer.start()

    def stop(self) -> None:
        """Write what has come, then end."""
        if self._writer is not None:
            self._is_ending.set()
            self._queue.put(None)
            self._writer.join()
            self._writer = None

    def put(self, row: InstanceRow) -> None:
        """Take a row; it waits when too many are on their way."""
        self._queue.put(row)

    def behind(self, do: Callable[[], Any]) -> "Future[Any]":
        """Call something once every row that has come is written; return what it returns."""
        mark = _Mark(do)
        self._queue.put(mark)
        return mark.done

    def _write(self) -> None:
        is_last = False
        while not is_last:
            rows, marks, is_last = self._gather()
            if rows:
                self._add(rows)
            for mark in marks:
                mark.reach()

    def _gather(self) -> tuple[list[InstanceRow], list[_Mark], bool]:
        """Wait for a row, and for its neighbours; who waits for a mark is not kept waiting."""
        rows: list[InstanceRow] = []
        marks: list[_Mark] = []
        entry = self._queue.get()
        deadline = time.monotonic() + GROUP_S
        while entry is not None:
            if isinstance(entry, _Mark):
                marks.append(entry)
            else:
                rows.append(entry)
            patience = 0.0 if marks else deadline - time.monotonic()
            if len(rows) >= _GROUP:
                return rows, marks, False
            try:
                entry = self._queue.get(block=patience > 0, timeout=max(patience, 0.001))
            except queue.Empty:
                return rows, marks, False
        return rows, marks, True

    def _add(self, rows: list[InstanceRow]) -> None:
        """Write rows, however long the database is away: the instances are safe meanwhile."""
        while True:
            try:
                outcomes = self._register.enter(rows)
            except Exception:
                log.exception("the index cannot be written", rows=len(rows))
                if self._is_ending.wait(_AGAIN_S):
                    return  # the next start rebuilds them from the archive
            else:
                self._count(outcomes)
                return
