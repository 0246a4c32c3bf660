"""Received data sets go to a file of the archive as they arrive, hashed once, never held whole.

pynetdicom 3.0.4 collects a data set in memory, or with ``STORE_RECV_CHUNKED_DATASET`` in a file
of the system's temporary folder: that file is on another disk than the archive, would have to be
read again to be hashed and copied to be kept, and stays behind when the peer aborts. So the
provider here gives each message a sink of its own instead.
"""

import io
from typing import Any

import structlog
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage

from node.dicom.intake import IncomingFile, Intake, part10_header
from node.dicom.negotiation import KEPT_CLASSES
from node.errors import InvalidInstance, LumbarError

log = structlog.get_logger()

_MAX_COMMAND = 16 << 10  # bytes of a command set or of a data set that is no C-STORE's


class Spool(io.BytesIO):
    """The sink of one message's data set.

    Instances that are kept are written to a file; those that are only ignored vanish. An error
    on the way is kept until the handler asks for the file, so that the peer gets an answer.
    """

    def __init__(self, message: Any, association: Any, intake: Intake) -> None:
        super().__init__()
        self._message = message
        self._association = association
        self._intake = intake
        self._file: IncomingFile | None = None
        self._error: LumbarError | OSError | None = None

    def write(self, chunk: Any) -> int:
        """Take the next piece of the data set."""
        size = len(chunk)
        if not isinstance(self._message, C_STORE_RQ):
            if self.tell() + size > _MAX_COMMAND:
                raise InvalidInstance("a message that is no C-STORE carries too much data")
            return super().write(chunk)
        if self._error is None and self._message.command_set.AffectedSOPClassUID in KEPT_CLASSES:
            try:
                self._append(chunk)
            except (LumbarError, OSError) as error:
                self._error = error
                self.drop()
        return size

    def file(self) -> IncomingFile:
        """Return the file with everything that has arrived.

        Raises
        ------
        LumbarError, OSError
            What went wrong while it was written.
        """
        if self._error is not None:
            raise self._error
        if self._file is None:
            raise InvalidInstance("the data set is empty")
        return self._file

    def drop(self) -> None:
        """Delete the file unless it was committed."""
        if self._file is not None:
            self._file.discard()

    def _append(self, chunk: bytes) -> None:
        if self._file is None:
            self._file = self._intake.open(self._header())
        self._intake.append(self._file, chunk)

    def _header(self) -> bytes:
        command = self._message.command_set
        syntaxes = {c.context_id: c.transfer_syntax[0] for c in self._association.accepted_contexts}
        if self._message.context_id not in syntaxes:
            raise InvalidInstance("the presentation context was not accepted")
        return part10_header(
            str(command.AffectedSOPClassUID),
            str(command.AffectedSOPInstanceUID),
            str(syntaxes[self._message.context_id]),
        )


class SpoolingProvider(DIMSEServiceProvider):  # type: ignore[misc]  # pynetdicom has no types
    """pynetdicom's DIMSE provider, with a `Spool` in each message it receives."""

    def __init__(self, association: Any, intake: Intake) -> None:
        super().__init__(association)
        self.message: Any = None
        self._intake = intake

    def receive_primitive(self, primitive: Any) -> None:
        """Take the next P-DATA primitive; a malformed message aborts its association only."""
        if self.message is None:
            message: Any = DIMSEMessage()
            message.data_set = Spool(message, self.assoc, self._intake)
            self.message = message
        try:
            if self.message.encoded_command_set.tell() > _MAX_COMMAND:
                raise InvalidInstance("a command set of more than 16 KiB")
            super().receive_primitive(primitive)
        except Exception as error:  # noqa: BLE001 - the edge: whatever a peer sends ends here
            log.warning("malformed message, association aborted", reason=str(error))
            self.drop()
            self.dul.event_queue.put("Evt19")  # PS3.8 9.2: invalid PDU, so A-ABORT

    def drop(self) -> None:
        """Delete what has arrived of an unfinished message."""
        if self.message is not None and isinstance(self.message.data_set, Spool):
            self.message.data_set.drop()
        self.message = None
