"""What a QIDO-RS search asks for, and whether an object matches.

Source: PS3.18 sections 8.3.4 (query parameters) and 10.6 (search), PS3.4 C.2.2.2 (matching).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import translate
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from node.errors import Rejected

Json = dict[str, Any]


class BadQuery(Rejected):
    """A search that makes no sense, or that this node cannot answer truly."""


class Level(IntEnum):
    """What is searched for."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


#: What is told of each level, and may be matched (PS3.18 tables 10.6.3-3 to 10.6.3-5), by keyword.
#: Those of the last tuple are counted, not read.
ATTRIBUTES: Mapping[Level, tuple[str, ...]] = {
    Level.STUDY: (
        "SpecificCharacterSet", "StudyDate", "StudyTime", "AccessionNumber",
        "ReferringPhysicianName", "TimezoneOffsetFromUTC", "StudyDescription", "PatientName",
        "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
        "StudyID",
    ),
    Level.SERIES: (
        "Modality", "SeriesDescription", "SeriesDate", "SeriesTime", "BodyPartExamined",
        "Manufacturer", "ProtocolName", "SeriesInstanceUID", "SeriesNumber", "Laterality",
        "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime",
    ),
    Level.INSTANCE: (
        "SOPClassUID", "SOPInstanceUID", "InstanceNumber", "ImageType", "ContentDate",
        "ContentTime", "Rows", "Columns", "BitsAllocated", "NumberOfFrames",
    ),
}  # fmt: skip
COUNTED: Mapping[Level, tuple[str, ...]] = {
    Level.STUDY: (
        "ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
        "InstanceAvailability", "RetrieveURL",
    ),
    Level.SERIES: ("NumberOfSeriesRelatedInstances",),
    Level.INSTANCE: (),
}  # fmt: skip

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_DATES = re.compile(r"(\d{8})?(-?)(\d{8})?")
_TIMES = re.compile(r"([\d.:]{2,16})?(-?)([\d.:]{2,16})?")
_NOT_SUPPORTED = "The {} parameter is not supported."


@dataclass(frozen=True)
class Query:
    """A search that was understood.

    Attributes
    ----------
    level : Level
    keys : dict of tag (8 hexadecimal digits) to the text it has to match
    include : frozenset of str
        Keywords that are asked for beside those which are always told; ``all`` is every one.
    limit, offset : int
        The page; ``limit`` None is as many as this node gives.
    warnings : tuple of str
        What was left aside.
    """

    level: Level
    keys: Mapping[str, str]
    include: frozenset[str] = frozenset()
    limit: int | None = None
    offset: int = 0
    warnings: tuple[str, ...] = ()

    def wanted(self, level: Level, computed: Iterable[str] = ()) -> dict[str, str]:
        """Return the keys of one level: those read from headers, or the ``computed`` ones."""
        tags = {tag_of(k) for k in (computed or ATTRIBUTES[level])}
        return {tag: text for tag, text in self.keys.items() if tag in tags}


def tag_of(keyword: str) -> str:
    """Return the tag of a keyword as 8 hexadecimal digits."""
    return f"{tag_for_keyword(keyword):08X}"


def parse(level: Level, parameters: Iterable[tuple[str, str]]) -> Query:
    """Understand the parameters of a search.

    Raises
    ------
    BadQuery
        Says which parameter is wrong. A key that this node does not match is refused, since
        leaving it aside would return what was not asked for.
    """
    keys: dict[str, str] = {}
    include: set[str] = set()
    page: dict[str, int] = {}
    warnings: list[str] = []
    for name, text in parameters:
        if name in {"limit", "offset"}:
            page[name] = _count(name, text)
        elif name in {"fuzzymatching", "emptyvaluematching", "multiplevaluematching"}:
            if text.lower() not in {"true", "false"}:
                raise BadQuery(f"{name} is true or false")
            if text.lower() == "true":
                warnings.append(_NOT_SUPPORTED.format(name))
        elif name == "includefield":
            include.update(_field(one) for one in text.split(",") if one)
        elif name != "accept":
            _add_key(keys, level, name, text)
    return Query(
        level,
        keys,
        frozenset(include),
        page.get("limit"),
        page.get("offset", 0),
        tuple(dict.fromkeys(warnings)),
    )


