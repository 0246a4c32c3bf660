"""Headers in the DICOM JSON model (PS3.18 annex F), whatever rubbish they hold."""

import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from node.dicom.reading.attributes import UNREADABLE
from node.errors import InvalidInstance

Json = dict[str, Any]

#: Bytes above which a value is told by its address.
INLINE = 1024
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_CHARACTER_SET = "00080005"
_SYNTAX = "00083002"  # AvailableTransferSyntaxUID: annex F leaves group 0002 out
PIXELS = "7FE00010"


def read(path: Path, keywords: Collection[str] = ()) -> Json:
    """Return some attributes of a file, at the top level and without pixels.

    Parameters
    ----------
    path : Path
    keywords : collection of str
        DICOM keywords; none at all means every attribute.

    Raises
    ------
    InvalidInstance
        When the file is damaged or not there.
    """
    return to_json(_read(path, keywords), lambda _: "")


def metadata(path: Path, address: Callable[[str], str]) -> Json:
    """Return everything about an instance but its bulk data (PS3.18 section 10.4.1.1.2).

    Parameters
    ----------
    path : Path
    address : callable
        A tag, perhaps within sequences (``00540016/1/00181072``), to the address of its value.

    Raises
    ------
    InvalidInstance
        When the file is damaged or not there.
    """
    header = _read(path)
    told = to_json(header, address)
    told[_SYNTAX] = {"vr": "UI", "Value": [str(header.file_meta.TransferSyntaxUID)]}
    if "Rows" in header and "BitsAllocated" in header:
        vr = "OB" if header.get("BitsAllocated") == 8 else "OW"
        told[PIXELS] = {"vr": vr, "BulkDataURI": address(PIXELS)}
    return dict(sorted(told.items()))


def bulk(path: Path, place: str) -> bytes | None:
    """Return the value that ``metadata`` gave an address, or None when there is none.

    Parameters
    ----------
    path : Path
    place : str
        As `metadata` told ``address``.
    """
    steps = place.split("/")
    part = _read(path)
    try:
        for tag, number in zip(steps[:-1:2], steps[1::2], strict=True):
            part = part[int(tag, 16)].value[int(number) - 1]
        element = part[int(steps[-1], 16)]
        is_binary = element.VR in _BINARY and isinstance(element.value, bytes)
        return element.value if is_binary else None
    except UNREADABLE:
        return None


def to_json(part: Dataset, address: Callable[[str], str], within: str = "") -> Json:
    """Return a data set as JSON; an attribute that cannot be read is left out.

    Large binary values are told by ``address``, or left out when that is empty.
    """
    told: Json = {}
    for tag in sorted(part.keys()):
        if tag.element == 0:  # group length: retired, and wrong once anything is left out
            continue
        key = f"{tag:08X}"
        try:
            value = _element(part[tag], address, within + key)
        except UNREADABLE:
            continue
        if value is not None:
            told[key] = value
    if "Value" in told.get(_CHARACTER_SET, {}):
        told[_CHARACTER_SET]["Value"] = ["ISO_IR 192"]  # JSON is UTF-8, annex F.2.1
    return told


def _element(element: DataElement, address: Callable[[str], str], place: str) -> Json | None:
    if element.VR == "SQ":
        items = [
            to_json(item, address, f"{place}/{number}/")
            for number, item in enumerate(element.value, start=1)
        ]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    if element.VR in _BINARY and len(element.value or b"") > INLINE:
        where = address(place)
        return {"vr": str(element.VR), "BulkDataURI": where} if where else None
    told: Json = element.to_json_dict(None, 0)
    if "Value" in told:
        told["Value"] = [_finite(value) for value in told["Value"]]
    return told


def _finite(value: Any) -> Any:
    """Return a number that JSON has no form for as text (annex F.2.3)."""
    is_odd = isinstance(value, float) and not math.isfinite(value)
    return str(value) if is_odd else value


def _read(path: Path, keywords: Collection[str] = ()) -> Dataset:
    wanted = ["SpecificCharacterSet", *keywords] if keywords else None
    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=wanted)
    except (InvalidDicomError, *UNREADABLE) as error:
        raise InvalidInstance(f"{path.name}: the header is damaged or not there") from error
