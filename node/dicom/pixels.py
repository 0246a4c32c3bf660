"""Decode the pixels of a candidate into a volume.

Syntaxes and their decoders, all through pydicom's pixel API: implicit and explicit VR and RLE
(pydicom), JPEG lossless (gdcm), JPEG-LS (pyjpegls), JPEG 2000 and HTJ2K (pylibjpeg-openjpeg).
"""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import structlog
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

from node.dicom.attributes import UNREADABLE, Attributes, frame_attributes
from node.dicom.header import read_header
from node.errors import InvalidInstance
from node.spine.anatomy import Role
from node.spine.candidates import Candidate
from node.spine.facts import FrameFacts
from node.spine.geometry import Image
from node.spine.volume import Slice, Volume, ordered

log = structlog.get_logger()

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


def load_volume(
    role: Role,
    candidate: Candidate,
    files: Mapping[str, Path],
    left_out: MutableMapping[str, str] | None = None,
) -> Volume:
    """Decode a candidate's images and order them by geometry.

    Parameters
    ----------
    role : Role
    candidate : Candidate
        Its frames all have a plane.
    files : dict of SOPInstanceUID to Path
    left_out : dict of SOPInstanceUID to reason, optional
        Gets what cannot be decoded; without it the first such image is an error.

    Returns
    -------
    Volume
        float32 modality values (rescale slope and intercept applied), large is bright. Without
        what was left out, perhaps without any slice.

    Raises
    ------
    InvalidInstance
        When a file is missing or its pixels cannot be decoded; names the file and its syntax.
    """
    by_file: dict[str, list[FrameFacts]] = {}
    for frame in candidate.frames:
        by_file.setdefault(frame.sop_instance_uid, []).append(frame)
    bright: list[Slice] = []
    inverted: list[Slice] = []
    for uid, frames in by_file.items():
        try:
            if uid not in files:
                raise InvalidInstance(f"the file of image {uid} is missing")
            dataset = _read(files[uid])
            decoded = list(_slices(files[uid], dataset, frames))
        except InvalidInstance as error:
            if left_out is None:
                raise
            left_out[uid] = str(error)
            continue
        is_inverted = Attributes(dataset).text("PhotometricInterpretation") == "MONOCHROME1"
        (inverted if is_inverted else bright).extend(decoded)
    if inverted:
        # One value for the whole series, so that its slices keep the same scale.
        brightest = max(float(s.pixels.max()) for s in inverted)
        bright += [replace(s, pixels=brightest - s.pixels) for s in inverted]
    return ordered(role, candidate.series_uid, candidate.frame_of_reference_uid, bright)


def _read(path: Path) -> Dataset:
    """Read a whole file, coping with encapsulated pixels whose closing delimiter is lost."""
    read_header(path)
    raw = path.read_bytes()
    dataset = dcmread(BytesIO(raw))
    if "PixelData" not in dataset:
        dataset = dcmread(BytesIO(raw + _DELIMITER))
        log.warning("sequence delimiter after the pixels is missing", file=path.name)
    if "PixelData" not in dataset:
        raise InvalidInstance(f"{path.name}: no pixel data")
    return dataset


def _slices(path: Path, dataset: Dataset, frames: Sequence[FrameFacts]) -> Iterator[Slice]:
    syntax = dataset.file_meta.TransferSyntaxUID
    wanted = sorted(frames, key=lambda f: f.frame_number or 1)
    attributes = dict(frame_attributes(dataset))
    try:
        indices = [(f.frame_number or 1) - 1 for f in wanted]
        decoded = iter_pixels(dataset, indices=indices, decoding_plugin=_PLUGIN.get(syntax, ""))
        for frame, stored in zip(wanted, decoded, strict=True):
            pixels = _modality_values(stored, attributes[frame.frame_number])
            if frame.plane is None or pixels.shape != (frame.plane.rows, frame.plane.columns):
                raise ValueError(f"the pixels have the shape {pixels.shape}")
            yield Slice(frame.plane, pixels, frame.sop_instance_uid, frame.frame_number)
    except (*UNREADABLE, RuntimeError, MemoryError) as error:
        raise InvalidInstance(
            f"{path.name}: the pixels ({UID(syntax).name}) cannot be decoded: {_one_line(error)}"
        ) from error


def _modality_values(stored: NDArray[Any], attributes: Attributes) -> Image:
    """Apply RescaleSlope and RescaleIntercept (PS3.3 C.11.1), ignoring senseless ones."""
    slope = attributes.number("RescaleSlope") or 1.0
    intercept = attributes.number("RescaleIntercept") or 0.0
    return np.asarray(stored * slope + intercept, dtype=np.float32)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
