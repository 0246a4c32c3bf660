"""What every result object has in common: patient and study, equipment, times, qualification.

Patient and study come from one source header. Text keeps its characters (re-encoded as UTF-8);
a date, number or code that its value representation does not allow is left empty.
"""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from pydicom.dataset import Dataset

from node.config import Report
from node.results.attributes import copied, number
from node.results.codes import code
from node.results.identity import MANUFACTURER, MODEL_NAME, Identity, model_device_uid
from node.spine.findings import StudyFindings
from node.spine.volume import Volume

#: Type 2 attributes of the Patient and General Study modules: always there, empty if unknown.
_REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_OPTIONAL = (
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "OtherPatientIDsSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyInstanceUID",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    "TimezoneOffsetFromUTC",
)
_SCANNER = (
    "Manufacturer",
    "InstitutionName",
    "StationName",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
)
_SEXES = ("M", "F", "O")

#: This node's series of a study, in the order of their numbers, and what they are called.
_SERIES = {
    "report": "AI lumbar stenosis - NOT VERIFIED",
    "capture": "AI lumbar key images - NOT VERIFIED",
    "overlay": "AI lumbar overlay - NOT VERIFIED",
    "key objects": "AI lumbar key objects - NOT VERIFIED",
    "document": "AI lumbar report - NOT VERIFIED",
}

_OFFSET = re.compile(r"[+-][0-9]{2}[0-5][0-9]", re.ASCII)  # PS3.3 C.12.1: from -1200 to +1400


@dataclass(frozen=True)
class Heading:
    """The common part of all objects of one run.

    Attributes
    ----------
    study : Dataset
        Patient and study attributes, clean.
    sources : tuple of Dataset
        Headers of the instances that entered the run, by SOP Instance UID.
    findings : StudyFindings
    identity : Identity
    settings : node.config.Report
    created : datetime
        In the source's time zone when the source states one.
    first_number : int
        Of the node's series.
    """

    study: Dataset
    sources: tuple[Dataset, ...]
    findings: StudyFindings
    identity: Identity
    settings: Report
    created: datetime
    first_number: int

    def place(self, kind: str, index: int = 1) -> dict[str, Any]:
        """Return the arguments by which highdicom makes the ``index``-th object of a kind."""
        return {
            "series_instance_uid": self.identity.series_uid(kind),
            "series_number": self._series_number(kind),
            "sop_instance_uid": self.identity.object_uid(kind, index),
            "instance_number": index,
            "manufacturer": MANUFACTURER,
        }

    def stamp(self, target: Dataset, kind: str) -> None:
        """Write the common attributes into an object, over what its maker put there."""
        for element in self.study:
            target[element.tag] = deepcopy(element)
        target.SpecificCharacterSet = "ISO_IR 192"
        target.SeriesInstanceUID = self.identity.series_uid(kind)
        target.SeriesNumber = self._series_number(kind)
        target.SeriesDescription = _SERIES[kind]
        target.Manufacturer = MANUFACTURER
        target.ManufacturerModelName = MODEL_NAME
        target.DeviceSerialNumber = self.identity.serial_number()
        target.SoftwareVersions = self.findings.node_version
        if self.settings.institution:
            target.InstitutionName = self.settings.institution
        # PS3.3 C.8.13.2.1.1: PRODUCT is for approved hardware and software only.
        target.ContentQualification = "RESEARCH"
        target.ContributingEquipmentSequence = self._contributions()
        for keyword in ("InstanceCreation", "Series", "Content", "PresentationCreation"):
            if f"{keyword}Date" in target or keyword == "Series":
                setattr(target, f"{keyword}Date", self.created.strftime("%Y%m%d"))
                setattr(target, f"{keyword}Time", self.created.strftime("%H%M%S"))

    def _series_number(self, kind: str) -> int:
        return self.first_number + list(_SERIES).index(kind)

    def source(self, sop_instance_uid: str) -> Dataset:
        """Return the header of one source instance; KeyError when it did not enter the run."""
        for source in self.sources:
            if source.SOPInstanceUID == sop_instance_uid:
                return source
        raise KeyError(sop_instance_uid)

    def reference(self, source: Dataset) -> Dataset:
        """Return what highdicom needs of a source image: its UIDs and matrix, and no identity.

        highdicom writes a name it finds odd into its log; it gets none. `stamp` puts the patient
        into the finished object.
        """
        part = Dataset()
        for keyword in _REQUIRED:
            setattr(part, keyword, "")
        part.StudyInstanceUID = self.findings.study_uid
        part.SeriesInstanceUID = str(source.SeriesInstanceUID)
        part.SOPClassUID = str(source.SOPClassUID)
        part.SOPInstanceUID = str(source.SOPInstanceUID)
        part.Rows = number(source, "Rows", 1)
        part.Columns = number(source, "Columns", 1)
        part.SamplesPerPixel = 1
        if "NumberOfFrames" in source:
            part.NumberOfFrames = number(source, "NumberOfFrames", 1)
            part.SharedFunctionalGroupsSequence = [Dataset()]
            part.PerFrameFunctionalGroupsSequence = []
        return part

    def _contributions(self) -> list[Dataset]:
        """Return the scanner, then one item for each model (PS3.3 C.12.1.1.5)."""
        scanner = copied(self.sources[0], _SCANNER)
        scanner.Manufacturer = scanner.get("Manufacturer") or "unknown"
        scanner.PurposeOfReferenceCodeSequence = [code("Acquisition Equipment")]
        items = [scanner]
        for model in self.findings.models:
            item = Dataset()
            item.PurposeOfReferenceCodeSequence = [code("Processing Equipment")]
            item.Manufacturer = MANUFACTURER
            item.ManufacturerModelName = model.name
            item.SoftwareVersions = model.version
            item.DeviceUID = model_device_uid(model)
            item.ContributionDateTime = self.created.strftime("%Y%m%d%H%M%S")
            item.ContributionDescription = f"model file sha256 {model.sha256}"
            items.append(item)
        return items


