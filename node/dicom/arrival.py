"""An instance that comes as a part of a message: straight to the archive, and what became of it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from node.dicom import statuses
from node.dicom.intake import IncomingFile, Intake
from node.dicom.reading.limits import announced
from node.dicom.upper_layer.negotiation import KEPT_CLASSES
from node.errors import InvalidInstance, LumbarError, RetryLater
from node.spine.instances import InstanceRow

log = structlog.get_logger()

_HEAD = 64 << 10  # bytes that hold any honest file meta information


@dataclass(frozen=True)
class Verdict:
    """What became of one instance.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid : str
        As its file meta information says; empty when that is unreadable.
    status : int
        `statuses.SUCCESS`, or the Failure Reason (0008,1197) of PS3.18 table I.2-2.
    reason : str
        The failure in words.
    row : InstanceRow or None
        Where it is kept; None for a failure and for what is not kept.
    """

    sop_class_uid: str
    sop_instance_uid: str
    status: int = statuses.SUCCESS
    reason: str = ""
    row: InstanceRow | None = None


class Arrival:
    """One DICOM file on its way in, given piece by piece.

    An error is kept until the end, so that the rest of its message is still read.

    Parameters
    ----------
    intake : Intake
    source : str
        Who sends it.
    tell : callable
        Gets the verdict when the file is at its end.
    study_uid : str, optional
        The study that it has to belong to.
    ignores : bool
        Whether objects that are not kept (no MR) are a success, as for C-STORE.
    """

    def __init__(
        self,
        intake: Intake,
        source: str,
        tell: Callable[[Verdict], None],
        *,
        study_uid: str | None = None,
        ignores: bool = True,
    ) -> None:
        self._intake = intake
        self._source = source
        self._tell = tell
        self._study_uid = study_uid
        self._ignores = ignores
        self._head = b""
        self._uids = ("", "")
        self._file: IncomingFile | None = None
        self._is_kept = True
        self._error: Exception | None = None

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        if self._error is not None or not self._is_kept:
            return
        try:
            if self._file is not None:
                self._intake.append(self._file, chunk)
                return
            self._head += chunk
            if len(self._head) >= _HEAD:
                self._begin()
        except (LumbarError, OSError) as error:
            self._error = error
            self.drop()

    def end(self) -> None:
        """Check the whole file, make it durable, and tell what became of it."""
        try:
            self._tell(self._finish())
        except Exception as error:  # noqa: BLE001 - the edge: one instance fails, its message goes on
            status, reason = _failure(error)
            log.warning(
                "instance refused", reason=reason, status=f"0x{status:04X}", source=self._source
            )
            self._tell(Verdict(*self._uids, status, reason))
        finally:
            self.drop()

    def drop(self) -> None:
        """Delete what has arrived unless it is stored."""
        if self._file is not None:
            self._file.discard()

    def _begin(self) -> None:
        head, self._head = self._head, b""
        with suppress(InvalidInstance):  # `Intake.begin` says it, and sets the file aside
            said = announced(head)
            self._uids = (said.sop_class_uid, said.sop_instance_uid)
            self._is_kept = said.sop_class_uid in KEPT_CLASSES
        if self._is_kept:
            self._file = self._intake.begin(head, self._source)

    def _finish(self) -> Verdict:
        if self._error is not None:
            raise self._error
        if self._head:
            self._begin()
        if not self._is_kept and not self._ignores:
            return Verdict(*self._uids, statuses.CLASS_NOT_SUPPORTED, "only MR images are kept")
        if not self._is_kept:
            return Verdict(*self._uids)
        if self._file is None:
            raise InvalidInstance("the part is empty")
        row, _ = self._intake.finish(self._file, self._source, self._study_uid)
        return Verdict(*self._uids, row=row)


def _failure(error: Exception) -> tuple[int, str]:
    if isinstance(error, (RetryLater, OSError, InvalidInstance)):
        return statuses.of_refusal(error)
    log.error("an instance could not be received", exc_info=error)
    return statuses.PROCESSING_FAILURE, "internal error: see the log of this node"
