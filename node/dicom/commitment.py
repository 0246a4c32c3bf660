"""Storage commitment, push model, as provider: what is asked, and what is answered (PS3.4 annex J).

The answer comes from the disk: an instance counts as committed when the file that the index names
is there and still has its hash. This node is no archive for ever: what it commits to is what its
retention keeps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import StorageCommitmentPushModelInstance

from node.dicom.intake import is_whole
from node.dicom.reading.attributes import UNREADABLE
from node.dicom.reading.limits import uid
from node.errors import InvalidInstance, Misconfigured

T = TypeVar("T")

INSTANCE = str(StorageCommitmentPushModelInstance)
REQUEST = 1  # the only action type, PS3.4 table J.3-1
ALL_COMMITTED, SOME_FAILED = 1, 2  # event types, PS3.4 table J.3-2

#: Failure reasons, PS3.3 C.14.1.1.
PROCESSING_FAILURE, NO_SUCH_INSTANCE, CLASS_CONFLICT = 0x0110, 0x0112, 0x0119


class Reference(NamedTuple):
    """One instance that a peer asks about."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class Asked:
    """One request for commitment."""

    transaction_uid: str
    references: tuple[Reference, ...]


class Holding(NamedTuple):
    """Where this node has an instance."""

    sop_class_uid: str
    sha256: str
    path: Path


Lookup = Callable[[Sequence[str]], Mapping[str, Holding]]


class Commitments(Protocol):
    """Requests that were taken on, until their peers know the outcome."""

    def take(self, calling_ae: str, asked: Asked) -> None:
        """Take a request on, durably."""

    def told(self, calling_ae: str, transaction_uid: str) -> None:
        """Note that the peer has confirmed the report."""

    def untold(self, calling_ae: str, asked: Asked) -> None:
        """Note that the peer's association has ended without that."""

    def holdings(self, sop_instance_uids: Sequence[str]) -> Mapping[str, Holding]:
        """Return where instances are; those that are not held are left out."""


class NoCommitments:
    """Of a listener that nobody may ask."""

    def take(self, calling_ae: str, asked: Asked) -> None:  # noqa: ARG002
        """Refuse."""
        raise Misconfigured("this listener has nobody who answers storage commitment requests")

    def told(self, calling_ae: str, transaction_uid: str) -> None:
        """Do nothing."""

    def untold(self, calling_ae: str, asked: Asked) -> None:
        """Do nothing."""

    def holdings(self, sop_instance_uids: Sequence[str]) -> Mapping[str, Holding]:  # noqa: ARG002
        """Hold nothing."""
        return {}


@dataclass(frozen=True)
class Answer:
    """What a request is answered.

    Attributes
    ----------
    event_type : int
    report : Dataset
        The event information (PS3.4 table J.3-2).
    """

    event_type: int
    report: Dataset

    def encoded(self, syntax: str) -> bytes:
        """Return the report in implicit or explicit VR little endian."""
        raw: bytes | None = encode(self.report, syntax == ImplicitVRLittleEndian, True)
        if raw is None:
            raise InvalidInstance("the storage commitment report could not be encoded")
        return raw


def parse(raw: bytes, syntax: str) -> Asked:
    """Read the action information of a request (PS3.4 table J.3-1).

    Parameters
    ----------
    raw : bytes
    syntax : str
        Implicit or explicit VR little endian.

    Raises
    ------
    InvalidInstance
        When it is not what the standard wants.
    """
    asked = read(raw, syntax, "request", _asked)
    if not asked.references:
        raise InvalidInstance("the storage commitment request names no instance")
    return asked


def _asked(said: Dataset) -> Asked:
    references = tuple(
        Reference(
            uid(str(one.ReferencedSOPClassUID), "ReferencedSOPClassUID"),
            uid(str(one.ReferencedSOPInstanceUID), "ReferencedSOPInstanceUID"),
        )
        for one in said.ReferencedSOPSequence
    )
    return Asked(uid(str(said.TransactionUID), "TransactionUID"), references)


def read(raw: bytes, syntax: str, what: str, take: Callable[[Dataset], T]) -> T:
    """Read a message's data set, in implicit or explicit VR little endian.

    Raises
    ------
    InvalidInstance
        When it is not what the standard wants; ``what`` says which message that is.
    """
    try:
        return take(read_dataset(BytesIO(raw), syntax == ImplicitVRLittleEndian, True))
    except UNREADABLE as error:
        raise InvalidInstance(f"the storage commitment {what} is not readable") from error


def answer(asked: Asked, lookup: Lookup) -> Answer:
    """Look at the disk, and return which instances are committed and why others are not.

    Parameters
    ----------
    asked : Asked
    lookup : callable
        SOP Instance UIDs to where they are; those that are not held are left out.
    """
    held = lookup([reference.sop_instance_uid for reference in asked.references])
    committed: list[Dataset] = []
    failed: list[Dataset] = []
    for reference in asked.references:
        reason = _failure(reference, held.get(reference.sop_instance_uid))
        (committed if reason is None else failed).append(item(reference, reason))
    report = Dataset()
    report.TransactionUID = asked.transaction_uid
    if committed:
        report.ReferencedSOPSequence = committed
    if failed:
        report.FailedSOPSequence = failed
    return Answer(SOME_FAILED if failed else ALL_COMMITTED, report)


def _failure(reference: Reference, held: Holding | None) -> int | None:
    if held is None:
        return NO_SUCH_INSTANCE
    if held.sop_class_uid != reference.sop_class_uid:
        return CLASS_CONFLICT
    return None if is_whole(held.path, held.sha256) else PROCESSING_FAILURE


def item(reference: Reference, reason: int | None) -> Dataset:
    """Return an item of a sequence of references, with why it failed where it has."""
    made = Dataset()
    made.ReferencedSOPClassUID = reference.sop_class_uid
    made.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reason is not None:
        made.FailureReason = reason
    return made
