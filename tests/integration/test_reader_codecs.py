"""Every transfer syntax decodes bit for bit, encoded by tools that are not ours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from node.dicom.reading.decoder import Decoder
from node.dicom.reading.reader import facts, load_volume, read_header
from node.errors import InvalidInstance
from node.spine.anatomy import Role
from node.spine.series import Candidate, choose
from tests.builders import mr_image_of
from tests.encoders import SYNTAXES

ROWS, COLUMNS = 61, 75  # odd, and not square


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    """One decoder for all: it starts again when an image kills it."""
    with Decoder() as running:
        yield running


def _image(number: int, *, signed: bool, bits: int) -> tuple[FileDataset, Any]:
    """An image that uses the whole range of its bits, and its pixels."""
    low = -(2 ** (bits - 1)) if signed else 0
    noise = np.random.default_rng(number).integers(low, low + 2**bits, (ROWS, COLUMNS))
    smooth = np.linspace(low, low + 2**bits - 1, ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    pixels = np.where(np.arange(ROWS)[:, None] % 8 < 4, noise, smooth.astype(int))
    return mr_image_of(pixels, bits, number=number), pixels


@pytest.mark.parametrize("kind", ["u8", "u12", "u16", "i12", "i16"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_pixels_are_bit_exact(syntax: str, kind: str, tmp_path: Path, decoder: Decoder) -> None:
    """What was encoded comes back, for unsigned and signed pixels of 8, 12 and 16 bits."""
    uid, encode = SYNTAXES[syntax]
    written, files = {}, {}
    for number in range(1, 6):
        image, pixels = _image(number, signed=kind[0] == "i", bits=int(kind[1:]))
        path = tmp_path / f"{number}.dcm"
        encode(path, image)
        header = read_header(path)
        assert header.file_meta.TransferSyntaxUID == uid
        written[header.SOPInstanceUID], files[header.SOPInstanceUID] = pixels, path
    headers = [(path, read_header(path)) for path in files.values()]
    candidate = choose(facts(headers)).chosen[Role.SAGITTAL_T2]
    volume = load_volume(Role.SAGITTAL_T2, candidate, files, decoder=decoder)
    assert len(volume.slices) == 5
    for s in volume.slices:
        assert s.pixels.dtype == np.float32
        assert (s.pixels == written[s.sop_instance_uid]).all()


@pytest.mark.parametrize("syntax", list(SYNTAXES)[2:])
def test_a_corrupt_codestream_is_read_or_refused(
    syntax: str, tmp_path: Path, decoder: Decoder
) -> None:
    """Whatever a decoder does with it, abort included, it costs this image and nothing else."""
    image, pixels = _image(1, signed=False, bits=12)
    path, damaged = tmp_path / "1.dcm", tmp_path / "2.dcm"
    SYNTAXES[syntax][1](path, image)
    whole = path.read_bytes()
    (series,) = facts([(path, read_header(path))])
    lone = Candidate(series.series_uid, Role.SAGITTAL_T2, 0.0, (), series.frames)
    start = whole.index(b"\xe0\x7f\x10\x00OB") + 28  # behind the offset table's item
    random = np.random.default_rng(4)
    refused = 0
    for _ in range(60):
        raw = bytearray(whole)
        for at in random.integers(start, min(start + 200, len(raw) - 8), 4):
            raw[at] = random.integers(256)
        damaged.write_bytes(bytes(raw))
        try:
            load_volume(Role.SAGITTAL_T2, lone, {image.SOPInstanceUID: damaged}, decoder=decoder)
        except InvalidInstance as refusal:
            assert str(refusal).startswith("2.dcm: ")
            refused += 1
    assert refused > 0
    good = load_volume(Role.SAGITTAL_T2, lone, {image.SOPInstanceUID: path}, decoder=decoder)
    assert (good.slices[0].pixels == pixels).all()
