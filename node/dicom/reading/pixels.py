"""Decode the pixels of a candidate into a volume.

Compressed pixels are decoded in another process (`decoder`). Native ones are numbers already: numpy
looks at them in place, after their count was checked, and nothing can crash.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from node.dicom.reading.attributes import Attributes, frame_attributes
from node.dicom.reading.decoder import Decoder
from node.dicom.reading.frames import decode
from node.dicom.reading.header import read_header
from node.errors import InvalidInstance
from node.spine.anatomy import Role
from node.spine.candidates import Candidate
from node.spine.facts import FrameFacts
from node.spine.geometry import Image
from node.spine.volume import Slice, Volume, ordered

_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})  # PS3.3 C.8.3.1.1.2: an MR image is no other


def load_volume(
    role: Role,
    candidate: Candidate,
    files: Mapping[str, Path],
    left_out: MutableMapping[str, str] | None = None,
    decoder: Decoder | None = None,
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
    decoder : Decoder, optional
        For compressed pixels, shared by the series of a study; without it one is made.

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
    if decoder is None:
        with Decoder() as own:
            return load_volume(role, candidate, files, left_out, own)
    by_file: dict[str, list[FrameFacts]] = {}
    for frame in candidate.frames:
        by_file.setdefault(frame.sop_instance_uid, []).append(frame)
    bright: list[Slice] = []
    inverted: list[Slice] = []
    for uid, frames in by_file.items():
        try:
            if uid not in files:
                raise InvalidInstance(f"the file of image {uid} is missing")
            header = read_header(files[uid])
            decoded = list(_slices(files[uid], header, frames, decoder))
        except InvalidInstance as error:
            if left_out is None:
                raise
            left_out[uid] = str(error)
            continue
        is_inverted = Attributes(header).text("PhotometricInterpretation") == "MONOCHROME1"
        (inverted if is_inverted else bright).extend(decoded)
    # One value for a whole series, so that its slices keep the same scale.
    brightest: dict[str, float] = {}
    for s in inverted:
        brightest[s.series_uid] = max(brightest.get(s.series_uid, -np.inf), float(s.pixels.max()))
    bright += [replace(s, pixels=brightest[s.series_uid] - s.pixels) for s in inverted]
    return ordered(role, candidate.series_uid, candidate.frame_of_reference_uid, bright)


def _slices(
    path: Path, header: Dataset, frames: Sequence[FrameFacts], decoder: Decoder
) -> Iterator[Slice]:
    wanted = sorted(frames, key=lambda f: f.frame_number or 1)
    attributes = dict(frame_attributes(header))
    syntax = UID(header.file_meta.TransferSyntaxUID)
    kind = Attributes(header).text("PhotometricInterpretation")
    try:
        if kind not in _GREY:
            raise InvalidInstance(f"PhotometricInterpretation is {kind[:16]!r}, not one of grey")
        for frame, stored in zip(wanted, _stored(path, header, wanted, decoder), strict=True):
            pixels = _modality_values(stored, attributes[frame.frame_number])
            if frame.plane is None or pixels.shape != (frame.plane.rows, frame.plane.columns):
                raise InvalidInstance(f"the pixels have the shape {pixels.shape}")
            yield Slice(
                frame.plane, pixels, frame.sop_instance_uid, frame.frame_number, frame.series_uid
            )
    except InvalidInstance as error:
        raise InvalidInstance(
            f"{path.name}: the pixels ({syntax.name}) cannot be decoded: {error}"
        ) from error


def _stored(
    path: Path, header: Dataset, frames: Sequence[FrameFacts], decoder: Decoder
) -> Iterable[NDArray[Any]]:
    indices = [(f.frame_number or 1) - 1 for f in frames]
    if not UID(header.file_meta.TransferSyntaxUID).is_encapsulated:
        return decode(path, indices)
    plane = frames[0].plane
    return decoder.frames(path, indices, (plane.rows, plane.columns) if plane else (0, 0))


def _modality_values(stored: NDArray[Any], attributes: Attributes) -> Image:
    """Apply RescaleSlope and RescaleIntercept (PS3.3 C.11.1), ignoring senseless ones."""
    slope = attributes.number("RescaleSlope") or 1.0
    intercept = attributes.number("RescaleIntercept") or 0.0
    with np.errstate(over="ignore"):
        values = np.asarray(stored * slope + intercept, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InvalidInstance(f"a RescaleSlope of {slope:g} leaves no finite values")
    return values
