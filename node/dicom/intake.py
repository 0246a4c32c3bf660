"""The one way into the node: check, make durable, and only then say yes; the index follows.

Used by the C-STORE listener while bytes still arrive, and by everything that holds a whole file
(an Orthanc, a folder). Both write the file meta information anew, so that the same data set has
the same address whoever brought it, and whatever a preamble held is gone (rule SEC-05).
"""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import structlog

from node.dicom.audit import Event, Note
from node.dicom.reading.limits import (
    InstanceFacts,
    announced,
    check,
    check_file,
    names,
    names_in_file,
    uid,
)
from node.errors import InvalidInstance
from node.spine.instances import InstanceRow, StoredFile

log = structlog.get_logger()

#: What writes the file meta information (0002,0012). Constant, or the same image would have a
#: second address after an update. Derived from a UUID (PS3.5 annex B.2).
IMPLEMENTATION_UID = "2.25.267382151293390832797916150520138262428"

Outcome = Literal["new", "duplicate", "conflict"]


class IncomingFile(Protocol):
    """A file on its way into the archive."""

    path: Path
    size: int

    def write(self, chunk: bytes | memoryview) -> None:
        """Append bytes; raise `DiskFull` before the disk is full."""

    def commit(self) -> StoredFile:
        """Make the file durable at its address; raise `RetryLater` when that cannot be done now."""

    def discard(self) -> None:
        """Delete it unless it is committed."""


class Archive(Protocol):
    """Where files become durable."""

    def path(self, sha256: str) -> Path:
        """Return where the file with this hash is."""

    def incoming(self) -> IncomingFile:
        """Open a file; raise `DiskFull` below the watermark."""


class Index(Protocol):
    """Where rows about them go."""

    def add_instances(self, rows: Sequence[InstanceRow]) -> list[Outcome]:
        """Add rows, or say for each what stands against it."""

    def set_urgent(self, study_uid: str) -> None:
        """Note that images of a study were sent as urgent."""


class Quarantine(Protocol):
    """Where refused instances are set aside."""

    def keep(
        self,
        what: Path | bytes,
        reason: str,
        source: str,
        *,
        study_uid: str | None = None,
        sop_instance_uid: str | None = None,
    ) -> object:
        """Keep contents with their reason; never raises."""


class Custody:
    """Checks instances and makes them durable.

    Parameters
    ----------
    archive : Archive
    max_object_mb : int
        Largest instance (MiB) that is taken.
    quarantine : Quarantine, optional
        Gets what is refused.
    """

    def __init__(
        self, archive: Archive, max_object_mb: int, quarantine: Quarantine | None = None
    ) -> None:
        self._archive = archive
        self._quarantine = quarantine
        self._max_bytes = max_object_mb << 20

    def open(self, head: bytes | memoryview) -> IncomingFile:
        """Open a file that begins with ``head``: what `part10_header` returns, and maybe more."""
        file = self._archive.incoming()
        try:
            file.write(head)
        except BaseException:
            file.discard()  # at once: the error keeps it from being collected
            raise
        return file

    def begin(self, head: bytes, source: str) -> IncomingFile:
        """Open a file for a DICOM file of which at least the file meta information is there.

        Raises
        ------
        InvalidInstance
            When it does not begin like one.
        DiskFull
            When it would pass the watermark.
        """
        try:
            said = announced(head)
            header = part10_header(
                said.sop_class_uid, said.sop_instance_uid, said.transfer_syntax_uid
            )
        except InvalidInstance as error:
            self._set_aside(head, str(error), source)
            raise
        file = self.open(header)
        try:
            self.append(file, head[said.dataset_offset :])
        except BaseException:
            file.discard()
            raise
        return file

    def append(self, file: IncomingFile, chunk: bytes | memoryview) -> None:
        """Write the next bytes; raise `InvalidInstance` when it becomes larger than allowed."""
        if file.size + len(chunk) > self._max_bytes:
            raise InvalidInstance(f"the object has more than the limit of {self._max_bytes} bytes")
        file.write(chunk)

    def keep(
        self,
        file: IncomingFile,
        source: str,
        study_uid: str | None = None,
        contents: memoryview | None = None,
    ) -> InstanceRow:
        """Check a completely written file, store it durably and return its index row.

        Parameters
        ----------
        file : IncomingFile
        source : str
            Who sent it.
        study_uid : str, optional
            The study that it has to belong to.
        contents : memoryview, optional
            All of the file, where the caller still has it; else it is read again.

        Raises
        ------
        InvalidInstance
            When it is not fit to read, or of another study; the file is deleted.
        """
        try:
            if contents is None:
                facts = check_file(file.path, max_bytes=self._max_bytes)
            else:
                facts = check(contents, max_bytes=self._max_bytes)
            if study_uid not in {None, facts.study_uid}:
                raise InvalidInstance("it does not belong to the study that was asked for")
            stored = file.commit()
        except InvalidInstance as error:
            self._set_aside(file.path, str(error), source)
            raise
        finally:
            file.discard()
        return row_of(stored, facts, source)

    def _set_aside(self, what: Path | bytes, reason: str, source: str) -> None:
        if self._quarantine is None:
            return
        study, instance = names_in_file(what) if isinstance(what, Path) else names(what)
        self._quarantine.keep(what, reason, source, study_uid=study, sop_instance_uid=instance)


