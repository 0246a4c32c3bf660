"""A phantom study: volumes to train and test on, DICOM only when asked for."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom import Dataset

from node.phantom import arch
from node.phantom.acquisition import draw_wide_pose, draw_wide_scans
from node.phantom.anomalies import afflicted, draw_anomalies, paint_anomalies
from node.phantom.canal import (
    Sac,
    paint_fat,
    paint_flavum,
    paint_foramina,
    paint_recesses,
    paint_sac,
)
from node.phantom.canvas import Canvas, Grain
from node.phantom.column import paint_body, paint_disc
from node.phantom.contrast import Array, Weighting, fat_shares, randomised, signals
from node.phantom.headers import Identity, build_datasets
from node.phantom.options import StudyOptions
from node.phantom.patient import Patient
from node.phantom.people import make_patient
from node.phantom.planes import Pose, draw_pose
from node.phantom.population import POPULATIONS, draw_looks
from node.phantom.protocol import Scan, draw_scans
from node.phantom.scanner import Scanner, Wobble
from node.phantom.severity import complete, draw, grade
from node.phantom.trunk import Landmarks, paint_trunk
from node.spine.anatomy import LEVELS, FindingKey, Grade, Level, Role
from node.spine.volume import Slice, Volume, ordered

Point = tuple[float, float, float]

_COLUMN_SPACING, _TRUNK_SPACING = 0.7, 1.5
_WIDE_TRUNK_SPACING = (2.4, 1.2, 1.2)  # finer where axial slices look at it

#: Share of wide studies whose contrasts are partly or wholly random.
_RANDOM_CONTRAST = 0.15


@dataclass(frozen=True)
class Truth:
    """What is known about one finding.

    Attributes
    ----------
    grade : Grade
    severity : float
        0 to 1, continuous; the grade is where it falls (`node.phantom.severity`).
    point_mm : (x, y, z)
        LPS, mm: where a radiologist would mark it.
    """

    grade: Grade
    severity: float
    point_mm: Point


@dataclass(frozen=True, eq=False)
class Series:
    """One series: how it was scanned, its images, and which of its role it is (from 0)."""

    scan: Scan
    volume: Volume
    copy: int


@dataclass(frozen=True, eq=False)
class PhantomStudy:
    """A synthetic study with known findings.

    Attributes
    ----------
    seed : int
    study_uid : str
    series : tuple of Series
    truth : dict of FindingKey to Truth
        Always all 25.
    levels_mm : dict of Level to (x, y, z)
        Centres of the discs, LPS, mm.
    patient, pose, options
        How it was made.
    """

    seed: int
    study_uid: str
    series: tuple[Series, ...]
    truth: dict[FindingKey, Truth]
    levels_mm: dict[Level, Point]
    patient: Patient
    pose: Pose
    options: StudyOptions

    @property
    def volumes(self) -> dict[Role, Volume]:
        """The first series of each role."""
        return {s.scan.role: s.volume for s in self.series if s.copy == 0}

    def datasets(self) -> list[Dataset]:
        """Return the study as complete DICOM data sets, series by series, slices in order."""
        identity = Identity(self.seed, self.options)
        return [
            ds
            for series in self.series
            for ds in build_datasets(identity, series.volume, series.scan, series.copy)
        ]

    def write(self, folder: Path) -> list[Path]:
        """Write the study as Part 10 files, one folder a series; return their paths."""
        paths = []
        for ds in self.datasets():
            path = folder / ds.SeriesInstanceUID / f"{ds.SOPInstanceUID}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            ds.save_as(path, enforce_file_format=True)
            paths.append(path)
        return paths


def make_study(seed: int, *, options: StudyOptions | None = None) -> PhantomStudy:
    """Make the study of a seed: the same seed and options give the same bytes.

    Parameters
    ----------
    seed : int
        Not negative.
    options : StudyOptions, optional

    Raises
    ------
    ValueError
        A severity in the options is not between 0 and 1.
    """
    options = options or StudyOptions()
    identity = Identity(seed, options)
    draws = [np.random.default_rng([seed, k]) for k in range(9)]
    severities = complete(options.severities, draw(draws[0], balanced=options.balanced))
    patient = make_patient(draws[1], severities, POPULATIONS[options.variety])
    if options.variety == "wide":
        patient = replace(patient, looks=draw_looks(draws[8]))
        patient = afflicted(patient, draw_anomalies(draws[8], patient))
        pose = draw_wide_pose(draws[2])
        scans = draw_wide_scans(draws[3], patient, pose, options, identity.vendor)
    else:
        pose = draw_pose(draws[2])
        scans = draw_scans(draws[3], patient, pose, options)
    channels = _channels(scans)
    table = _table(draws[4], patient, tuple(channels), scans, options)
    column = paint_column(patient, table, draws[5])
    trunk, marks = _paint_trunk(patient, table, draws[6])
    scanner = Scanner(
        patient.curve, pose, column=column, trunk=trunk, marks=marks, wobble=Wobble(draws[7])
    )
    series = []
    for k, scan in enumerate(scans):
        copy = sum(s.role is scan.role for s in scans[:k])
        rng = np.random.default_rng([seed, 100 + 10 * copy + list(Role).index(scan.role)])
        images = scanner.scan(scan, list(channels).index(scan.weighting), rng)
        series.append(Series(scan, _volume(identity, scan, images, copy), copy))
    truth = {
        key: Truth(grade(value), value, _point(pose.to_lps(patient.point(*key))))
        for key, value in severities.items()
    }
    levels = {lv: _point(pose.to_lps(patient.disc_centre(lv))) for lv in LEVELS}
    return PhantomStudy(
        seed, identity.study_uid, tuple(series), truth, levels, patient, pose, options
    )


def _table(
    rng: np.random.Generator,
    patient: Patient,
    weightings: tuple[Weighting, ...],
    scans: tuple[Scan, ...],
    options: StudyOptions,
) -> Array:
    """Return the tissues' signals; in the wide variety a last column says how much is fat."""
    odd = rng.random() < 0.12
    strength = scans[0].strength if scans else 1.5
    if options.variety == "plain":
        jitter = 0.22 if odd else 0.08
        return signals(weightings, rng, fatty=patient.fatty_marrow, jitter=jitter)
    jitter = float(rng.choice([0.06, 0.15, 0.35], p=[0.5, 0.3, 0.2]))
    table = signals(weightings, rng, fatty=patient.fatty_marrow, jitter=jitter, strength=strength)
    if rng.random() < _RANDOM_CONTRAST:
        table = randomised(table, rng, float(rng.uniform(0.3, 1.0)))
    return np.hstack([table, fat_shares(patient.fatty_marrow)])


