"""Header values as plain numbers and words, whatever rubbish the header holds.

A value that is absent, empty, not parseable, not finite or of the wrong kind is None, an empty
text or an empty tuple: the rules decide what to do without it.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items

#: What pydicom raises when it converts a value it cannot read.
UNREADABLE = (
    ValueError,
    TypeError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    LookupError,
    RecursionError,
    EOFError,
    OSError,
    struct.error,
    BytesLengthException,
)


class Attributes:
    """Data sets that are searched one after the other, the most specific first.

    Parameters
    ----------
    *datasets : Dataset
    """

    def __init__(self, *datasets: Dataset) -> None:
        self._datasets = datasets

    def raw(self, keyword: str) -> Any:
        """Return the first value that is there and not empty, else None."""
        for dataset in self._datasets:
            try:
                value = dataset.get(keyword)
            except UNREADABLE:
                continue
            if value is not None and value != "" and not (_is_many(value) and len(value) == 0):
                return value
        return None

    def text(self, keyword: str) -> str:
        """Return one value as text; several are joined by a space."""
        value = self.raw(keyword)
        if value is None:
            return ""
        return " ".join(str(v) for v in value) if _is_many(value) else str(value).strip()

    def words(self, keyword: str) -> tuple[str, ...]:
        """Return the values as upper-case words."""
        value = self.raw(keyword)
        values = value if _is_many(value) else () if value is None else (value,)
        return tuple(str(v).strip().upper() for v in values)

    def numbers(self, keyword: str) -> tuple[float, ...] | None:
        """Return the values as floats (NaN and infinity included), None when any is no number."""
        value = self.raw(keyword)
        if value is None:
            return None
        try:
            return tuple(float(v) for v in (value if _is_many(value) else (value,)))
        except UNREADABLE:
            return None

    def number(self, keyword: str) -> float | None:
        """Return the first value as a finite float."""
        values = self.numbers(keyword)
        return values[0] if values and math.isfinite(values[0]) else None

    def positive(self, keyword: str) -> float | None:
        """Return the first value as a finite float above zero (scanners write 0 for unused)."""
        value = self.number(keyword)
        return value if value is not None and value > 0 else None

    def integer(self, keyword: str) -> int | None:
        """Return the first value as an integer."""
        value = self.number(keyword)
        return int(value) if value is not None else None

    def items(self, keyword: str) -> Sequence[Dataset]:
        """Return the items of a sequence."""
        value = self.raw(keyword)
        return list(value) if isinstance(value, Items) else []

    def private(self, group: int, creator: str, element: int) -> float | None:
        """Return a number from a vendor's private block."""
        for dataset in self._datasets:
            try:
                return float(dataset.private_block(group, creator)[element].value)
            except UNREADABLE:
                continue
        return None


def frame_attributes(header: Dataset) -> Iterator[tuple[int | None, Attributes]]:
    """Yield every frame's number and attributes; once ``(None, ...)`` for a classic image.

    An enhanced object's functional groups (PS3.3 C.7.6.16) are searched per frame, then shared,
    then the top level. A Legacy Converted object keeps classic attributes in two more groups
    (PS3.3 C.7.6.16.2.25, 26) that are found in the same way.
    """
    top = Attributes(header)
    per_frame = top.items("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        yield None, top
        return
    shared = [m for item in top.items("SharedFunctionalGroupsSequence")[:1] for m in _macros(item)]
    for number, item in enumerate(per_frame, start=1):
        yield number, Attributes(*_macros(item), *shared, header)


def _macros(item: Dataset) -> Iterator[Dataset]:
    """Yield the macros of a functional group: the first item of each public sequence.

    Private groups are left out: Philips (2005,140F) holds a second position that is not the
    image's.
    """
    for tag in sorted(item.keys()):
        if tag.is_private:
            continue
        try:
            value = item[tag].value
        except UNREADABLE:
            continue
        if isinstance(value, Items) and len(value) > 0:
            yield value[0]


def _is_many(value: Any) -> bool:
    return isinstance(value, (MultiValue, list, tuple, Items))
