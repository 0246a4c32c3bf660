"""JPEG lossless streams that end the process of their decoder, found by damaging a good one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from node.dicom.reading.decoder import Decoder
from node.errors import InvalidInstance

SHAPE = (64, 64)


def killers(good: Path, decoder: Decoder, count: int) -> Iterator[Path]:
    """Yield damaged copies of a file over which the decoder's process died."""
    whole, random = good.read_bytes(), np.random.default_rng(4)
    start = whole.index(b"\xe0\x7f\x10\x00OB") + 28
    found = 0
    for number in range(400):
        raw = bytearray(whole)
        for at in random.integers(start, min(start + 200, len(raw) - 8), 4):
            raw[at] = random.integers(256)
        path = good.with_name(f"damaged{number}.dcm")
        path.write_bytes(bytes(raw))
        try:
            decoder.frames(path, [0], SHAPE)
        except InvalidInstance as refusal:
            if "died" in str(refusal):
                found += 1
                yield path
        if found == count:
            return
