"""The studies, series and instances of this node as a search tells them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, Self
from urllib.parse import quote

from fastapi import Request

from node.dicom.dicomweb import json_model
from node.errors import InvalidInstance
from node.web.dicomweb.query import ATTRIBUTES, COUNTED, Level, Query, matches, tag_of, vr_of
from node.web.parts import Held, WebParts

Json = dict[str, Any]

#: Where the service is mounted.
PATH = "/dicom-web"
#: Headers whose searched attributes are kept in memory: about 4 KiB each.
REMEMBERED = 8192
#: Results of one search; a client pages for more.
MOST = 1000
#: Asked of studies only: every other attribute belongs to one series or image.
STUDY_MORE = frozenset({
    "PatientAge", "PatientSize", "PatientWeight", "PatientComments", "OtherPatientIDs",
    "InstitutionName", "PhysiciansOfRecord", "ProcedureCodeSequence", "AdmissionID",
    "IssuerOfAccessionNumberSequence", "EthnicGroup", "PatientBirthTime",
})  # fmt: skip


class Placed(Protocol):
    """What has a place in a study."""

    @property
    def study_uid(self) -> str: ...  # noqa: D102
    @property
    def series_uid(self) -> str: ...  # noqa: D102
    @property
    def sop_instance_uid(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Links:
    """Addresses of resources.

    Attributes
    ----------
    base : str
        Of the service, without a slash at its end.
    """

    base: str

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return the addresses as the client that asks sees this node."""
        base, (host, port) = request.base_url, request.scope.get("server") or ("", None)
        if base.port is None and base.hostname == host and port not in {80, 443}:
            # dicomweb-client leaves the port out of its Host header.
            base = base.replace(port=port)
        return cls(str(base).rstrip("/") + PATH)

    def study(self, study_uid: str) -> str:  # noqa: D102
        return f"{self.base}/studies/{quote(study_uid, safe='')}"

    def series(self, held: Placed) -> str:  # noqa: D102
        return f"{self.study(held.study_uid)}/series/{held.series_uid}"

    def instance(self, held: Placed) -> str:  # noqa: D102
        return f"{self.series(held)}/instances/{held.sop_instance_uid}"

    def bulk(self, held: Placed, place: str) -> str:  # noqa: D102
        return f"{self.instance(held)}/bulkdata/{place}"


def by_series(objects: Sequence[Held]) -> dict[str, list[Held]]:
    """Group the objects of a study."""
    grouped: dict[str, list[Held]] = {}
    for held in objects:
        grouped.setdefault(held.series_uid, []).append(held)
    return grouped


