"""Every transfer syntax the reader decodes, written by tools that are not ours."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
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

#: Writes an image to a path; the image may be changed.
Encoder = Callable[[Path, Dataset], None]


def _dcmtk(*command: str) -> Encoder:
    def encode(path: Path, image: Dataset) -> None:
        plain = path.with_suffix(".plain")
        image.save_as(plain, enforce_file_format=True)
        subprocess.run([f"/usr/bin/{command[0]}", *command[1:], plain, path], check=True)
        plain.unlink()

    return encode


def _plain(path: Path, image: Dataset) -> None:
    image.save_as(path, enforce_file_format=True)


def _jpeg_2000(path: Path, image: Dataset) -> None:
    image.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    _plain(path, image)


def _htj2k(syntax: str, order: str) -> Encoder:
    def encode(path: Path, image: Dataset) -> None:
        """Encode raw samples with OpenJPH."""
        raw, stream = path.with_suffix(".yuv"), path.with_suffix(".j2c")
        kind = {8: "u1", 16: "<u2"}[image.BitsAllocated]
        stored = np.frombuffer(image.PixelData, kind, image.Rows * image.Columns)
        # OpenJPH 0.9 misreads signed samples. A signed stream is the unsigned stream of samples
        # raised by half the range (ISO 15444-1 G.1), with the sign bit of SIZ set.
        if image.PixelRepresentation:
            half = 1 << (image.BitsStored - 1)
            stored = ((stored.astype(int) + half) % (2 * half)).astype(kind)
        raw.write_bytes(stored.tobytes())
        options = f"-reversible true -prog_order {order} -num_comps 1 -downsamp {{1,1}}".split()
        size = f"{{{image.Columns},{image.Rows}}}"
        shape = f"-signed false -bit_depth {image.BitsStored} -dims {size}".split()
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


#: By a name for people: the transfer syntax and its encoder.
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
