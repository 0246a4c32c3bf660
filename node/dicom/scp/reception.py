"""One instance on its way from the wire to the archive, never held whole, hashed once.

What it is answered and why is in the table of `node.dicom.statuses`.
"""

from node.dicom import statuses
from node.dicom.intake import Custody, IncomingFile, part10_header
from node.dicom.upper_layer.wire import Wire
from node.errors import InvalidInstance, LumbarError, RetryLater, StoreUnavailable
from node.spine.instances import InstanceRow

#: Bytes that are collected before they are written: an MR image of 256 x 256 or 320 x 320 is
#: hashed and written in one piece. One buffer for each association.
CHUNK = 256 << 10


class Refused(Exception):  # noqa: N818 - what became of the instance
    """The instance is not taken.

    Attributes
    ----------
    status : int
        What the sender is told.
    count : str
        What it counts as: refused, no_space or no_store.
    """

    def __init__(self, status: int, reason: str, count: str) -> None:
        super().__init__(reason)
        self.status = status
        self.count = count


class Reception:
    """The data set of one C-STORE.

    An error on the way is kept until everything has come, so that the peer gets an answer and
    the association goes on.

    Parameters
    ----------
    custody : Custody
    buffer : bytearray
        `CHUNK` bytes, used by nobody else meanwhile.
    sop_class, sop_instance, syntax : str
        What the command and the presentation context say; not believed yet.
    """

    def __init__(
        self, custody: Custody, buffer: bytearray, sop_class: str, sop_instance: str, syntax: str
    ) -> None:
        self._custody = custody
        self._view = memoryview(buffer)
        self._filled = self._first = 0  # how much of the buffer is used, and was at the first time
        self._is_empty = True
        self._file: IncomingFile | None = None
        self._error: LumbarError | OSError | None = None
        try:
            header = part10_header(sop_class, sop_instance, syntax)
            self._filled = len(header)
            self._view[: self._filled] = header
        except InvalidInstance as error:
            self._error = error

    def take(self, wire: Wire, size: int) -> None:
        """Take a fragment of ``size`` bytes from the wire."""
        self._is_empty = self._is_empty and size == 0
        while size:
            piece = min(size, CHUNK - self._filled)
            wire.into(self._view[self._filled : self._filled + piece])
            self._filled += piece
            size -= piece
            if self._filled == CHUNK:
                self._write()

    def finish(self, source: str) -> InstanceRow:
        """Check what has come and make it durable.

        Raises
        ------
        Refused
            With the status of the answer; nothing is left of the instance.
        """
        try:
            if not self._is_empty:
                self._write()
            if self._error is not None:
                raise self._error
            if self._file is None:
                raise InvalidInstance("the data set is empty")
            is_whole = self._file.size == self._first
            whole = self._view[: self._first] if is_whole else None
            return self._custody.keep(self._file, source, contents=whole)
        except InvalidInstance as error:
            raise Refused(*statuses.of_refusal(error), "refused") from error
        except (RetryLater, OSError) as error:
            count = "no_store" if isinstance(error, StoreUnavailable) else "no_space"
            raise Refused(*statuses.of_refusal(error), count) from error

    def drop(self) -> None:
        """Delete what has come, unless it is in the archive."""
        if self._file is not None:
            self._file.discard()

    def _write(self) -> None:
        """Hand what is in the buffer to the archive."""
        chunk, self._filled = self._view[: self._filled], 0
        if self._error is not None or not chunk:
            return
        try:
            if self._file is None:
                self._first = len(chunk)
                self._file = self._custody.open(chunk)
            else:
                self._custody.append(self._file, chunk)
        except (LumbarError, OSError) as error:
            self._error = error
            self.drop()