@dataclass(frozen=True)
class Search:
    """One search over what the node holds.

    Attributes
    ----------
    parts : WebParts
    query : Query
    links : Links
    study_uid, series_uid : str or None
        What the address names.
    """

    parts: WebParts
    query: Query
    links: Links
    study_uid: str | None = None
    series_uid: str | None = None

    def run(self) -> tuple[list[Json], bool]:
        """Return one page of matches, and whether there are more than this node gives at once."""
        most = MOST if self.query.limit is None else min(self.query.limit, MOST)
        first = self.query.offset
        found: list[Json] = []
        for number, match in enumerate(self._matches()):
            if number >= first + most:
                return found, self.query.limit is None or self.query.limit > MOST
            if number >= first:
                found.append(dict(sorted(match.items())))
        return found, False

    def _matches(self) -> Iterator[Json]:
        for uid in self._study_uids():
            objects = self.parts.held(uid)
            study = self._study(objects) if objects else None
            if study is None:
                continue
            if self.query.level is Level.STUDY:
                yield study
                continue
            above = {} if self.study_uid else study
            yield from self._in_study(objects, above | _only(study, "StudyInstanceUID"))

    def _study_uids(self) -> Sequence[str]:
        if self.study_uid:
            return [self.study_uid]
        named = self.query.keys.get(tag_of("StudyInstanceUID"))
        if named:
            return list(dict.fromkeys(named.replace("\\", ",").split(",")))
        return self.parts.held_studies()

    def _study(self, objects: Sequence[Held]) -> Json | None:
        """Describe a study, or return None when it does not match; what costs more comes last."""
        told = _summary(objects[0], Level.STUDY)
        told |= _said("StudyInstanceUID", objects[0].study_uid)
        if not _match(told, self.query.wanted(Level.STUDY)):
            return None
        groups = by_series(objects)
        modality = tag_of("Modality")
        series = [_summary(members[0], Level.SERIES) for members in groups.values()]
        modalities = {value for one in series for value in one[modality].get("Value", ())}
        told |= {
            **_said("ModalitiesInStudy", *sorted(modalities)),
            **_said("NumberOfStudyRelatedSeries", len(groups)),
            **_said("NumberOfStudyRelatedInstances", len(objects)),
            **_said("InstanceAvailability", "ONLINE"),
            **_said("RetrieveURL", self.links.study(objects[0].study_uid)),
        }
        counted = self.query.wanted(Level.STUDY, COUNTED[Level.STUDY])
        if not _match(told, counted):
            return None
        return self._more(objects[0], Level.STUDY) | told

    def _in_study(self, objects: Sequence[Held], above: Json) -> Iterator[Json]:
        for uid, members in by_series(objects).items():
            if self.series_uid not in {None, uid}:
                continue
            told = _summary(members[0], Level.SERIES)
            told |= _said("SeriesInstanceUID", uid)
            told |= _said("NumberOfSeriesRelatedInstances", len(members))
            counted = self.query.wanted(Level.SERIES, COUNTED[Level.SERIES])
            if not _match(told, self.query.wanted(Level.SERIES) | counted):
                continue
            if self.query.level is Level.SERIES:
                address = _said("RetrieveURL", self.links.series(members[0]))
                yield self._more(members[0], Level.SERIES) | above | told | address
                continue
            parent = _only(told, "SeriesInstanceUID") if self.series_uid else told
            for held in members:
                yield from self._instance(held, above | parent)

    def _instance(self, held: Held, above: Json) -> Iterator[Json]:
        told = _summary(held, Level.INSTANCE)
        told |= _said("SOPInstanceUID", held.sop_instance_uid)
        told |= _said("SOPClassUID", held.sop_class_uid)
        if _match(told, self.query.wanted(Level.INSTANCE)):
            address = _said("RetrieveURL", self.links.instance(held))
            syntax = _said("AvailableTransferSyntaxUID", held.transfer_syntax_uid)
            available = _said("InstanceAvailability", "ONLINE")
            yield (self._more(held, Level.INSTANCE) | above | told | address | syntax | available)

    def _more(self, held: Held, level: Level) -> Json:
        """Read what is asked for beside the usual; only a match is worth it."""
        include = self.query.include
        if level is Level.STUDY:
            include = STUDY_MORE if "all" in include else include & STUDY_MORE
        if not include:
            return {}
        keywords = () if "all" in include else sorted(include)
        try:
            return json_model.read(held.path, keywords)
        except InvalidInstance:
            return {}


@lru_cache(maxsize=REMEMBERED)
def _header(held: Held) -> Mapping[str, Any]:
    """Return the searched attributes of an object, which never changes."""
    keywords = [k for level in Level for k in ATTRIBUTES[level]]
    try:
        return json_model.read(held.path, keywords)
    except InvalidInstance:
        return {}


def _summary(held: Held, level: Level) -> Json:
    tags = {tag_of(k): vr_of(tag_of(k)) for k in ATTRIBUTES[level]}
    header = _header(held)
    # PS3.18 10.6.3.3: an attribute without a value is told as one.
    return {tag: header.get(tag, {"vr": vr}) for tag, vr in tags.items() if tag != "00080005"} | (
        _only(header, "SpecificCharacterSet")
    )


def _match(told: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    return all(matches(told.get(tag), text, vr_of(tag)) for tag, text in wanted.items())


def _only(told: Mapping[str, Any], keyword: str) -> Json:
    tag = tag_of(keyword)
    return {tag: told[tag]} if tag in told else {}


def _said(keyword: str, *values: str | int) -> Json:
    tag = tag_of(keyword)
    return {tag: {"vr": vr_of(tag), "Value": list(values)}}