class Register:
    """Enters instances that are durable into the index.

    Parameters
    ----------
    archive, index
        An `Archive` and an `Index`.
    quarantine : Quarantine, optional
        Gets what came under a UID that other contents have.
    """

    def __init__(
        self, archive: Archive, index: Index, quarantine: Quarantine | None = None
    ) -> None:
        self._archive = archive
        self._index = index
        self._quarantine = quarantine

    def enter(self, rows: Sequence[InstanceRow]) -> list[Outcome]:
        """Add rows in one transaction, and return what each of them is."""
        outcomes = self._index.add_instances(rows)
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome == "conflict":
                self._note_conflict(row)
        return outcomes

    def urge(self, study_uid: str) -> None:
        """Note that images of a study, which are entered, were sent as urgent."""
        self._index.set_urgent(study_uid)

    def _note_conflict(self, row: InstanceRow) -> None:
        log.warning(
            "an instance came again with other contents: the first is used, both are kept",
            study_uid=row.study_uid,
            sop_instance_uid=row.sop_instance_uid,
            source=row.source,
            sha256=row.sha256,
        )
        if self._quarantine is not None:
            self._quarantine.keep(
                self._archive.path(row.sha256),
                "another instance has this SOP Instance UID: the first is used, not this one",
                row.source,
                study_uid=row.study_uid,
                sop_instance_uid=row.sop_instance_uid,
            )


class Intake(Custody):
    """Takes whole files: checks them, makes them durable and enters them.

    Parameters
    ----------
    archive, index
        An `Archive` and an `Index`.
    max_object_mb : int
        Largest instance (MiB) that is taken.
    quarantine : Quarantine, optional
        Gets what is refused, and what came under a UID that other contents have.
    note : callable, optional
        Records, in the audit trail, an event and the SOP class it was about.
    """

    def __init__(
        self,
        archive: Archive,
        index: Index,
        max_object_mb: int,
        quarantine: Quarantine | None = None,
        note: Note = lambda *_: None,
    ) -> None:
        super().__init__(archive, max_object_mb, quarantine)
        self._note = note
        self._register = Register(archive, index, quarantine)

    def finish(
        self, file: IncomingFile, source: str, study_uid: str | None = None
    ) -> tuple[InstanceRow, Outcome]:
        """Keep a completely written file as `keep` does, and index it."""
        row = self.keep(file, source, study_uid)
        (outcome,) = self._register.enter([row])
        self._note(Event("received", source, "", row.study_uid), row.sop_class_uid)
        return row, outcome

    def receive(self, part10: bytes, source: str) -> tuple[InstanceRow, Outcome]:
        """Take a whole DICOM file, for example one that was pulled from an Orthanc.

        Raises
        ------
        InvalidInstance
            When it is not fit to read.
        DiskFull
            When it would pass the watermark.
        """
        return self.finish(self.begin(part10, source), source)


def is_whole(path: Path, sha256: str) -> bool:
    """Tell whether a file is there and has the contents that its hash promises."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def read_row(stored: StoredFile) -> InstanceRow:
    """Return the index row of a file that is in the archive; who sent it is not known any more.

    Raises
    ------
    InvalidInstance
        When the file is damaged, or not what its name says: a power cut can leave one that was
        never acknowledged.
    """
    if not is_whole(stored.path, stored.sha256):
        raise InvalidInstance(f"{stored.path.name}: its contents are not those of its hash")
    return row_of(stored, check_file(stored.path), "archive")


def row_of(stored: StoredFile, facts: InstanceFacts, source: str) -> InstanceRow:
    """Return the index row of a stored file."""
    return InstanceRow(
        sop_instance_uid=facts.sop_instance_uid,
        series_uid=facts.series_uid,
        study_uid=facts.study_uid,
        sop_class_uid=facts.sop_class_uid,
        transfer_syntax_uid=facts.transfer_syntax_uid,
        sha256=stored.sha256,
        bytes=stored.bytes,
        source=source,
        received_at=stored.stored_at,
    )


def part10_header(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Return preamble, prefix and file meta information (PS3.10 section 7.1), deterministically.

    Raises
    ------
    InvalidInstance
        When one of the UIDs is not legal.
    """
    body = b"".join(
        (
            _meta(0x0001, b"OB", b"\x00\x01"),
            _meta(0x0002, b"UI", _ui(sop_class_uid, "MediaStorageSOPClassUID")),
            _meta(0x0003, b"UI", _ui(sop_instance_uid, "MediaStorageSOPInstanceUID")),
            _meta(0x0010, b"UI", _ui(transfer_syntax_uid, "TransferSyntaxUID")),
            _meta(0x0012, b"UI", _ui(IMPLEMENTATION_UID, "ImplementationClassUID")),
        )
    )
    return bytes(128) + b"DICM" + _meta(0x0000, b"UL", struct.pack("<I", len(body))) + body


def _ui(text: str, name: str) -> bytes:
    raw = uid(text, name).encode("ascii")
    return raw + b"\0" * (len(raw) % 2)


def _meta(number: int, vr: bytes, value: bytes) -> bytes:
    """Encode one element of group 0002 in explicit VR little endian."""
    if vr == b"OB":
        return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value