def matches(attribute: Json | None, wanted: str, vr: str) -> bool:
    """Tell whether an attribute in DICOM JSON matches a key (PS3.4 C.2.2.2).

    Parameters
    ----------
    attribute : dict or None
        As annex F has it; None when the object does not have it.
    wanted : str
        An empty text matches anything.
    vr : str
        Of the attribute, which says how it is matched.
    """
    if not wanted:
        return True
    values = [_plain(v) for v in (attribute or {}).get("Value", ()) if v is not None]
    if vr == "UI" or (vr == "CS" and "," in wanted):
        return bool(set(values) & set(re.split(r"[,\\]", wanted)))
    if vr == "DA":
        return any(_in_range(v.replace(".", ""), wanted, _DATES) for v in values)
    if vr == "TM":
        return any(_in_range(_time(v), _time(wanted), _TIMES) for v in values)
    if vr in {"IS", "DS", "US", "UL"}:
        return any(_same_number(v, wanted) for v in values)
    flags = re.IGNORECASE if vr == "PN" else 0
    pattern = re.compile(translate(_escaped(wanted.strip())), flags)
    return any(pattern.fullmatch(v.strip()) for v in values)


def vr_of(tag: str) -> str:
    """Return the value representation of a tag."""
    return str(dictionary_VR(int(tag, 16)))


def _add_key(keys: dict[str, str], level: Level, name: str, text: str) -> None:
    keyword = _field(name)
    allowed = {k for at in Level if at <= level for k in (*ATTRIBUTES[at], *COUNTED[at])}
    if keyword not in allowed - {"RetrieveURL"}:
        raise BadQuery(f"this node does not match on {name[:64]!r} in a search for {_NAMES[level]}")
    tag = tag_of(keyword)
    if tag in keys:
        raise BadQuery(f"{keyword} is given twice")
    if vr_of(tag) == "DA" and not _DATES.fullmatch(text):
        raise BadQuery(f"{keyword} is YYYYMMDD or a range of such dates")
    keys[tag] = text


_NAMES = {Level.STUDY: "studies", Level.SERIES: "series", Level.INSTANCE: "instances"}


def _field(name: str) -> str:
    """Return the keyword of an attribute that is named by keyword or by tag."""
    if name == "all":
        return name
    keyword = keyword_for_tag(int(name, 16)) if _TAG.fullmatch(name) else name
    if not keyword or tag_for_keyword(keyword) is None:
        raise BadQuery(
            f"{name[:64]!r} is no attribute of the standard and no parameter of a search"
        )
    return keyword


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadQuery(f"{name} is a whole number from 0")
    return int(text)


def _plain(value: Any) -> str:
    """Return a JSON value as text; of a person's name the alphabetic group."""
    return str(value.get("Alphabetic", "")) if isinstance(value, dict) else str(value)


def _escaped(wanted: str) -> str:
    # DICOM knows * and ? only, the shell knows sets as well.
    return wanted.replace("[", "[[]")


def _in_range(value: str, wanted: str, form: re.Pattern[str]) -> bool:
    found = form.fullmatch(wanted)
    if found is None:
        return False
    first, dash, last = found.groups()
    if not dash:
        return value == first
    return (first or "") <= value and (last is None or value <= last)


def _time(text: str) -> str:
    """Return a time, or a range of times, with all its digits, so that texts compare."""
    ends = [t.replace(":", "").partition(".") for t in text.split("-")]
    return "-".join(f"{whole:0<6}.{part:0<6}" if whole else "" for whole, _, part in ends)


def _same_number(value: str, wanted: str) -> bool:
    try:
        return float(value) == float(wanted)
    except ValueError:
        return False
