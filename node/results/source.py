"""How a source image is meant to look: its rescale, window and polarity, classic or enhanced."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from node.results.attributes import items, numbers, text


@dataclass(frozen=True)
class Appearance:
    """The grayscale pipeline of one source frame.

    Attributes
    ----------
    rescale : (slope, intercept)
    window : (centre, width) or None
        The first of the image's windows, in modality values.
    function : str
        VOI LUT Function.
    is_inverted : bool
        MONOCHROME1.
    """

    rescale: tuple[float, float]
    window: tuple[float, float] | None
    function: str
    is_inverted: bool


def appearance(source: Dataset, frame: int | None) -> Appearance:
    """Read a frame's look from its header; what is absent or broken is identity or None."""
    slope, intercept, window, function = 1.0, 0.0, None, "LINEAR"
    for group in _groups(source, frame):
        slope = _first(group, "RescaleSlope") or slope
        intercept = _first(group, "RescaleIntercept") or intercept
        centre, width = _first(group, "WindowCenter"), _first(group, "WindowWidth")
        if centre is not None and width is not None and width >= 1:
            window = (centre, width)
            stated = text(group, "VOILUTFunction")
            function = stated if stated in ("LINEAR", "LINEAR_EXACT", "SIGMOID") else function
    polarity = text(source, "PhotometricInterpretation")
    return Appearance((slope, intercept), window, function, polarity == "MONOCHROME1")


def _groups(source: Dataset, frame: int | None) -> Iterator[Dataset]:
    """Yield the data sets that may hold a frame's values, the most specific last."""
    yield source
    if frame is None:
        return
    shared = items(source, "SharedFunctionalGroupsSequence")
    single = items(source, "PerFrameFunctionalGroupsSequence")[frame - 1 : frame]
    for item in (*shared, *single):
        for keyword in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            yield from items(item, keyword)


def _first(group: Dataset, keyword: str) -> float | None:
    found = numbers(group, keyword)
    return found[0] if found else None
