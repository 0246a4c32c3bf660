"""Compressed multi-frame objects, in every way they can be cut up, against foreign decoders.

The encoders and decoders here are DCMTK, OpenJPEG's and OpenJPH's command-line tools; ours has to
give what they give. Single frames are in ``test_reader_codecs``.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    AllTransferSyntaxes,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    MRImageStorage,
)
from pynetdicom import AE, build_context

from node.dicom.reading.decoder import Decoder
from node.dicom.reading.limits import check_file
from tests.builders import mr_image, mr_image_of, part10, write_all
from tests.receiving import listening, storescu

FRAMES, ROWS, COLUMNS = 3, 61, 75  # odd, and not square
KINDS = {"u8": (8, False), "u12": (12, False), "u16": (16, False), "i12": (12, True),
         "i16": (16, True)}  # fmt: skip
#: Encoder, its option, decoder.
DCMTK = {
    "RLE": ("dcmcrle", "", "dcmdrle"),
    "JPEG lossless process 14": ("dcmcjpeg", "+el", "dcmdjpeg"),
    "JPEG lossless SV1": ("dcmcjpeg", "+e1", "dcmdjpeg"),
    "JPEG-LS": ("dcmcjpls", "+el", "dcmdjpls"),
}
#: How DCMTK lays frames out: with an offset table, without, and in pieces of 1 KB.
LAYOUTS = {"offset table": ["+ot"], "no offset table": ["-ot"], "pieces": ["+ot", "+fs", "1"]}


@dataclass(frozen=True)
class Picture:
    """A multi-frame image and its pixels."""

    image: FileDataset
    pixels: NDArray[Any]


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    """One decoder for the whole module."""
    with Decoder() as running:
        yield running


def picture(kind: str) -> Picture:
    """Return frames of noise and gradients that use the whole range of their bits."""
    bits, is_signed = KINDS[kind]
    low = -(2 ** (bits - 1)) if is_signed else 0
    shape = (FRAMES, ROWS, COLUMNS)
    noise = np.random.default_rng(bits).integers(low, low + 2**bits, shape)
    smooth = np.linspace(low, low + 2**bits - 1, ROWS * COLUMNS).astype(int).reshape(shape[1:])
    pixels = np.where(np.arange(ROWS)[:, None] % 8 < 3, noise, np.roll(smooth, 7, axis=0))
    image = mr_image_of(pixels, bits, NumberOfFrames=FRAMES)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    return Picture(image, pixels)


def assert_same(decoder: Decoder, path: Path, pixels: NDArray[Any]) -> None:
    """The object may come in, and each of its frames is decoded exactly, alone and in a row."""
    check_file(path)
    decoded = decoder.frames(path, range(FRAMES), (ROWS, COLUMNS))
    assert (np.stack(decoded) == pixels).all()
    (third,) = decoder.frames(path, [2], (ROWS, COLUMNS))
    assert (third == pixels[2]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("codec", DCMTK)
def test_dcmtk_decodes_the_same(
    codec: str, kind: str, layout: str, tmp_path: Path, decoder: Decoder
) -> None:
    """What DCMTK encodes is decoded to what DCMTK decodes, which is what was encoded."""
    if codec == "RLE" and layout == "pieces":
        layout = "no offset table"  # PS3.5 A.4.2: a frame of RLE is one fragment
    encoder, option, foreign = DCMTK[codec]
    made = picture(kind)
    plain, packed, again = (tmp_path / name for name in ("plain", "packed", "again"))
    plain.write_bytes(part10(made.image))
    options = [*([option] if option else []), *LAYOUTS[layout]]
    subprocess.run([f"/usr/bin/{encoder}", *options, plain, packed], check=True)
    subprocess.run([f"/usr/bin/{foreign}", packed, again], check=True)
    assert (dcmread(again).pixel_array == made.pixels).all()
    assert_same(decoder, packed, made.pixels)


@pytest.mark.parametrize("layout", ["offset table", "no offset table", "pieces"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL])
def test_openjpeg_and_openjph_decode_the_same(
    syntax: str, kind: str, layout: str, tmp_path: Path, decoder: Decoder
) -> None:
    """JPEG 2000 and HTJ2K, which DCMTK does not know, against the tools of their libraries."""
    made = picture(kind)
    streams = [
        _codestream(tmp_path / str(number), frame, KINDS[kind], syntax)
        for number, frame in enumerate(made.pixels)
    ]
    made.image.PixelData = encapsulate(
        streams,
        fragments_per_frame=2 if layout == "pieces" else 1,
        has_bot=layout != "no offset table",
    )
    made.image["PixelData"].is_undefined_length = True
    made.image.file_meta.TransferSyntaxUID = syntax
    packed = tmp_path / "packed.dcm"
    packed.write_bytes(part10(made.image))
    assert_same(decoder, packed, made.pixels)


def _codestream(folder: Path, frame: NDArray[Any], kind: tuple[int, bool], syntax: str) -> bytes:
    """Encode a frame with a library's own tool, and see that its own decoder gives it back."""
    bits, is_signed = kind
    folder.mkdir()
    size = 1 if bits == 8 else 2
    if syntax == JPEG2000Lossless:
        raw, stream, again = folder / "frame.rawl", folder / "frame.j2k", folder / "again.rawl"
        raw.write_bytes(frame.astype(f"<{'i' if is_signed else 'u'}{size}").tobytes())
        shape = f"{COLUMNS},{ROWS},1,{bits},{'s' if is_signed else 'u'}"
        _run("opj_compress", "-i", raw, "-o", stream, "-F", shape)
        _run("opj_decompress", "-i", stream, "-o", again)
        stored, decoded = (np.frombuffer(p.read_bytes(), f"<u{size}") for p in (raw, again))
        mask = 2**bits - 1  # the tool does not extend the sign
        assert (decoded & mask == stored & mask).all()
        return stream.read_bytes()
    # OpenJPH 0.9 misreads signed samples. A signed stream is the unsigned stream of samples
    # raised by half the range (ISO 15444-1 G.1), with the sign bit of SIZ set.
    raised = frame + (1 << (bits - 1)) if is_signed else frame
    raw, stream, again = folder / "frame.yuv", folder / "frame.j2c", folder / "again.yuv"
    raw.write_bytes(raised.astype(f"<u{size}").tobytes())
    order = "RPCL" if syntax == HTJ2KLosslessRPCL else "LRCP"
    options = f"-reversible true -prog_order {order} -num_comps 1 -downsamp {{1,1}}".split()
    shape = f"-signed false -bit_depth {bits} -dims {{{COLUMNS},{ROWS}}}"
    _run("ojph_compress", "-i", raw, "-o", stream, *options, *shape.split())
    _run("ojph_expand", "-i", stream, "-o", again)
    assert again.read_bytes() == raw.read_bytes()
    codestream = bytearray(stream.read_bytes())
    if is_signed:
        codestream[codestream.index(b"\xff\x51") + 40] |= 0x80
    return bytes(codestream)


