"""Look at a DICOM file without decoding pixels and refuse what is not safe to read.

pydicom accepts an element that claims more bytes than there are, recurses into nested sequences
until Python gives up, and believes any file meta information. This module walks the elements
itself first, in constant memory, and raises `InvalidInstance` with one line that says what is
wrong. Rules SEC-02 and SEC-05; encoding: PS3.5 section 7 and annex A; file: PS3.10 section 7.
"""

import mmap
import re
from dataclasses import dataclass
from pathlib import Path

from node.dicom.reading.elements import PREAMBLE, Buffer, Element, Walk, read_meta
from node.dicom.upper_layer.negotiation import KEPT_CLASSES, KEPT_SYNTAXES
from node.errors import InvalidInstance

MAX_CLASSIC = 64 << 20  # bytes of a single-frame object
MAX_FRAMES = 2000
MAX_SIDE = 4096  # Rows, Columns
MAX_PIXELS = 512 << 20  # bytes of decoded pixels

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_INTEGER = re.compile(rb" *([0-9]{1,10}) *")

_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_SAMPLES, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280008, 0x00280010, 0x00280011
_BITS, _PIXELS = 0x00280100, 0x7FE00010
_NAMES = {
    0x00020002: "MediaStorageSOPClassUID",
    0x00020003: "MediaStorageSOPInstanceUID",
    0x00020010: "TransferSyntaxUID",
    _SOP_CLASS: "SOPClassUID",
    _SOP_INSTANCE: "SOPInstanceUID",
    _STUDY: "StudyInstanceUID",
    _SERIES: "SeriesInstanceUID",
    _SAMPLES: "SamplesPerPixel",
    _FRAMES: "NumberOfFrames",
    _ROWS: "Rows",
    _COLUMNS: "Columns",
    _BITS: "BitsAllocated",
    _PIXELS: "PixelData",
}
_IMPLICIT = "1.2.840.10008.1.2"
_NATIVE = frozenset({_IMPLICIT, "1.2.840.10008.1.2.1"})


class ClassMismatch(InvalidInstance):
    """The data set is of another SOP class than its sender or its file meta information says."""


class SyntaxNotSupported(InvalidInstance):
    """The transfer syntax is none that this node reads."""


@dataclass(frozen=True)
class Announced:
    """What the file meta information says of the data set behind it.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid, transfer_syntax_uid : str
    dataset_offset : int
        Where the data set begins.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset_offset: int


@dataclass(frozen=True)
class InstanceFacts(Announced):
    """What identifies an instance, read from its bytes; all UIDs are legal (PS3.5 section 9.1)."""

    study_uid: str
    series_uid: str


def check_file(path: Path, *, max_bytes: int = MAX_PIXELS) -> InstanceFacts:
    """Check a file as `check` does; the file is mapped, not read into memory."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise InvalidInstance("the file is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as part10:
            return check(part10, max_bytes=max_bytes)


def check(part10: Buffer, *, max_bytes: int = MAX_PIXELS) -> InstanceFacts:
    """Check the bytes of a DICOM file and return what identifies it.

    Parameters
    ----------
    part10 : bytes, memoryview or mmap
        Preamble, file meta information and data set. The preamble may hold anything; nobody
        who stores the file may keep it (`node.dicom.intake` writes a new one).
    max_bytes : int
        Largest file that is accepted.

    Raises
    ------
    ClassMismatch
        When data set and file meta information name different SOP classes.
    InvalidInstance
        When it is not DICOM, truncated, not well-formed or beyond a limit, in one line.
    """
    if len(part10) > max_bytes:
        raise InvalidInstance(
            f"the object has {len(part10)} bytes, more than the limit of {max_bytes}"
        )
    meta = announced(part10)
    syntax, offset = meta.transfer_syntax_uid, meta.dataset_offset
    if syntax not in KEPT_SYNTAXES:
        raise SyntaxNotSupported(f"the transfer syntax {syntax} is not supported")
    walk = Walk(part10, offset, frozenset(_NAMES), implicit=syntax == _IMPLICIT)
    found = walk.run()
    facts = InstanceFacts(
        sop_class_uid=_uid(part10, found, _SOP_CLASS),
        sop_instance_uid=_uid(part10, found, _SOP_INSTANCE),
        study_uid=_uid(part10, found, _STUDY),
        series_uid=_uid(part10, found, _SERIES),
        transfer_syntax_uid=syntax,
        dataset_offset=offset,
    )
    if facts.sop_class_uid != meta.sop_class_uid:
        raise ClassMismatch(
            f"SOPClassUID is {facts.sop_class_uid}, announced was {meta.sop_class_uid}"
        )
    if facts.sop_instance_uid != meta.sop_instance_uid:
        raise InvalidInstance("SOPInstanceUID is not the one that was announced")
    if facts.sop_class_uid in KEPT_CLASSES:
        _check_pixels(part10, found, syntax)
    return facts


