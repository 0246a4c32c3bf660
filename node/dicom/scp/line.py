"""The line between an acceptor and the books, which may be kept in another process.

What is told is never waited for; what is asked is. Both are in the order in which they were said,
so that an association is closed after its last instance was entered.
"""

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Protocol, cast

from node.dicom.commitment import Asked, Holding
from node.dicom.pledge import Reported
from node.dicom.scp.admission import Refusal
from node.dicom.scp.books import Books, Peer
from node.spine.instances import InstanceRow

_PATIENCE_S = 10.0


class Line(Protocol):
    """Calls methods of the books, with the number of an association first."""

    def tell(self, method: str, number: int, *arguments: object) -> None:
        """Call without waiting."""

    def ask(self, method: str, number: int, *arguments: object) -> Any:
        """Call and wait for what it returns; TimeoutError when that takes too long."""


class Page:
    """What is written down about one association; see the methods of `Books`."""

    def __init__(self, line: Line, number: int) -> None:
        self._line = line
        self._number = number
        self._is_open = False

    def opened(self, peer: Peer) -> Refusal | None:
        """Enter it, or say why it is refused."""
        self._is_open = True  # also when the answer is too late
        refusal: Refusal | None = self._line.ask("opened", self._number, peer)
        self._is_open = refusal is None
        return refusal

    def turned_away(self, address: str, why: str) -> None:
        """Log a peer that did not get as far as a request."""
        self._line.tell("turned_away", self._number, address, why)

    def stored(self, row: InstanceRow, is_urgent: bool) -> None:
        """Enter an instance that is durable, and whether it was sent as urgent."""
        self._line.tell("stored", self._number, row, is_urgent)

    def ignored(self) -> None:
        """Count an instance that nobody keeps."""
        self._line.tell("ignored", self._number)

    def commit(self, asked: Asked) -> bool:
        """Take on a request for storage commitment, durably; say whether that worked."""
        return bool(self._line.ask("commit", self._number, asked))

    def holdings(self, sop_instance_uids: Sequence[str]) -> Mapping[str, Holding] | None:
        """Return where instances are, also those that just came; None when nobody can say."""
        return cast(
            "Mapping[str, Holding] | None",
            self._line.ask("holdings", self._number, sop_instance_uids),
        )

    def reported(self, report: Reported) -> bool | None:
        """Keep a report that a peer sends; False: nobody asked for it, None: it failed."""
        return cast("bool | None", self._line.ask("reported", self._number, report))

    def told(self, transaction_uid: str) -> None:
        """Note that the peer knows the outcome of a request."""
        self._line.tell("told", self._number, transaction_uid)

    def refused(self, count: str, reason: str, status: int) -> None:
        """Count and log an instance that was not taken."""
        self._line.tell("refused", self._number, count, reason, status)

    def broken(self, reason: str) -> None:
        """Log that it ended in a way it should not."""
        self._line.tell("broken", self._number, reason)

    def closed(self) -> None:
        """Close it, and wait until its rows are in the index, or a while; safe to call again."""
        if not self._is_open:
            return
        self._is_open = False
        # When the database is away the books wait for it; the peer need not.
        with suppress(TimeoutError):
            self._line.ask("closed", self._number)


class LocalLine:
    """The books are kept in this process."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def tell(self, method: str, number: int, *arguments: object) -> None:
        """Call a method of the books."""
        getattr(self._books, method)((0, number), *arguments)

    def ask(self, method: str, number: int, *arguments: object) -> Any:
        """Call a method of the books and return what it returns, or will return."""
        result = getattr(self._books, method)((0, number), *arguments)
        return result.result(_PATIENCE_S) if isinstance(result, Future) else result


class RemoteLine:
    """The books are kept in the process at the other end of a connection.

    Parameters
    ----------
    connection : multiprocessing.connection.Connection
    hung_up : callable
        Called when the other process has gone.
    """

    def __init__(self, connection: Connection, hung_up: Callable[[], None]) -> None:
        self._connection = connection
        self._hung_up = hung_up
        self._lock = threading.Lock()
        self._calls = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        threading.Thread(target=self._listen, name="answers", daemon=True).start()

    def tell(self, method: str, number: int, *arguments: object) -> None:
        """Call a method of the books."""
        with self._lock:
            self._connection.send((0, method, number, arguments))

    def ask(self, method: str, number: int, *arguments: object) -> Any:
        """Call a method of the books and wait for its answer."""
        answer: Future[Any] = Future()
        call = next(self._calls)
        self._waiting[call] = answer
        try:
            with self._lock:
                self._connection.send((call, method, number, arguments))
            return answer.result(_PATIENCE_S)
        finally:
            del self._waiting[call]

    def _listen(self) -> None:
        try:
            while True:
                call, result = self._connection.recv()
                if call in self._waiting:
                    self._waiting[call].set_result(result)
        except (EOFError, OSError):
            self._hung_up()


def attend(connection: Connection, books: Books, acceptor: int) -> None:
    """Serve the other end of a `RemoteLine` until its process ends; close what it left open."""
    lock = threading.Lock()

    def reply(call: int, result: Any) -> None:
        # An OSError says that its process has ended; the loop below will notice.
        with suppress(OSError), lock:
            connection.send((call, result.result() if isinstance(result, Future) else result))

    try:
        while True:
            call, method, number, arguments = connection.recv()
            result = getattr(books, method)((acceptor, number), *arguments)
            if not call:
                continue
            if isinstance(result, Future):
                result.add_done_callback(partial(reply, call))
            else:
                reply(call, result)
    except (EOFError, OSError):
        books.lost(acceptor)