def heading(
    findings: StudyFindings,
    headers: Mapping[str, Dataset],
    volumes: Iterable[Volume],
    settings: Report,
    created: datetime,
) -> Heading:
    """Gather what all objects of one run share.

    Raises
    ------
    ValueError
        When there is no header at all: nobody could tell whose result it is.
    """
    used = {s.sop_instance_uid for volume in volumes for s in volume.slices}
    sources = tuple(headers[uid] for uid in sorted(used or headers))
    if not sources:
        raise ValueError("results need the header of at least one instance of the study")
    study = copied(sources[0], (*_REQUIRED, *_OPTIONAL))
    for keyword in _REQUIRED:
        if keyword not in study:
            setattr(study, keyword, "")
    if study.PatientSex not in _SEXES:
        study.PatientSex = ""
    identity = Identity(
        study_uid=findings.study_uid,
        instances=tuple(sorted(used or headers)),
        models=findings.models,
        node_version=findings.node_version,
        settings=settings.model_dump_json(exclude={"pdf", "key_objects", "fhir"}),
        refusal="" if findings.models else "; ".join(findings.reasons),
    )
    return Heading(
        study=study,
        sources=sources,
        findings=findings,
        identity=identity,
        settings=settings,
        created=_local(created, study),
        first_number=_free_number(settings.series_number, headers),
    )


def _free_number(wanted: int, headers: Mapping[str, Dataset]) -> int:
    """Return the first of this node's series numbers: 100 higher while the study uses one."""
    taken = {number(header, "SeriesNumber") for header in headers.values()}
    while taken & set(range(wanted, wanted + len(_SERIES))):
        wanted += 100
    return wanted


def _local(created: datetime, study: Dataset) -> datetime:
    """Return the time in the zone that the source's own dates and times are in, if it says so.

    TimezoneOffsetFromUTC covers every date and time of an object, copied ones included
    (PS3.3 C.12.1.1.8), so it is only there when the source states it.
    """
    stated = str(study.get("TimezoneOffsetFromUTC", ""))
    if not _OFFSET.fullmatch(stated) or not -1200 <= int(stated) <= 1400:
        study.pop("TimezoneOffsetFromUTC", None)
        return created
    offset = timedelta(hours=int(stated[1:3]), minutes=int(stated[3:5]))
    return created.astimezone(timezone(-offset if stated[0] == "-" else offset))
