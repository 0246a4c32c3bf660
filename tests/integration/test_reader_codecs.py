"""Every transfer syntax decodes bit for bit, encoded by tools that are not ours."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from node.dicom.decoder import Decoder
from node.dicom.reader import facts, load_volume, read_header
from node.errors import InvalidInstance
from node.spine.anatomy import Role
from node.spine.series import Candidate, choose
from tests.builders import mr_image

ROWS, COLUMNS = 61, 75  # odd, and not square
Encoder = Callable[[Path, FileDataset], None]


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
    kind = "u1" if bits == 8 else "<i2" if signed else "<u2"
    raw = pixels.astype(kind).tobytes()
    image = mr_image(
        number=number,
        Rows=ROWS,
        Columns=COLUMNS,
        BitsAllocated=8 if bits == 8 else 16,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(signed),
        PixelData=raw + b"\0" * (len(raw) % 2),
    )
    return image, pixels


def _dcmtk(*command: str) -> Encoder:
    def encode(path: Path, image: FileDataset) -> None:
        plain = path.with_suffix(".plain")
        image.save_as(plain, enforce_file_format=True)
        subprocess.run([f"/usr/bin/{command[0]}", *command[1:], plain, path], check=True)
        plain.unlink()

    return encode


def _plain(path: Path, image: FileDataset) -> None:
    image.save_as(path, enforce_file_format=True)


def _jpeg_2000(path: Path, image: FileDataset) -> None:
    image.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    _plain(path, image)


def _htj2k(syntax: str, order: str) -> Encoder:
    def encode(path: Path, image: FileDataset) -> None:
        """Encode raw samples with OpenJPH."""
        raw, stream = path.with_suffix(".yuv"), path.with_suffix(".j2c")
        kind = {8: "u1", 16: "<u2"}[image.BitsAllocated]
        stored = np.frombuffer(image.PixelData, kind, ROWS * COLUMNS)
        # OpenJPH 0.9 misreads signed samples. A signed stream is the unsigned stream of samples
        # raised by half the range (ISO 15444-1 G.1), with the sign bit of SIZ set.
        if image.PixelRepresentation:
            half = 1 << (image.BitsStored - 1)
            stored = ((stored.astype(int) + half) % (2 * half)).astype(kind)
        raw.write_bytes(stored.tobytes())
        options = f"-reversible true -prog_order {order} -num_comps 1 -downsamp {{1,1}}".split()
        shape = f"-signed false -bit_depth {image.BitsStored} -dims {{{COLUMNS},{ROWS}}}".split()
        tool = "/usr/bin/ojph_compress"
        subprocess.run([tool, "-i", raw, "-o", stream, *options, *shape], check=True)
        codestream = bytearray(stream.read_bytes())
        if image.PixelRepresentation:
            codestream[codestream.index(b"\xff\x51") + 40] |= 0x80
        image.PixelData = encapsulate([bytes(codestream)])
        image["PixelData"].is_undefined_length = True
        image.file_meta.TransferSyntaxUID = syntax
        _plain(path, image)

    return encode


SYNTAXES: dict[str, tuple[str, Encoder]] = {
    "explicit": ("1.2.840.10008.1.2.1", _plain),
    "implicit": (ImplicitVRLittleEndian, _dcmtk("dcmconv", "+ti")),
    "RLE": (RLELossless, _dcmtk("dcmcrle")),
    "JPEG lossless process 14": (JPEGLossless, _dcmtk("dcmcjpeg", "+el")),
    "JPEG lossless SV1": (JPEGLosslessSV1, _dcmtk("dcmcjpeg", "+e1")),
    "JPEG-LS": (JPEGLSLossless, _dcmtk("dcmcjpls", "+el")),
    "JPEG 2000": (JPEG2000Lossless, _jpeg_2000),
    "HTJ2K": (HTJ2KLossless, _htj2k(HTJ2KLossless, "LRCP")),
    "HTJ2K RPCL": (HTJ2KLosslessRPCL, _htj2k(HTJ2KLosslessRPCL, "RPCL")),
}


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
