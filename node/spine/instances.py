"""One received DICOM instance as the archive, the index and the listener all know it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class StoredFile:
    """A file that is durable: its contents and its name have reached the disk.

    Attributes
    ----------
    sha256 : str
        Of the whole file, 64 lower-case hexadecimal digits; also its address.
    path : Path
    bytes : int
        Its size.
    stored_at : datetime
        UTC, when it was first stored.
    """

    sha256: str
    path: Path
    bytes: int
    stored_at: datetime


@dataclass(frozen=True)
class InstanceRow:
    """What the index keeps of one instance.

    Attributes
    ----------
    sop_instance_uid, series_uid, study_uid, sop_class_uid, transfer_syntax_uid : str
    sha256 : str
        The address of its file in the archive.
    bytes : int
        The file's size.
    source : str
        Who sent it, an AE title or the name of a peer.
    received_at : datetime
        UTC.
    """

    sop_instance_uid: str
    series_uid: str
    study_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    bytes: int
    source: str
    received_at: datetime


def input_hash(rows: Iterable[InstanceRow]) -> str:
    """Return the SHA-256 over an instance set: its sorted (SOP Instance UID, file hash) pairs."""
    lines = sorted(f"{row.sop_instance_uid} {row.sha256}\n" for row in rows)
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()
