"""A small made-up study for the results: headers, volumes and findings, without DICOM files."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from node.config import Report
from node.results import ResultSet, build
from node.spine.anatomy import ALL_FINDINGS, GRADES, LEVELS, ROLE_OF, ConditionGroup, Role, Side
from node.spine.findings import Finding, ModelUse, StudyFindings
from node.spine.geometry import Plane, Vector
from node.spine.volume import Slice, Volume, ordered
from tests.builders import uid

CREATED = datetime(2026, 11, 23, 10, 20, 30, tzinfo=UTC)
STUDY_UID = uid("results", "study")
MODELS = tuple(
    ModelUse(f"{stage}_{group.short}", "0.1.0", f"{i:064x}", "CPUExecutionProvider")
    for i, (stage, group) in enumerate(
        (s, g) for s in ("instance", "coordinate", "severity") for g in ConditionGroup
    )
)

#: PixelSpacing of each role: not square, and coarser than a page.
SPACING = {
    Role.SAGITTAL_T1: (2.4, 1.5),
    Role.SAGITTAL_T2: (2.2, 1.6),
    Role.AXIAL_T2: (1.2, 1.0),
}
SAGITTAL = (np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, -1.0]))
AXIAL = (np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
SHAPE = (110, 130)

#: A patient whose name and identifier must show nowhere but in the patient module.
PATIENT = {
    "PatientName": "Verysecret^Name",
    "PatientID": "SECRET-4711",
    "PatientBirthDate": "19500102",
    "PatientSex": "F",
    "StudyDate": "20260102",
    "StudyTime": "101112",
    "StudyID": "S1",
    "AccessionNumber": "ACC-0815",
    "ReferringPhysicianName": "Verysecret^Doctor",
    "Manufacturer": "SIEMENS",
    "ManufacturerModelName": "Avanto",
    "SoftwareVersions": "syngo MR B17",
}


@dataclass(frozen=True)
class SmallStudy:
    """What `node.results.build` is given."""

    headers: dict[str, Dataset]
    volumes: dict[Role, Volume]
    findings: StudyFindings

    def build(self, findings: StudyFindings | None = None, **options: Any) -> ResultSet:
        """Build the results; options are those of `build`, and `settings` as a dict."""
        settings = Report(**options.pop("settings", {}))
        return build(
            findings or self.findings,
            self.headers,
            self.volumes,
            settings=settings,
            created=options.pop("created", CREATED),
            **options,
        )

    def with_findings(self, *changed: Finding) -> StudyFindings:
        """Return the study's findings with some replaced."""
        by_key = {f.key: f for f in (*self.findings.findings, *changed)}
        return replace(self.findings, findings=tuple(by_key[key] for key in ALL_FINDINGS))


def level_point(index: int) -> Vector:
    """Return the canal's patient point of a level: a lordotic curve, 36 mm from disc to disc."""
    return np.array([1.0, 4.0 * (index - 2) ** 2 - 10.0, 72.0 - 36.0 * index])


def small_study(
    *, seed: int = 1, is_flipped: bool = False, is_enhanced: bool = False, **header: Any
) -> SmallStudy:
    """Return a study with a sagittal T1, a sagittal T2 and an axial T2 series.

    Parameters
    ----------
    is_flipped : bool
        Store every image mirrored in both axes: columns to the front, rows to the head.
    is_enhanced : bool
        One multi-frame object for each series.
    **header
        DICOM keywords to set in every header or, with None, to delete.
    """
    rng = np.random.default_rng(seed)
    headers: dict[str, Dataset] = {}
    volumes = {}
    for number, role in enumerate(Role, start=2):
        planes = _planes(role, is_flipped=is_flipped)
        series_uid = uid("results", role)
        slices = []
        for i, plane in enumerate(planes, start=1):
            sop_uid = uid("results", role, 1 if is_enhanced else i)
            pixels = rng.gamma(2.0, 150.0, (plane.rows, plane.columns)).astype(np.float32)
            slices.append(Slice(plane, pixels, sop_uid, i if is_enhanced else None))
            if sop_uid not in headers:
                headers[sop_uid] = _header(sop_uid, series_uid, plane, (number, i), header)
            if is_enhanced:
                headers[sop_uid].SOPClassUID = EnhancedMRImageStorage
                headers[sop_uid].NumberOfFrames = len(planes)
        volumes[role] = ordered(role, series_uid, uid("results", "frame"), slices)
    findings = StudyFindings(
        study_uid=STUDY_UID, node_version="0.1.0", findings=_findings(volumes, rng), models=MODELS
    )
    return SmallStudy(headers, volumes, findings)


def _planes(role: Role, *, is_flipped: bool) -> list[Plane]:
    across, down = AXIAL if role is Role.AXIAL_T2 else SAGITTAL
    rows, columns = SHAPE
    row_mm, column_mm = SPACING[role]
    if role is Role.AXIAL_T2:
        centres = [
            level_point(i) + np.array([0, 0, dz]) for i in range(5) for dz in (4.0, 0.0, -4.0)
        ]
    else:
        centres = [np.array([x, 0.0, 0.0]) for x in np.arange(-24.0, 25.0, 4.0)]
    if is_flipped:
        across, down = -across, -down
    return [
        Plane(
            c - across * column_mm * (columns - 1) / 2 - down * row_mm * (rows - 1) / 2,
            across,
            down,
            row_mm,
            column_mm,
            rows,
            columns,
        )
        for c in centres
    ]


def _header(
    sop_uid: str,
    series_uid: str,
    plane: Plane,
    numbers: tuple[int, int],
    changes: Mapping[str, Any],
) -> Dataset:
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.SOPClassUID = MRImageStorage
    header.SOPInstanceUID = sop_uid
    header.StudyInstanceUID = STUDY_UID
    header.SeriesInstanceUID = series_uid
    header.SeriesNumber, header.InstanceNumber = numbers
    header.Modality = "MR"
    header.Rows, header.Columns = plane.rows, plane.columns
    header.PixelSpacing = [plane.row_spacing, plane.column_spacing]
    header.PhotometricInterpretation = "MONOCHROME2"
    header.WindowCenter, header.WindowWidth = "400", "800"
    for keyword, value in {**PATIENT, **changes}.items():
        if value is None:
            header.pop(keyword, None)
        else:
            setattr(header, keyword, value)
    return header


def _findings(volumes: Mapping[Role, Volume], rng: np.random.Generator) -> tuple[Finding, ...]:
    made = []
    for condition, level in ALL_FINDINGS:
        side = {None: 0.0, Side.LEFT: 1.0, Side.RIGHT: -1.0}[condition.side]
        reach = 16.0 if condition.group is ConditionGroup.FORAMINAL else 9.0
        point = level_point(LEVELS.index(level)) + np.array([side * reach, 0.0, 0.0])
        volume = volumes[ROLE_OF[condition.group]]
        shown = min(volume.slices, key=lambda s, p=point: abs(s.plane.distance(p)))  # type: ignore[misc]
        column, row = shown.plane.to_pixel(point)
        chances = rng.dirichlet([1.0, 0.7, 0.7])
        made.append(
            Finding(
                condition,
                level,
                grade=GRADES[int(chances.argmax())],
                probabilities=dict(zip(GRADES, map(float, chances), strict=True)),
                series_uid=volume.series_uid,
                sop_instance_uid=shown.sop_instance_uid,
                frame_number=shown.frame_number,
                column=column,
                row=row,
                patient_mm=_triple(shown.plane.to_patient(column, row)),
            )
        )
    return tuple(made)


def _triple(point: Vector) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])
