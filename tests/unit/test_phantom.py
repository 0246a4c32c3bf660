"""The phantom: the same bytes every time, truth where it belongs, findings one can see."""

import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from node.phantom import PhantomStudy, StudyOptions, make_study
from node.phantom.canal import Sac
from node.phantom.people import make_patient
from node.phantom.severity import MODERATE, SEVERE, draw, grade
from node.spine.anatomy import (
    ALL_FINDINGS,
    LEVELS,
    ROLE_OF,
    Condition,
    ConditionGroup,
    FindingKey,
    Grade,
    Level,
    Role,
    Side,
)
from node.spine.volume import Slice

SEEDS = (1, 2)


@cache
def study(seed: int) -> PhantomStudy:
    return make_study(seed)


@cache
def with_canal(severity: float) -> PhantomStudy:
    """One patient with one stenosis at L3/L4 and nothing else, seen in axial T2."""
    severities = dict.fromkeys(ALL_FINDINGS, 0.05)
    severities[Condition.SPINAL_CANAL_STENOSIS, Level.L3_L4] = severity
    return make_study(
        5, options=StudyOptions(severities=severities, roles=(Role.AXIAL_T2,), axial="stack")
    )


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two makings of one seed write identical files."""
    options = StudyOptions(roles=(Role.SAGITTAL_T2,))
    first = make_study(7, options=options).write(tmp_path / "a")
    second = make_study(7, options=options).write(tmp_path / "b")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert {p.name for p in first} == {p.name for p in second}


def test_other_seed_gives_another_patient() -> None:
    """Seeds differ in identity and in anatomy."""
    assert study(1).study_uid != study(2).study_uid
    assert study(1).levels_mm != study(2).levels_mm


@pytest.mark.parametrize("seed", SEEDS)
def test_all_findings_have_truth_and_grades_follow_severity(seed: int) -> None:
    """Every study knows all 25 findings, and each grade follows its severity."""
    truth = study(seed).truth
    assert tuple(truth) == ALL_FINDINGS
    for known in truth.values():
        order = (known.severity >= MODERATE) + (known.severity >= SEVERE)
        assert known.grade is tuple(Grade)[order]


@pytest.mark.parametrize("seed", SEEDS)
def test_left_has_the_larger_x(seed: int) -> None:
    """The patient's left is the larger x (LPS), and sides lie as far apart as in real labels."""
    truth = study(seed).truth
    for group in (ConditionGroup.FORAMINAL, ConditionGroup.SUBARTICULAR):
        gaps = [
            truth[group.condition(Side.LEFT), lv].point_mm[0]
            - truth[group.condition(Side.RIGHT), lv].point_mm[0]
            for lv in LEVELS
        ]
        low, high = (24, 50) if group is ConditionGroup.FORAMINAL else (12, 27)
        assert all(low < g < high for g in gaps), gaps


@pytest.mark.parametrize("seed", SEEDS)
def test_levels_descend_at_real_distances(seed: int) -> None:
    """Disc centres go to the feet in steps of 27 to 46 mm."""
    points = np.array([study(seed).levels_mm[lv] for lv in LEVELS])
    assert (np.diff(points[:, 2]) < 0).all()
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert ((steps > 27) & (steps < 46)).all(), steps


