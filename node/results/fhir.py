"""The report as FHIR resources: one Bundle with a DiagnosticReport and 25 Observations.

An export beside the DICOM objects, never in their place. Every value is read out of the report
itself, so the two cannot differ. Source: HL7 FHIR R4 and R5; the names follow HL7's guide "DICOM
SR to FHIR Resource Mapping".
"""

from typing import Any, Literal
from uuid import UUID

from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset

from node.results import codes, wording
from node.results.attributes import text
from node.results.codes import code
from node.results.heading import Heading
from node.results.identity import MANUFACTURER, MODEL_NAME, derived_uid
from node.results.reading import read_report
from node.spine.anatomy import GRADES
from node.spine.findings import Finding

Json = dict[str, Any]

_SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "LN": "http://loinc.org",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "UCUM": "http://unitsofmeasure.org",
    codes.PRIVATE_SCHEME: f"urn:oid:{codes.PRIVATE_SCHEME_UID}",
}
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
_DICOM_UID = "urn:dicom:uid"


def make_bundle(heading: Heading, report: Dataset, version: Literal["r4", "r5"]) -> Json:
    """Return the Bundle of one report.

    Statuses are those of what nobody has verified: ``partial`` and ``preliminary``. A finding
    that was not assessed is an Observation without a value, with the reason. R5 also has the
    point on the key image; R4 knows no resource for it.

    Parameters
    ----------
    heading : Heading
        Of the run that the report was made in.
    report : Dataset
    version : {"r4", "r5"}
    """
    device = _device(heading, version)
    findings = read_report(report)
    observations = [_observation(heading, report, f, version) for f in findings]
    resources = [_summary(heading, report, findings, version), device, *observations]
    uids = [
        str(report.SOPInstanceUID),
        heading.identity.device_uid(),
        *(_uid(heading, report, f) for f in findings),
    ]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": _instant(heading),
        "entry": [
            {"fullUrl": _url(uid), "resource": resource}
            for uid, resource in zip(uids, resources, strict=True)
        ],
    }


def _summary(
    heading: Heading, report: Dataset, findings: tuple[Finding, ...], version: str
) -> Json:
    procedure = next(
        item.ConceptCodeSequence[0]
        for item in report.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == code("Procedure reported").value
    )
    study = {
        "type": "ImagingStudy",
        "identifier": _identifier(heading.findings.study_uid),
    }
    return {
        "resourceType": "DiagnosticReport",
        "identifier": [_identifier(str(report.SOPInstanceUID))],
        **_order(report),
        "status": "partial",
        "category": [_hl7("v2-0074", "RAD", "Radiology")],
        "code": _concept(procedure),
        **_common(heading),
        "result": [{"reference": _url(_uid(heading, report, f))} for f in findings],
        "imagingStudy" if version == "r4" else "study": [study],
        "conclusion": wording.narrative(heading.findings, heading.settings.groups),
    }


def _observation(heading: Heading, report: Dataset, finding: Finding, version: str) -> Json:
    group, side = finding.condition.group, finding.condition.side
    where = [("Topographical modifier", codes.level_code(finding.level))]
    if side:
        where.append(("Laterality", codes.side_code(side)))
    observation: Json = {
        "resourceType": "Observation",
        "identifier": [_identifier(_uid(heading, report, finding))],
        "status": "preliminary",
        "category": [_hl7("observation-category", "imaging", "Imaging")],
        "code": _concept(codes.question_code(group)),
        **_common(heading),
        "bodySite": _concept(codes.site_code(group)),
        "device": {"reference": _url(heading.identity.device_uid())},
        "component": [
            {"code": _concept(code(name)), "valueCodeableConcept": _concept(value)}
            for name, value in where
        ],
    }
    if finding.grade is None:
        absent = _hl7("data-absent-reason", "not-performed", "Not Performed")
        observation["dataAbsentReason"] = {**absent, "text": finding.reason}
        return observation
    percents = wording.percents(finding)
    observation["valueCodeableConcept"] = _concept(codes.grade_code(finding.grade))
    observation["note"] = [{"text": wording.comment(finding)}]
    observation["component"] += [
        _percent(code("Certainty of Finding"), percents[finding.grade]),
        *(_percent(codes.probability_code(g), percents[g]) for g in GRADES),
    ]
    if version == "r5":
        observation["contained"] = [_selection(heading, finding)]
        observation["derivedFrom"] = [{"reference": "#point"}]
    return observation