def _run(tool: str, *arguments: object) -> None:
    subprocess.run(
        [f"/usr/bin/{tool}", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL
    )


def test_every_syntax_of_the_standard_is_negotiated_by_one_list(tmp_path: Path) -> None:
    """In one real association: lossless is accepted; deflated, big endian, lossy, video are not."""
    lossless = {"1.2.840.10008.1.2" + end for end in (
        "", ".1", ".5", ".4.57", ".4.70", ".4.80", ".4.90", ".4.201", ".4.202")}  # fmt: skip
    proposed = [str(syntax) for syntax in AllTransferSyntaxes]
    assert {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.100"} < set(proposed)
    with listening(tmp_path) as node:
        contexts = [build_context(MRImageStorage, syntax) for syntax in proposed]
        association = AE("TEST").associate("127.0.0.1", node.port, contexts, ae_title="LUMBAR")
        accepted = {str(c.transfer_syntax[0]) for c in association.accepted_contexts}
        association.release()
    assert accepted == lossless


@pytest.mark.parametrize("proposal", ["-xd", "-xm", "-xn", "-x4"])
def test_dcmtk_cannot_send_deflated_or_video(tmp_path: Path, proposal: str) -> None:
    """Proposed by a real sender beside explicit VR or alone, neither is ever used."""
    (plain,) = write_all([mr_image()], tmp_path / "in")
    deflated = tmp_path / "deflated.dcm"
    subprocess.run(["/usr/bin/dcmconv", "+td", plain, deflated], check=True)
    with listening(tmp_path) as node:
        storescu(node.port, [deflated], "-R", proposal)
        storescu(node.port, [plain], "-R", "+C", proposal)
        assert set(node.datasets()) <= {part10(mr_image())[check_file(plain).dataset_offset :]}
        rows = node.index.instances(str(mr_image().StudyInstanceUID))
        assert {row.transfer_syntax_uid for row in rows} <= {ExplicitVRLittleEndian}
