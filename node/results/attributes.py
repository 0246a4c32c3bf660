"""Reading source headers that may be broken: what is illegal counts as absent."""

import struct
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID
from pydicom.valuerep import PersonName, validate_value

# What pydicom raises when it converts a value it cannot read.
_UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    EOFError,
    OSError,
    struct.error,
    BytesLengthException,
)


def copied(source: Dataset, keywords: Sequence[str]) -> Dataset:
    """Return the attributes of a source header that are there and legal, text as unicode."""
    part = Dataset()
    for keyword in keywords:
        try:
            value = source.get(keyword)
            if isinstance(value, Items):
                value = _decoded(value)
        except _UNREADABLE:
            continue
        if value is None or value == "":
            continue
        vr = source[keyword].VR
        if vr == "PN":
            value = PersonName(str(value))
        elif vr not in ("SQ", "LO", "SH", "LT", "ST", "UT") and not _is_legal(vr, value):
            continue
        setattr(part, keyword, value)
    return part


def _decoded(items: Sequence[Dataset]) -> list[Dataset]:
    """Return a copy of a sequence whose text is unicode: unread text would keep its old bytes."""
    for item in items:
        for _ in item.iterall():
            pass
    return deepcopy(list(items))


def number(source: Dataset, keyword: str, default: int = 0) -> int:
    """Return a whole number of a header, or the default where it is absent or broken."""
    try:
        return int(source.get(keyword) or default)
    except _UNREADABLE:
        return default


def numbers(source: Dataset, keyword: str) -> tuple[float, ...]:
    """Return a header's finite numbers, or none where they are absent or broken."""
    value = copied(source, (keyword,)).get(keyword)
    several = value if isinstance(value, MultiValue) else [] if value is None else [value]
    return tuple(float(v) for v in several if np.isfinite(float(v)))


def text(source: Dataset, keyword: str) -> str:
    """Return a header's text, or nothing where it is absent or broken."""
    return str(copied(source, (keyword,)).get(keyword, ""))


def items(source: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a header's sequence, or none where it is absent or broken."""
    try:
        value = source.get(keyword)
    except _UNREADABLE:
        return []
    return list(value) if isinstance(value, Items) else []


def is_standard(source: Dataset) -> bool:
    """Tell whether an instance is of a SOP class of the standard."""
    return not UID(str(source.SOPClassUID)).is_private


def _is_legal(vr: str, value: Any) -> bool:
    single = value if isinstance(value, (MultiValue, list)) else [value]
    try:
        for item in single:
            validate_value(vr, str(item), pydicom_config.RAISE)
    except ValueError:
        return False
    return True
