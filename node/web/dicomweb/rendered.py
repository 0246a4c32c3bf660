"""A frame as a picture for people (PS3.18 section 8.7.4): windowed as its header says."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from node.dicom.reading.decoder import Decoder
from node.dicom.reading.stored_frames import Frames
from node.results.source import Appearance, appearance

#: Without a window: black and white at these percentiles of the frame.
_PERCENTILES = (1.0, 99.5)


def picture(pixels: Frames, number: int, kind: str) -> bytes:
    """Return frame ``number`` (from 1) as a picture of media type ``kind``.

    Raises
    ------
    InvalidInstance
        When its pixels cannot be decoded.
    """
    with Decoder() as decoder:
        (stored,) = pixels.pixels([number], decoder)
    if stored.ndim == 2:
        stored = grayscale(stored, appearance(pixels.header, number))
    buffer = BytesIO()
    image = Image.fromarray(np.ascontiguousarray(stored).astype(np.uint8))
    if kind == "image/png":
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def grayscale(stored: NDArray[Any], look: Appearance) -> NDArray[np.uint8]:
    """Apply rescale, window and polarity (PS3.3 C.11.2.1.2.1): (rows, columns), 0 to 255."""
    slope, intercept = look.rescale
    values = stored.astype(np.float64) * slope + intercept
    if look.window is None:
        low, high = np.percentile(values, _PERCENTILES)
        shown = (values - low) / max(high - low, 1e-9)
    else:
        centre, width = look.window
        if look.function == "SIGMOID":
            shown = 1 / (1 + np.exp(-4 * (values - centre) / width))
        elif look.function == "LINEAR_EXACT":
            shown = (values - centre) / width + 0.5
        else:
            shown = (values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5
    shown = np.clip(shown, 0.0, 1.0)
    if look.is_inverted:
        shown = 1.0 - shown
    return np.asarray(np.round(shown * 255), dtype=np.uint8)