def _selection(heading: Heading, finding: Finding) -> Json:
    """Return the point on its key image, counted as in the report: from the pixel's corner."""
    assert finding.sop_instance_uid is not None  # noqa: S101 - as every assessed finding has
    assert finding.column is not None  # noqa: S101
    assert finding.row is not None  # noqa: S101
    source = heading.source(finding.sop_instance_uid)
    point = [finding.column + 0.5, finding.row + 0.5]
    frame = {"subset": [str(finding.frame_number)]} if finding.frame_number else {}
    return {
        "resourceType": "ImagingSelection",
        "id": "point",
        "status": "available",
        "code": _concept(code("Image Region")),
        "studyUid": heading.findings.study_uid,
        "seriesUid": str(source.SeriesInstanceUID),
        "instance": [
            {
                "uid": finding.sop_instance_uid,
                "sopClass": {
                    "system": "urn:ietf:rfc:3986",
                    "code": f"urn:oid:{source.SOPClassUID}",
                },
                **frame,
                "imageRegion2D": [{"regionType": "point", "coordinate": point}],
            }
        ],
    }


def _device(heading: Heading, version: str) -> Json:
    name, value = ("deviceName", "name") if version == "r4" else ("name", "value")
    models = [f"{m.name} {m.version} sha256 {m.sha256}" for m in heading.findings.models]
    return {
        "resourceType": "Device",
        "identifier": [_identifier(heading.identity.device_uid())],
        "manufacturer": MANUFACTURER,
        "serialNumber": heading.identity.serial_number(),
        "modelNumber": MODEL_NAME,
        name: [{value: MODEL_NAME, "type": "user-friendly-name"}],
        "version": [{"value": heading.findings.node_version}, *({"value": m} for m in models)],
    }


def _common(heading: Heading) -> Json:
    """Return whose it is and of when; no more of the patient than the identifier."""
    patient = text(heading.study, "PatientID")
    subject = {"subject": {"type": "Patient", "identifier": {"value": patient}}} if patient else {}
    day = text(heading.study, "StudyDate")
    when = {"effectiveDateTime": f"{day[:4]}-{day[4:6]}-{day[6:]}"} if len(day) == 8 else {}
    return {**subject, **when, "issued": _instant(heading)}


def _order(report: Dataset) -> Json:
    accession = text(report, "AccessionNumber")
    if not accession:
        return {}
    kind = _hl7("v2-0203", "ACSN", "Accession ID")
    identifier = {"type": kind, "value": accession}
    return {"basedOn": [{"type": "ServiceRequest", "identifier": identifier}]}


def _percent(concept: CodedConcept, value: float) -> Json:
    unit = {"value": value, "unit": "%", "system": _SYSTEMS["UCUM"], "code": "%"}
    return {"code": _concept(concept), "valueQuantity": unit}


def _concept(concept: Dataset) -> Json:
    system, meaning = _SYSTEMS[concept.CodingSchemeDesignator], str(concept.CodeMeaning)
    coding = {"system": system, "code": str(concept.CodeValue), "display": meaning}
    return {"coding": [coding], "text": meaning}


def _hl7(table: str, value: str, meaning: str) -> Json:
    coding = {"system": f"{_TERMINOLOGY}{table}", "code": value, "display": meaning}
    return {"coding": [coding]}


def _identifier(uid: str) -> Json:
    return {"system": _DICOM_UID, "value": f"urn:oid:{uid}"}


def _uid(heading: Heading, report: Dataset, finding: Finding) -> str:
    """Return the Tracking Unique Identifier, or for what the report has no group one of its own."""
    if finding.is_assessed:
        return heading.identity.tracking_uid(finding.key)
    return derived_uid(str(report.SOPInstanceUID), finding.condition, finding.level)


def _url(uid: str) -> str:
    """Return the UUID that a UID below 2.25 is made of (PS3.5 B.2)."""
    return f"urn:uuid:{UUID(int=int(uid.removeprefix('2.25.')))}"


def _instant(heading: Heading) -> str:
    return heading.created.isoformat(timespec="seconds")
