"""Read the header of a DICOM file, and refuse a file that is cut off before its pixels end."""

import re
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from node.dicom.reading.attributes import UNREADABLE, Attributes
from node.errors import InvalidInstance
from node.spine.facts import MR_CLASSES

_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_UNDEFINED = 0xFFFFFFFF
# Anonymised data may hold plain numbers; nothing else may become a folder's name.
UID = re.compile(r"[0-9]{1,64}(\.[0-9]{1,64}){0,31}", re.ASCII)
_ITEM = b"\xfe\xff\x00\xe0"


def read_header(path: Path, *, needs_pixels: bool = True) -> Dataset:
    """Read a DICOM file up to its pixels.

    Parameters
    ----------
    path : Path
    needs_pixels : bool
        False to be told whose image it is even where its pixels are not all there.

    Returns
    -------
    Dataset
        With file meta information; values are converted when they are used.

    Raises
    ------
    InvalidInstance
        When it is not DICOM, deflated, cut off, or without the UIDs that place it in a study.
    """
    try:
        with path.open("rb") as file:
            header, end = _read_up_to_pixels(file, path, needs_pixels=needs_pixels)
    except InvalidInstance:
        raise
    except InvalidDicomError as error:
        raise InvalidInstance(f"{path.name}: not a DICOM file") from error
    except OSError as error:
        raise InvalidInstance(
            f"{path.name}: {error.strerror or 'the header is damaged'}"
        ) from error
    except UNREADABLE as error:
        raise InvalidInstance(f"{path.name}: the header is damaged or cut off") from error
    known = Attributes(header)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        if not known.text(keyword):
            raise InvalidInstance(f"{path.name}: {keyword} is missing")
        if not UID.fullmatch(known.text(keyword)):
            raise InvalidInstance(f"{path.name}: {keyword} is not a legal UID")
    if (
        needs_pixels
        and end is None
        and (known.text("Modality") == "MR" or sop_class(header) in MR_CLASSES)
    ):
        raise InvalidInstance(f"{path.name}: no pixel data: cut off, or not an image")
    return header


def _read_up_to_pixels(
    file: BinaryIO, path: Path, *, needs_pixels: bool
) -> tuple[Dataset, int | None]:
    """Return the header, and where the pixels begin (None when there are none)."""
    syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    if syntax is None:
        raise InvalidInstance(f"{path.name}: TransferSyntaxUID is missing")
    if syntax == DeflatedExplicitVRLittleEndian:
        # Inflating is the attack: 0.5 MB become 1 GB before anyone can look.
        raise InvalidInstance(f"{path.name}: the deflated transfer syntax is not accepted")
    found: list[int] = []

    def at_pixels(tag: BaseTag, _: str | None, length: int) -> bool:
        if tag in _PIXELS:
            found.append(length)
        return tag in _PIXELS

    header = read_partial(file, at_pixels)
    if not found:
        return header, None
    # The reader stops before the element: tag, VR and length take 8 bytes in implicit VR, else 12.
    start, size = file.tell() + (8 if syntax.is_implicit_VR else 12), path.stat().st_size
    missing = start + found[0] - size
    if found[0] == _UNDEFINED:
        missing = _missing_fragment_bytes(file, start, size)
    if needs_pixels and missing > 0:
        raise InvalidInstance(f"{path.name}: cut off: {missing} bytes of the pixels are missing")
    return header, start


def _missing_fragment_bytes(file: BinaryIO, start: int, size: int) -> int:
    """Follow the fragments of encapsulated pixels; a lost delimiter alone costs nothing."""
    at = start
    while at + 8 <= size:
        file.seek(at)
        head = file.read(8)
        if head[:4] != _ITEM:
            return 0
        at += 8 + int.from_bytes(head[4:], "little")
    return at - size


def sop_class(header: Dataset) -> str:
    """Return the SOP class; anonymised data may hold it only in the file meta information."""
    meta = getattr(header, "file_meta", None) or Dataset()
    return Attributes(header).text("SOPClassUID") or Attributes(meta).text(
        "MediaStorageSOPClassUID"
    )