@pytest.mark.parametrize("seed", SEEDS)
def test_slices_are_ordered_by_geometry(seed: int) -> None:
    """Sagittal slices grow in x, axial slices fall in z."""
    for volume in study(seed).volumes.values():
        assert (np.diff(volume.positions()) > 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_truth_lies_inside_a_slice_of_its_series(seed: int) -> None:
    """Every finding is within reach of a slice of its series and inside the picture."""
    made = study(seed)
    for (condition, level), known in made.truth.items():
        volume = made.volumes[ROLE_OF[condition.group]]
        point = np.array(known.point_mm)
        nearest = min(volume.slices, key=lambda s: abs(s.plane.distance(point)))
        reach = 0.75 * max(volume.spacing(), 4.0) + 1.0
        assert abs(nearest.plane.distance(point)) < reach, (condition, level)
        assert nearest.plane.contains(*nearest.plane.to_pixel(point)), (condition, level)


def test_plane_round_trip() -> None:
    """A truth point put back from its pixel position is where it was, but for the slice's depth."""
    made = study(1)
    point = np.array(made.truth[Condition.SPINAL_CANAL_STENOSIS, Level.L3_L4].point_mm)
    plane = made.volumes[Role.SAGITTAL_T2].slices[8].plane
    back = plane.to_patient(*plane.to_pixel(point))
    assert np.allclose(back, point - plane.distance(point) * plane.normal)


def test_spine_coordinates_round_trip() -> None:
    """From spine coordinates to the patient and back loses less than a tenth of a millimetre."""
    curve = study(2).patient.curve
    for s in (-30.0, 0.0, 60.0, 140.0, 170.0):
        for v, u in ((0.0, 0.0), (-30.0, 10.0), (20.0, -18.0)):
            found = curve.from_anatomy(curve.to_anatomy(s, v, u)[None])[0]
            assert np.allclose(found, (s, v, u), atol=0.1), (s, v, u, found)


def test_csf_falls_with_canal_severity() -> None:
    """The worse the canal stenosis, the less bright CSF around its point in axial T2."""
    bright = [_csf_area(with_canal(s)) for s in (0.0, 0.3, 0.55, 0.85)]
    assert all(a > b for a, b in pairwise(bright)), bright
    assert bright[0] > 60
    assert bright[-1] < 20


def test_sac_area_crosses_the_published_thresholds() -> None:
    """The dural sac is near 100 mm² where moderate begins and near 65 mm² where severe begins."""
    areas = []
    for severity in (0.1, MODERATE, SEVERE, 1.0):
        severities = dict.fromkeys(ALL_FINDINGS, severity)
        patients = [make_patient(np.random.default_rng(k), severities) for k in range(20)]
        areas.append(np.median([Sac(p).area(p.disc(Level.L3_L4).s) for p in patients]))
    assert areas[0] > 125
    assert 85 < areas[1] < 120
    assert 45 < areas[2] < 80
    assert areas[3] < 50


def test_foraminal_fat_falls_with_severity() -> None:
    """The worse the foramen, the less fat around its root in sagittal T1; the other side stays."""
    key = Condition.LEFT_NEURAL_FORAMINAL_NARROWING, Level.L4_L5
    fat = []
    for severity in (0.0, 0.45, 0.9):
        severities = dict.fromkeys(ALL_FINDINGS, 0.05) | {key: severity}
        made = make_study(9, options=StudyOptions(severities=severities, roles=(Role.SAGITTAL_T1,)))
        fat.append(_patch(made, Role.SAGITTAL_T1, key, 5.0).mean())
    assert fat[0] > fat[1] > fat[2], fat


def test_prevalence_is_real_or_balanced() -> None:
    """Drawn grades follow the training table's shares, or about a third each when balanced."""
    shares = {}
    for balanced in (False, True):
        drawn = [draw(np.random.default_rng(k), balanced=balanced) for k in range(400)]
        for c in (Condition.SPINAL_CANAL_STENOSIS, Condition.LEFT_SUBARTICULAR_STENOSIS):
            grades = [grade(d[c, Level.L4_L5]) for d in drawn]
            shares[c, balanced] = [grades.count(g) / len(grades) for g in Grade]
    assert np.allclose(
        shares[Condition.SPINAL_CANAL_STENOSIS, False], (0.75, 0.12, 0.13), atol=0.07
    )
    real = shares[Condition.LEFT_SUBARTICULAR_STENOSIS, False]
    assert np.allclose(real, (0.45, 0.32, 0.23), atol=0.08)
    for c in (Condition.SPINAL_CANAL_STENOSIS, Condition.LEFT_SUBARTICULAR_STENOSIS):
        assert min(shares[c, True]) > 0.25


def test_missing_role_leaves_the_others_as_they_were() -> None:
    """A study without a series has the same picture in the series it keeps."""
    alone = make_study(2, options=StudyOptions(roles=(Role.SAGITTAL_T1,)))
    assert set(alone.volumes) == {Role.SAGITTAL_T1}
    assert len(alone.volumes[Role.SAGITTAL_T1].slices) == len(
        study(2).volumes[Role.SAGITTAL_T1].slices
    )
    assert alone.truth.keys() == study(2).truth.keys()


def test_impossible_severity_is_refused() -> None:
    """A severity outside 0 to 1 is refused with the finding's name."""
    key = Condition.SPINAL_CANAL_STENOSIS, Level.L1_L2
    with pytest.raises(ValueError, match="between 0 and 1"):
        make_study(1, options=StudyOptions(severities={key: 1.5}))


@pytest.mark.parametrize("vendor", ["siemens", "ge", "philips"])
def test_headers_are_legal(vendor: str, tmp_path: Path) -> None:
    """Dciodvfy finds no error in any vendor's headers, with and without spacing and RLE."""
    options = StudyOptions(
        roles=(Role.SAGITTAL_T2,),
        stir=vendor == "philips",
        vendor=vendor,  # type: ignore[arg-type]
        spacing_attributes=vendor != "ge",
        transfer_syntax="rle" if vendor == "ge" else "explicit",
    )
    path = make_study(4, options=options).write(tmp_path)[0]
    run = subprocess.run(
        ["/usr/bin/dciodvfy", str(path)], capture_output=True, text=True, check=False
    )
    lines = (run.stdout + run.stderr).splitlines()
    assert not [line for line in lines if line.startswith("Error")], lines
    assert run.returncode == 0


def test_written_files_hold_the_volume(tmp_path: Path) -> None:
    """Pixels, geometry and identity survive writing; the order of numbers follows the options."""
    options = StudyOptions(roles=(Role.SAGITTAL_T1,), reversed_sagittal=True)
    made = make_study(6, options=options)
    read = [dcmread(p) for p in made.write(tmp_path)]
    volume = made.volumes[Role.SAGITTAL_T1]
    assert [ds.InstanceNumber for ds in read] == list(range(len(read), 0, -1))
    for ds, image in zip(read, volume.slices, strict=True):
        assert np.array_equal(ds.pixel_array, image.pixels)
        assert np.allclose(ds.ImagePositionPatient, image.plane.origin, atol=1e-5)
        assert ds.SOPInstanceUID == image.sop_instance_uid
    assert read[0].PatientID == "PHANTOM-6"
    assert read[0].PatientName == "PHANTOM^LUMBAR"
    assert read[0].SOPInstanceUID.startswith("2.25.")


def _csf_area(made: PhantomStudy) -> float:
    """Area (mm²) as bright as CSF within 9 mm of the L3/L4 canal point, in axial T2."""
    key = Condition.SPINAL_CANAL_STENOSIS, Level.L3_L4
    normal = np.percentile(_patch(with_canal(0.0), Role.AXIAL_T2, key, 6.0), 90)
    plane = _slice(made, Role.AXIAL_T2, key).plane
    pixel = plane.row_spacing * plane.column_spacing
    return float((_patch(made, Role.AXIAL_T2, key, 9.0) > 0.75 * normal).sum() * pixel)


def _slice(made: PhantomStudy, role: Role, key: FindingKey) -> Slice:
    point = np.array(made.truth[key].point_mm)
    return min(made.volumes[role].slices, key=lambda s: abs(s.plane.distance(point)))


def _patch(made: PhantomStudy, role: Role, key: FindingKey, radius: float) -> NDArray[np.float32]:
    """Pixels within a radius (mm) of a finding, relative to the series' bright end."""
    image = _slice(made, role, key)
    column, row = image.plane.to_pixel(np.array(made.truth[key].point_mm))
    rows, columns = np.indices(image.pixels.shape)
    away = np.hypot(
        (rows - row) * image.plane.row_spacing, (columns - column) * image.plane.column_spacing
    )
    return np.asarray(image.pixels[away < radius] / made.volumes[role].window()[1])