def names_in_file(path: Path) -> tuple[str | None, str | None]:
    """Return what `names` does; the file is mapped, not read into memory."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return None, None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as part10:
            return names(part10)


def names(part10: Buffer) -> tuple[str | None, str | None]:
    """Return Study and SOP Instance UID of bytes that were refused, as far as they are legal."""
    found: dict[int, Element] = {}
    try:
        meta, offset = read_meta(part10)
        implicit = _uid(part10, meta, 0x00020010) == _IMPLICIT
        walk = Walk(part10, offset, frozenset(_NAMES), implicit=implicit)
        found = walk.found
        walk.run()
    except InvalidInstance:
        pass  # what was found before the fault is what there is
    return _uid_if_legal(part10, found, _STUDY), _uid_if_legal(part10, found, _SOP_INSTANCE)


def _uid_if_legal(part10: Buffer, found: dict[int, Element], tag: int) -> str | None:
    try:
        return _uid(part10, found, tag)
    except InvalidInstance:
        return None


def announced(part10: Buffer) -> Announced:
    """Read the file meta information; the data set behind it need not be there yet.

    Raises
    ------
    InvalidInstance
        When it is not DICOM or the file meta information is not well-formed.
    """
    if len(part10) < PREAMBLE or part10[128:132] != b"DICM":
        raise InvalidInstance("not a DICOM file: no 'DICM' after the preamble")
    meta, offset = read_meta(part10)
    sop_class, sop_instance, syntax = (
        _uid(part10, meta, tag) for tag in (0x00020002, 0x00020003, 0x00020010)
    )
    return Announced(sop_class, sop_instance, syntax, offset)


def uid(text: str, name: str = "UID") -> str:
    """Return ``text`` when it is a legal UID (PS3.5 section 9.1), else raise `InvalidInstance`."""
    if len(text) > 64 or not _UID.fullmatch(text):
        raise InvalidInstance(f"{name} is not a legal UID")
    return text


def _uid(part10: Buffer, found: dict[int, Element], tag: int) -> str:
    name = _NAMES[tag]
    if tag not in found:
        raise InvalidInstance(f"{name} is missing")
    element = found[tag]
    if element.length > 66:
        raise InvalidInstance(f"{name} is not a legal UID")
    raw = bytes(part10[element.start : element.start + element.length])
    return uid(raw.rstrip(b"\0 ").decode("ascii", "replace"), name)


def _check_pixels(part10: Buffer, found: dict[int, Element], syntax: str) -> None:
    """Check the matrix and, for native pixels, that there are exactly as many bytes."""
    rows, columns = _number(part10, found, _ROWS), _number(part10, found, _COLUMNS)
    samples, bits = _number(part10, found, _SAMPLES), _number(part10, found, _BITS)
    frames = _frames(part10, found)
    _within("Rows", rows, MAX_SIDE)
    _within("Columns", columns, MAX_SIDE)
    _within("NumberOfFrames", frames, MAX_FRAMES)
    if samples != 1:
        raise InvalidInstance(f"SamplesPerPixel is {samples}, an MR image has 1")
    if bits not in (8, 16, 32):
        raise InvalidInstance(f"BitsAllocated is {bits}, it has to be 8, 16 or 32")
    size = rows * columns * frames * bits // 8
    _within("the size of the decoded pixels", size, MAX_PIXELS)
    if frames == 1 and len(part10) > MAX_CLASSIC:
        raise InvalidInstance(f"a single frame has {len(part10)} bytes, at most {MAX_CLASSIC}")
    if _PIXELS not in found:
        raise InvalidInstance("PixelData is missing")
    pixels = found[_PIXELS]
    if syntax not in _NATIVE:
        if not pixels.is_encapsulated:
            raise InvalidInstance("PixelData is not encapsulated, its transfer syntax says so")
    elif pixels.is_encapsulated or pixels.length != size + size % 2:
        raise InvalidInstance(
            f"PixelData has {pixels.length} bytes, {rows} x {columns} x {frames} pixels of "
            f"{bits} bits need {size + size % 2}"
        )


def _within(name: str, value: int, limit: int) -> None:
    if not 1 <= value <= limit:
        raise InvalidInstance(f"{name} is {value}, it has to be between 1 and {limit}")


def _number(part10: Buffer, found: dict[int, Element], tag: int) -> int:
    """Return the value of a US element."""
    if tag not in found or found[tag].length != 2:
        raise InvalidInstance(f"{_NAMES[tag]} is missing or not one number")
    start = found[tag].start
    return int.from_bytes(part10[start : start + 2], "little")


def _frames(part10: Buffer, found: dict[int, Element]) -> int:
    """Return NumberOfFrames, an IS element; 1 where there is none."""
    if _FRAMES not in found or found[_FRAMES].length == 0:
        return 1
    start, length = found[_FRAMES].start, found[_FRAMES].length
    text = _INTEGER.fullmatch(bytes(part10[start : start + min(length, 64)]))
    if text is None:
        raise InvalidInstance("NumberOfFrames is not a number")
    return int(text[1])
