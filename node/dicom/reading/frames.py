"""The stored pixels of a file, frame by frame, through pydicom's pixel API.

Syntaxes and their decoders: implicit and explicit VR and RLE (pydicom), JPEG lossless (gdcm),
JPEG-LS (pyjpegls), JPEG 2000 and HTJ2K (pylibjpeg-openjpeg).
"""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels
from pydicom.uid import (
    JPEG2000,
    UID,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from node.dicom.reading.attributes import UNREADABLE
from node.errors import InvalidInstance

# Left to itself pydicom tries gdcm first, which aborts the process on corrupt JPEG-LS and
# JPEG 2000, and pylibjpeg-rle, which panics past `except Exception`. These refuse properly.
_PLUGIN = {
    RLELossless: "pydicom",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
}
_DELIMITER = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


def decode(path: Path, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Yield frames (rows, columns) as they are stored, without any rescale.

    Parameters
    ----------
    path : Path
    indices : sequence of int
        Which frames, from 0, ascending.

    Raises
    ------
    InvalidInstance
        When there are no pixels or they cannot be decoded; in one line.
    """
    try:
        dataset = _read(path)
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        yield from iter_pixels(
            dataset, indices=list(indices), decoding_plugin=_PLUGIN.get(syntax, "")
        )
    except (*UNREADABLE, RuntimeError, MemoryError) as error:
        raise InvalidInstance(_one_line(error)) from error


def _read(path: Path) -> Dataset:
    """Read a whole file, coping with encapsulated pixels whose closing delimiter is lost."""
    dataset = dcmread(path)
    if "PixelData" not in dataset:
        dataset = dcmread(BytesIO(path.read_bytes() + _DELIMITER))
    if "PixelData" not in dataset:
        raise InvalidInstance("no pixel data")
    return dataset


def _one_line(error: BaseException) -> str:
    text = str(error).removeprefix(
        "Unable to decode as exceptions were raised by all available plugins:"
    )
    return " ".join(text.split())[:200] or type(error).__name__
