"""The frames of a stored instance: as they are encoded, decoded, or as a picture.

Sources: PS3.5 annex A.4 (encapsulation), PS3.18 table 8.7.3-5 (media types of compressed frames).
"""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import (
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from node.dicom.reading.attributes import UNREADABLE, Attributes
from node.dicom.reading.decoder import Decoder
from node.dicom.reading.elements import Element, Walk
from node.dicom.reading.frames import decode
from node.dicom.reading.limits import announced
from node.errors import InvalidInstance

OCTETS = "application/octet-stream"
EXPLICIT = str(ExplicitVRLittleEndian)
NATIVE = frozenset({EXPLICIT, str(ImplicitVRLittleEndian)})
#: Compressed frames by transfer syntax.
MEDIA_TYPES = {
    str(RLELossless): "image/dicom-rle",
    str(JPEGLossless): "image/jpeg",
    str(JPEGLosslessSV1): "image/jpeg",
    str(JPEGLSLossless): "image/jls",
    str(JPEG2000Lossless): "image/jp2",
    str(HTJ2KLossless): "image/jphc",
    str(HTJ2KLosslessRPCL): "image/jphc",
}
_PIXELS = 0x7FE00010


class NoPixels(InvalidInstance):
    """An instance that is no image: a report, a presentation state."""


@dataclass(frozen=True)
class Frames:
    """The pixels of one file, not yet read.

    Attributes
    ----------
    path : Path
    syntax : str
        The transfer syntax of the file.
    count : int
    header : Dataset
        Without pixels.
    """

    path: Path
    syntax: str
    count: int
    header: Dataset
    _place: Element

    @property
    def is_native(self) -> bool:
        """Not compressed."""
        return self.syntax in NATIVE

    def stored(self, number: int) -> bytes:
        """Return frame ``number`` (from 1) with the bytes it is stored with."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._place.start)
                if not self.is_native:
                    return bytes(get_frame(file, number - 1, number_of_frames=self.count))
                size = _frame_bytes(self.header)
                file.seek(self._place.start + (number - 1) * size)
                return file.read(size)
        except UNREADABLE as error:
            raise InvalidInstance(f"{self.path.name}: frame {number} cannot be read") from error

    def decoded(self, number: int, decoder: Decoder) -> bytes:
        """Return frame ``number`` (from 1) uncompressed, little endian."""
        if self.is_native:
            return self.stored(number)
        (pixels,) = self.pixels([number], decoder)
        return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()

    def pixels(self, numbers: Sequence[int], decoder: Decoder) -> list[NDArray[Any]]:
        """Return frames (from 1): (rows, columns) or (rows, columns, 3), as stored."""
        indices = [n - 1 for n in numbers]
        if self.is_native:
            return list(decode(self.path, indices))
        known = Attributes(self.header)
        shape = (known.integer("Rows") or 0, known.integer("Columns") or 0)
        return decoder.frames(self.path, indices, shape)


def frames_of(path: Path) -> Frames:
    """Find the pixels of a file.

    Raises
    ------
    NoPixels
        When it has none.
    InvalidInstance
        When the file is damaged or not there.
    """
    try:
        syntax, place = _pixels_in(path)
        header = dcmread(path, stop_before_pixels=True)
    except UNREADABLE as error:
        raise InvalidInstance(f"{path.name}: the file is damaged or not there") from error
    count = Attributes(header).integer("NumberOfFrames") or 1
    return Frames(path, syntax, count, header, place)


def converted(path: Path, decoder: Decoder) -> bytes:
    """Return a file in explicit VR little endian, uncompressed.

    Raises
    ------
    InvalidInstance
        When its pixels cannot be decoded.
    """
    try:
        whole = dcmread(path)
        if whole.file_meta.TransferSyntaxUID.is_compressed:
            frames = frames_of(path)
            every = range(1, frames.count + 1)
            raw = b"".join(pixels.tobytes() for pixels in frames.pixels(every, decoder))
            whole.PixelData = raw + b"\0" * (len(raw) % 2)
            whole["PixelData"].VR = "OB" if whole.BitsAllocated == 8 else "OW"
        whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        buffer = BytesIO()
        whole.save_as(buffer, implicit_vr=False, little_endian=True, enforce_file_format=True)
        return buffer.getvalue()
    except UNREADABLE as error:
        raise InvalidInstance(f"{path.name}: the file is damaged or not there") from error


def numbers(text: str, count: int) -> Sequence[int]:
    """Return the frame numbers of a list such as ``1,3``; empty when one is not there."""
    wanted = [int(n) if n.isascii() and n.isdigit() and len(n) < 10 else 0 for n in text.split(",")]
    return wanted if all(1 <= n <= count for n in wanted) else []


def _pixels_in(path: Path) -> tuple[str, Element]:
    """Return the transfer syntax of a file, and where its pixels lie."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as part10:
        said = announced(part10)
        is_implicit = said.transfer_syntax_uid == ImplicitVRLittleEndian
        walk = Walk(part10, said.dataset_offset, frozenset({_PIXELS}), implicit=is_implicit)
        found = walk.run()
    if _PIXELS not in found:
        raise NoPixels("this instance is no image: it has no frames")
    return said.transfer_syntax_uid, found[_PIXELS]


def _frame_bytes(header: Dataset) -> int:
    known = Attributes(header)
    rows, columns = known.integer("Rows") or 0, known.integer("Columns") or 0
    samples, bits = known.integer("SamplesPerPixel") or 1, known.integer("BitsAllocated") or 0
    return rows * columns * samples * bits // 8
