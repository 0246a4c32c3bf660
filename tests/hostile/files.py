"""Files that are DICOM and something else, or hardly DICOM, for whoever reads a folder."""

import struct
import zlib
from collections.abc import Iterator

from node.dicom.reading.limits import check
from tests.builders import mr_image, part10
from tests.hostile.corpus import element

DEFLATED = b"1.2.840.10008.1.2.1.99"


def files() -> Iterator[tuple[str, bytes]]:
    """Yield a name and the contents of each file."""
    good = part10(mr_image())
    for name, front in {
        "windows": b"MZ\x90\x00",
        "linux": b"\x7fELF\x02\x01\x01",
        "zip": b"PK\x03\x04",
        "html": b"<html><script>alert(1)</script>",
        "shell": b"#!/bin/sh\nrm -rf /\n",
    }.items():
        yield f"polyglot-{name}", front.ljust(128, b"\0") + good[128:]
    yield "deflate-bomb", _deflated(zlib.compress(bytes(300 << 20), 9)[2:-4])
    yield "zip-bomb", b"PK\x03\x04" + zlib.compress(bytes(100 << 20), 9)
    yield "gzip-bomb", b"\x1f\x8b\x08" + zlib.compress(bytes(100 << 20), 9)
    yield "no-meta", good[:132] + good[check(good).dataset_offset :]
    yield "meta-twice", good[:132] + 2 * good[132 : check(good).dataset_offset] + good[-9000:]
    yield "meta-length-lie", good[:140] + struct.pack("<I", 0xFFFFFF00) + good[144:]
    yield "meta-of-no-vr", good[:132] + element(2, 0x02, b"??", b"1.2.3\0") + good[144:]
    yield (
        "study-uid-path",
        good.replace(
            str(mr_image().StudyInstanceUID).encode(),
            b"../../../../tmp/x".ljust(len(str(mr_image().StudyInstanceUID)), b"/"),
        ),
    )
    yield "empty", b""
    yield "only-a-preamble", bytes(128) + b"DICM"
    yield "nothing-but-zeros", bytes(100_000)
    yield "good", good


def _deflated(compressed: bytes) -> bytes:
    meta = element(2, 0x10, b"UI", DEFLATED)
    length = element(2, 0, b"UL", struct.pack("<I", len(meta)))
    return bytes(128) + b"DICM" + length + meta + compressed