def _channels(scans: tuple[Scan, ...]) -> dict[Weighting, None]:
    """Return the distinct weightings, in order."""
    return dict.fromkeys(scan.weighting for scan in scans)


def paint_column(patient: Patient, table: Array, rng: np.random.Generator) -> Canvas:
    """Return the painted spine, in spine coordinates."""
    low = (patient.discs[1].s - 8.0, -46.0, -50.0)
    high = (patient.discs[-1].s + 14.0, 56.0, 50.0)
    canvas = Canvas(low, high, _COLUMN_SPACING, table)
    fine = Grain(rng, reach=3.0, power=1.0)
    broad = Grain(rng, reach=14.0, power=1.5, smooth=1.5)
    sac = Sac(patient)
    movable = [k for k, body in enumerate(patient.bodies[:-1]) if not body.is_sacral and k > 0]
    ragged = Grain(rng, reach=5.0, power=1.4, smooth=0.8) if patient.looks.natural else None
    paint_fat(canvas, patient, broad)
    paint_sac(canvas, patient, sac, broad, rng)
    for k in movable:
        paint_foramina(canvas, patient, k, ragged)
    for disc in patient.discs[1:]:
        paint_disc(canvas, disc, fine)
    for k, body in enumerate(patient.bodies):
        around = (
            patient.discs[k - 1] if k > 0 else None,
            patient.discs[k] if k < len(patient.discs) else None,
        )
        paint_body(
            canvas,
            body,
            around,
            (fine, broad),
            rng,
            looks=patient.looks,
            front_loss=patient.anomalies.front_loss(k),
        )
    arch.paint_sacrum(canvas, patient, (fine, broad))
    arch.paint_midline(canvas, patient, (fine, broad))
    for k in movable:
        arch.paint_arch(canvas, patient, k, (fine, broad))
    for k in movable:
        paint_flavum(canvas, patient, k, ragged)
    for k in movable:
        paint_recesses(canvas, patient, sac, k)
    paint_anomalies(canvas, patient, broad)
    return canvas


def _paint_trunk(
    patient: Patient, table: Array, rng: np.random.Generator
) -> tuple[Canvas, Landmarks]:
    """Return the painted trunk around the spine, in anatomical coordinates."""
    middle = patient.curve.to_anatomy(patient.discs[6].s, 0, 0)
    natural = patient.looks.natural
    side, spacing = (118.0, _WIDE_TRUNK_SPACING) if natural else (106.0, _TRUNK_SPACING)
    low = (-float(middle[2]) - 175.0, float(middle[1]) - 165.0, float(middle[0]) - side)
    high = (-float(middle[2]) + 175.0, float(middle[1]) + 125.0, float(middle[0]) + side)
    canvas = Canvas(low, high, spacing, table)
    grains = (
        Grain(rng, reach=2.5, power=1.0, drawn=2.0),
        Grain(rng, reach=5.0, power=1.0, smooth=0.8 if natural else 1.1, drawn=5.0),
        Grain(rng, reach=12.0, power=1.5, smooth=2.5),
    )
    return canvas, paint_trunk(canvas, patient, grains, rng)


def _volume(identity: Identity, scan: Scan, images: list[Array], copy: int) -> Volume:
    slices = [
        Slice(plane, image.astype(np.float32), identity.instance_uid(scan.role, copy, k))
        for k, (plane, image) in enumerate(zip(scan.planes, images, strict=True))
    ]
    uids = identity.series_uid(scan.role, copy), identity.frame_uid(scan.role, copy)
    return ordered(scan.role, *uids, slices)


def _point(p: np.ndarray) -> Point:
    return float(p[0]), float(p[1]), float(p[2])
