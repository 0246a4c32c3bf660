"""The shipped models on unseen studies, in ONNX Runtime."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from node import analysis, result_folder
from node.config import Config, Report
from node.inference.pipeline import PipelineResult, find
from node.inference.runtime import MODEL_NAMES, ModelStore
from node.phantom import PhantomStudy
from node.spine.anatomy import ALL_FINDINGS, LEVELS, ROLE_OF, Condition, Grade, Role, Side
from tests.builders import write_all

ARTIFACTS = Path(Config.model_fields["models_dir"].default)


@pytest.fixture(scope="module")
def store() -> ModelStore:
    """The shipped models, every hash checked."""
    return ModelStore(ARTIFACTS, "cpu", threads=1)


@pytest.fixture(scope="module")
def result(store: ModelStore, phantom: PhantomStudy) -> PipelineResult:
    """One whole study through the pipeline."""
    return find(phantom.volumes, store)


def test_nine_models_ship_and_are_what_their_cards_say(store: ModelStore) -> None:
    """Name, version, hash and the provider that really runs."""
    uses = store.uses()
    assert tuple(use.name for use in uses) == MODEL_NAMES
    assert all(len(use.sha256) == 64 and use.version for use in uses)
    assert {use.provider for use in uses} == {"CPUExecutionProvider"}


def test_whole_study_is_assessed(result: PipelineResult) -> None:
    """25 findings in order, nearly all assessed, none without grade or reason."""
    assert tuple(f.key for f in result.findings) == ALL_FINDINGS
    assert all(f.is_assessed != bool(f.reason) for f in result.findings)
    assert sum(f.is_assessed for f in result.findings) >= 22


def test_points_are_where_the_phantom_put_them(
    result: PipelineResult, phantom: PhantomStudy
) -> None:
    """Points within a few mm of the truth, and truly on their key slice."""
    slices = {s.sop_instance_uid: s for v in phantom.volumes.values() for s in v.slices}
    errors = []
    for finding in result.findings:
        if finding.patient_mm is None:
            continue
        point = np.array(finding.patient_mm)
        errors.append(np.linalg.norm(point - phantom.truth[finding.key].point_mm))
        plane = slices[str(finding.sop_instance_uid)].plane
        assert abs(plane.distance(point)) < 1e-6
        assert plane.to_pixel(point) == pytest.approx((finding.column, finding.row))
    assert np.median(errors) < 5.0


def test_grades_follow_the_truth(result: PipelineResult, phantom: PhantomStudy) -> None:
    """Most grades are right; a study whose grades are all alike would not pass."""
    pairs = [(f.grade, phantom.truth[f.key].grade) for f in result.findings if f.is_assessed]
    right = sum(found is true for found, true in pairs)
    commonest = max(
        sum(true is grade for _, true in pairs) for grade in {true for _, true in pairs}
    )
    assert right >= 0.6 * len(pairs)
    assert right >= commonest - 3


def test_sides_survive_a_reversed_series(
    store: ModelStore, result: PipelineResult, phantom: PhantomStudy
) -> None:
    """Left is the larger x; handing slices over in another order changes nothing."""
    by_key = {f.key: f for f in result.findings}
    for level in LEVELS:
        for pair in ("neural_foraminal_narrowing", "subarticular_stenosis"):
            left, right = (by_key[Condition(f"{s.value}_{pair}"), level] for s in Side)
            if left.patient_mm and right.patient_mm:
                assert left.patient_mm[0] > right.patient_mm[0]
    assert find(dict(reversed(phantom.volumes.items())), store).findings == result.findings


def test_lone_sagittal_t2_grades_the_canal(store: ModelStore, phantom: PhantomStudy) -> None:
    """Five findings from one series, twenty with the reason."""
    findings = find({Role.SAGITTAL_T2: phantom.volumes[Role.SAGITTAL_T2]}, store).findings
    assert sum(f.is_assessed for f in findings) == 5
    for finding in findings:
        role = ROLE_OF[finding.condition.group]
        if role is not Role.SAGITTAL_T2:
            assert finding.reason == f"no {role.label} series"


def test_two_axial_series_serve_one_study(
    store: ModelStore, phantom: PhantomStudy, result: PipelineResult, tmp_path: Path
) -> None:
    """Upper discs in one series, lower in another of another scale: each level has its slices."""
    images = phantom.datasets()
    axial = {s.sop_instance_uid: s.plane.centre[2] for s in phantom.volumes[Role.AXIAL_T2].slices}
    border = float(np.median(list(axial.values())))
    for image in images:
        if axial.get(image.SOPInstanceUID, border) < border:
            image.SeriesInstanceUID += ".9"
            image.PixelData = (image.pixel_array // 2).tobytes()
    paths = write_all(images, tmp_path / "in")
    (taken,) = analysis.read(paths)
    findings, volumes = analysis.find(taken, store)
    result_folder.write(
        *(tmp_path / "out", findings, taken.known, volumes),
        settings=Report(),
        created=analysis.now(),
    )

    series_of = {i.SOPInstanceUID: i.SeriesInstanceUID for i in images}
    used = {f.series_uid for f in findings.findings if f.is_assessed and "sub" in f.condition}
    assert used == {series_of[uid] for uid in axial}
    for finding, whole in zip(findings.findings, result.findings, strict=True):
        assert finding.sop_instance_uid == whole.sop_instance_uid
        assert finding.sop_instance_uid is None or (
            finding.series_uid == series_of[finding.sop_instance_uid]
        )
        assert finding.grade == whole.grade
    shown = {
        dcmread(path).ReferencedSeriesSequence[0].SeriesInstanceUID
        for path in (tmp_path / "out" / "overlay").glob("*.dcm")
    }
    marked = {f.series_uid for f in findings.findings if f.grade in {Grade.MODERATE, Grade.SEVERE}}
    assert shown == marked
