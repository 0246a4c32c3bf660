"""Studies whose results are shown to software not written by us, with those results as files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from node import analysis
from node.inference.runtime import ModelStore
from node.phantom import PhantomStudy
from node.results import ResultSet
from node.spine.anatomy import ALL_FINDINGS, GRADES, ROLE_OF, Grade, Role
from node.spine.findings import Finding, StudyFindings, nothing_assessed
from node.spine.volume import Volume
from tests.conformance.inputs import INPUTS
from tests.results_study import MODELS, PATIENT, SmallStudy, small_study

#: Report settings by the name of the case.
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": {"key_objects": True, "pdf": True, "fhir": "r5"},
    "strict": {"region_copy_under_num": False},
    "comprehensive": {"sop_class": "comprehensive", "institution": "Somewhere General"},
    "abnormal": {"groups": "abnormal", "capture_modality": "MR"},
    "partial": {},
    "nothing": {},
    "enhanced": {},
    "bare headers": {},
    "hostile headers": {},
    "siemens": {},
    "ge": {},
    "philips": {},
    **{kind: {} for kind in INPUTS},
}

#: Header habits of three vendors; the images stay the same.
HABITS: dict[str, dict[str, Any]] = {
    "siemens": {"vendor": "siemens", "descriptions": "misleading", "spacing_attributes": False},
    "ge": {"vendor": "ge", "descriptions": "blank", "same_frame_of_reference": False},
    "philips": {"vendor": "philips", "descriptions": "plain", "transfer_syntax": "rle"},
}

#: What else a header may lack.
DISPENSABLE = ("SpecificCharacterSet", "SeriesNumber", "InstanceNumber", "WindowCenter")

#: Markup where names are, and pixels that are inverted and have been compressed with loss.
HOSTILE: dict[str, Any] = {
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientName": '<b>&amp;^"O\'Neil"=山^太郎',
    "PatientID": "]]></table><script>",
    "StudyDescription": "neck & back <!-- ${x} %s {{y}}",
    "StudyID": "--> ' OR 1=1",
    "PhotometricInterpretation": "MONOCHROME1",
    "LossyImageCompression": "01",
    "LossyImageCompressionRatio": "8.5",
    "LossyImageCompressionMethod": "ISO_10918_1",
}


@dataclass(frozen=True)
class Case:
    """A study, its results, and its results as files."""

    kind: str
    study: SmallStudy
    built: ResultSet
    files: list[Path]

    @property
    def report(self) -> Path:
        """The file of the structured report."""
        return next(f for f in self.files if f.stem.endswith("SR"))

    @property
    def reported(self) -> list[Finding]:
        """The findings that have a measurement group in the report."""
        abnormal = CASES.get(self.kind, {}).get("groups") == "abnormal"
        assessed = [f for f in self.study.findings.findings if f.is_assessed]
        return [f for f in assessed if not (abnormal and f.grade is Grade.NORMAL_MILD)]


def make_case(kind: str, phantom: PhantomStudy, folder: Path) -> Case:
    """Build the results of one case and write them into a folder."""
    study = _study(kind, phantom, folder)
    found = study.findings
    if kind == "partial":
        gone = [f for f in found.findings if ROLE_OF[f.condition.group] is Role.AXIAL_T2]
        found = study.with_findings(*(f.not_assessed("no axial T2 series") for f in gone))
        volumes = dict(study.volumes)
        del volumes[Role.AXIAL_T2]
        study = replace(study, volumes=volumes)
    if kind == "nothing":
        found = replace(found, findings=nothing_assessed("no usable series"), models=())
        study = replace(study, volumes={})
    return saved(kind, replace(study, findings=found), folder)


def _study(kind: str, phantom: PhantomStudy, folder: Path) -> SmallStudy:
    if kind in INPUTS:
        source = folder / "source"
        source.mkdir()
        truth = {k: (t.grade, np.array(t.point_mm)) for k, t in phantom.truth.items()}
        return of_files(INPUTS[kind](phantom.datasets(), source), truth)
    if kind == "everything":
        return small_study()
    if kind == "enhanced":
        return small_study(is_enhanced=True)
    if kind == "bare headers":
        absent: dict[str, Any] = dict.fromkeys([*PATIENT, *DISPENSABLE])
        return small_study(**absent)
    if kind == "hostile headers":
        return small_study(**HOSTILE)
    return of_phantom(replace(phantom, options=replace(phantom.options, **HABITS.get(kind, {}))))


def saved(kind: str, study: SmallStudy, folder: Path) -> Case:
    """Build the results of a study and write them into a folder."""
    built = study.build(settings=CASES.get(kind, {}))
    files = []
    for i, made in enumerate(built.objects):
        files.append(folder / f"{i}_{made.Modality}.dcm")
        made.save_as(files[-1], enforce_file_format=True)
    return Case(kind, study, built, files)


def at_points(
    volumes: Mapping[Role, Volume], points: Mapping[Any, tuple[Any, Any]]
) -> tuple[Finding, ...]:
    """Return findings at patient points, each on its nearest slice."""
    rng = np.random.default_rng(5)
    made = []
    for key in ALL_FINDINGS:
        grade, point = points[key]
        role = ROLE_OF[key[0].group]
        if role not in volumes:
            made.append(Finding(*key, reason=f"no {role.label} series"))
            continue
        volume = volumes[role]
        shown = min(volume.slices, key=lambda s, p=point: abs(s.plane.distance(p)))  # type: ignore[misc]
        column, row = shown.plane.to_pixel(point)
        weights = sorted(rng.dirichlet([1.0, 1.0, 1.0]))
        likely = {g: float(w) for g, w in zip(GRADES, weights[:2] * 2, strict=False)}
        likely[grade] = float(weights[2])
        total = sum(likely.values())
        made.append(
            Finding(
                *key,
                grade=grade,
                probabilities={g: likely[g] / total for g in GRADES},
                series_uid=volume.series_uid,
                sop_instance_uid=shown.sop_instance_uid,
                frame_number=shown.frame_number,
                column=column,
                row=row,
                patient_mm=(float(point[0]), float(point[1]), float(point[2])),
            )
        )
    return tuple(made)


def of_phantom(phantom: PhantomStudy) -> SmallStudy:
    """Return the phantom with its truth as findings."""
    truth = {k: (t.grade, np.array(t.point_mm)) for k, t in phantom.truth.items()}
    findings = StudyFindings(
        phantom.study_uid, "0.1.0", at_points(phantom.volumes, truth), models=MODELS
    )
    headers = {str(d.SOPInstanceUID): d for d in phantom.datasets()}
    return SmallStudy(headers, dict(phantom.volumes), findings)


def of_files(paths: Sequence[Path], points: Mapping[Any, tuple[Any, Any]]) -> SmallStudy:
    """Return a study of DICOM files, read as the node reads them, with findings at points."""
    (taken,) = analysis.read(paths)
    volumes, left_out = analysis.load(taken, analysis.choose(taken))
    assert not left_out
    findings = StudyFindings(taken.study_uid, "0.1.0", at_points(volumes, points), models=MODELS)
    return SmallStudy(taken.headers, volumes, findings)


def of_real_study(folder: Path, models: ModelStore) -> SmallStudy:
    """Return a study of DICOM files with what the node finds in it."""
    (taken,) = analysis.read(sorted(p for p in folder.rglob("*") if p.is_file()))
    findings, volumes = analysis.find(taken, models)
    return SmallStudy(taken.headers, volumes, findings)
