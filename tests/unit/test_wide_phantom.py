"""The wide phantom: what is drawn has the published shares, and truth stays where it belongs."""

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from node.phantom import PhantomStudy, StudyOptions, make_study
from node.phantom.acquisition import MACHINES, draw_wide_pose, draw_wide_scans
from node.phantom.anomalies import TRANSITIONAL, afflicted, draw_anomalies
from node.phantom.artefacts import Artefacts, shift_fat, spoil
from node.phantom.canal import Sac
from node.phantom.contrast import Tissue, Weighting, randomised, signals
from node.phantom.fields import COVERAGE, GROUPS, REVERSED_AXIAL, REVERSED_SAGITTAL, SECOND_AXIAL
from node.phantom.headers import Identity, build_datasets
from node.phantom.patient import Patient, foramen_centre, recess_offset
from node.phantom.people import make_patient
from node.phantom.planes import Pose
from node.phantom.population import WIDE, draw_looks
from node.phantom.protocol import Scan
from node.phantom.severity import MODERATE, SEVERE, draw
from node.spine.anatomy import ALL_FINDINGS, LEVELS, Condition, Level, Role, Side
from node.spine.volume import Slice, Volume

COUNT = 300


def _patient(seed: int, severity: float | None = None) -> Patient:
    rng = np.random.default_rng([77, seed])
    severities = draw(rng, balanced=False)
    if severity is not None:
        severities = dict.fromkeys(ALL_FINDINGS, severity)
    patient = replace(make_patient(rng, severities, WIDE), looks=draw_looks(rng))
    return afflicted(patient, draw_anomalies(rng, patient))


@cache
def population() -> tuple[Patient, ...]:
    return tuple(_patient(k) for k in range(COUNT))


@cache
def sessions() -> tuple[tuple[Pose, tuple[Scan, ...]], ...]:
    """How each of them is scanned."""
    made = []
    for k, patient in enumerate(population()):
        rng = np.random.default_rng([78, k])
        pose = draw_wide_pose(rng)
        made.append((pose, draw_wide_scans(rng, patient, pose, StudyOptions(), "ge")))
    return tuple(made)


def _share(hits: int, of: int, share: float) -> bool:
    """Within four standard deviations of a share."""
    return bool(abs(hits / of - share) < 4 * np.sqrt(share * (1 - share) / of))


def test_orders_and_second_series_have_the_real_shares() -> None:
    """Of the studies 12 % have axial numbers from the feet, 36 % sagittal ones, 17 % two axials."""
    scans = [s for _, s in sessions()]
    axial = [[x for x in s if x.role is Role.AXIAL_T2] for s in scans]
    sagittal = [s[0] for s in scans]
    assert _share(sum(a[0].reversed_numbers for a in axial), COUNT, REVERSED_AXIAL)
    assert _share(sum(s.reversed_numbers for s in sagittal), COUNT, REVERSED_SAGITTAL)
    assert _share(sum(len(a) == 2 for a in axial), COUNT, SECOND_AXIAL)
    assert {len(s) for s in scans} == {3, 4}


def test_axial_blocks_and_stacks_have_the_real_shares() -> None:
    """In 55 % each disc has its own oblique stack; the others are one stack of parallel planes."""
    tilts = [
        {tuple(p.normal.round(6)) for p in first.planes}
        for _, scans in sessions()
        for first in [next(s for s in scans if s.role is Role.AXIAL_T2)]
    ]
    assert _share(sum(len(t) > 1 for t in tilts), COUNT, GROUPS)


def test_slices_pixels_and_fields_are_those_of_real_series() -> None:
    """Slice counts, pitches and pixel sizes have the medians and ranges of the RSNA 2024 set."""
    sagittal = [s for _, scans in sessions() for s in scans if s.role is not Role.AXIAL_T2]
    counts = [len(s.planes) for s in sagittal]
    assert 15 <= np.median(counts) <= 18
    assert min(counts) >= 11
    assert 4.2 <= np.median([s.pitch for s in sagittal]) <= 4.8
    spacing = [s.planes[0].row_spacing for s in sagittal]
    assert 0.5 <= np.median(spacing) <= 0.72
    assert min(spacing) >= 0.28
    assert max(spacing) <= 1.5
    axial = [s for _, scans in sessions() for s in scans if s.role is Role.AXIAL_T2]
    assert 0.35 <= np.median([s.planes[0].row_spacing for s in axial]) <= 0.6
    assert all(2.5 <= s.thickness <= 6.0 for s in sagittal + axial)
    small = [s for s in sagittal if s.planes[0].rows * s.planes[0].row_spacing <= 201]
    assert _share(len(small), len(sagittal), COVERAGE["small_field"])


def test_fields_of_view_hold_the_levels_unless_they_are_cut() -> None:
    """The share of sagittal T2 series that show all five canal points is that of whole fields."""
    whole = 0
    for patient, (pose, scans) in zip(population(), sessions(), strict=True):
        scan = next(s for s in scans if s.role is Role.SAGITTAL_T2)
        points = [pose.to_lps(patient.point(Condition.SPINAL_CANAL_STENOSIS, lv)) for lv in LEVELS]
        middle = scan.planes[len(scan.planes) // 2]
        whole += all(middle.contains(*middle.to_pixel(p)) for p in points)
    assert whole / COUNT > 1 - COVERAGE["small_field"] - COVERAGE["off_centre"] - 0.03


def test_patients_vary_as_people_do() -> None:
    """Size, lordosis, conus, transitional vertebrae and slips spread over the published ranges."""
    people = population()
    kinds = Counter(p.anomalies.transition for p in people)
    assert _share(COUNT - kinds["none"], COUNT, TRANSITIONAL)
    sizes = np.array([p.scale for p in people])
    assert 0.07 < sizes.std() < 0.1
    angles = [
        np.degrees(np.ptp(np.interp([p.bodies[4].top, p.bodies[9].top], p.curve.s, p.curve.tilt)))
        for p in people
    ]
    assert np.percentile(angles, 5) < 32
    assert np.percentile(angles, 95) > 58
    assert _share(sum(any(abs(b.slip) > 1.4 for b in p.bodies) for p in people), COUNT, 0.2)
    assert any(b.slip < -0.7 for p in people for b in p.bodies)


def test_left_is_left_and_levels_descend_in_every_patient() -> None:
    """Left points have the larger x of their pair, and discs go to the feet one after another."""
    for patient, (pose, _) in zip(population(), sessions(), strict=True):
        for lv in LEVELS:
            for left, right in (
                (
                    Condition.LEFT_NEURAL_FORAMINAL_NARROWING,
                    Condition.RIGHT_NEURAL_FORAMINAL_NARROWING,
                ),
                (Condition.LEFT_SUBARTICULAR_STENOSIS, Condition.RIGHT_SUBARTICULAR_STENOSIS),
            ):
                a, b = (pose.to_lps(patient.point(c, lv)) for c in (left, right))
                assert a[0] > b[0] + 8
        z = [float(pose.to_lps(patient.disc_centre(lv))[2]) for lv in LEVELS]
        assert all(a - b > 15 for a, b in pairwise(z))


def test_bodies_and_discs_never_overlap() -> None:
    """From head to foot every endplate lies below the one before it, fractures included."""
    for patient in population():
        for k, (upper, lower) in enumerate(pairwise(patient.bodies)):
            assert upper.top + 4 < upper.bottom < lower.top
            disc = patient.discs[k]
            assert upper.bottom - 0.01 <= disc.s - disc.height / 2 + 0.01
            assert disc.height > 0


def test_sac_shrinks_with_severity_in_every_build() -> None:
    """In wide canals as in narrow ones the sac is half as large where a stenosis is severe."""
    for seed in range(40):
        areas = []
        for severity in (0.0, 0.3, MODERATE, SEVERE, 1.0):
            patient = _patient(seed, severity)
            areas.append(Sac(patient).area(patient.disc(Level.L3_L4).s))
        assert all(a > b for a, b in pairwise(areas))
        assert areas[3] < 0.55 * areas[0]


def test_canal_points_lie_in_the_sac_and_foramina_between_pedicles() -> None:
    """However narrow and wherever pressed, the canal's point is in the sac, a foramen's outside."""
    for patient in population():
        sac = Sac(patient)
        for k, lv in enumerate(LEVELS):
            disc, body, below = patient.disc(lv), patient.above(lv), patient.bodies[5 + k]
            middle, depth, width = (float(a) for a in sac.at(disc.s))
            assert abs(patient.canal_middle(disc) - middle) < depth
            s, _, u = foramen_centre(body, disc)
            assert u > width
            assert body.pedicle_s + body.pedicle_half_height < s < below.pedicle_s
            assert width - 3 < recess_offset(body) < u


def test_arthrosis_is_of_one_side() -> None:
    """Facets wear on their own side: the two sides of a patient differ."""
    worn = population()[0].anomalies.worn
    assert any(worn(k, Side.LEFT) != worn(k, Side.RIGHT) for k in range(3, 9))
    assert worn(0, Side.LEFT) == 0.0


def test_random_contrasts_keep_air_dark_and_csf_apart_from_nerve() -> None:
    """However random, air gives nothing and the roots stay visible in the CSF."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        plain = signals((Weighting(500, 10), Weighting(4000, 100)), rng, fatty=0.3, jitter=0.1)
        table = randomised(plain, rng, 1.0)
        assert (table[Tissue.AIR] == plain[Tissue.AIR]).all()
        assert (table >= 0).all()
        gap = np.abs(table[Tissue.CSF] - table[Tissue.NERVE])
        assert (gap > 0.29 * plain.max(axis=0)).all()


def test_water_is_brighter_in_stir_than_fat_at_every_field_strength() -> None:
    """The inversion time follows the field: STIR nulls fat at 0.55, 1.5 and 3 T."""
    for strength in (0.55, 1.5, 3.0):
        null = 180 * (strength / 1.5) ** 0.12
        rng = np.random.default_rng(0)
        weightings = (Weighting(4500, 50, null), Weighting(4500, 50))
        table = signals(weightings, rng, fatty=0.5, jitter=0.0, strength=strength)
        assert table[Tissue.FAT, 0] < 0.15 * table[Tissue.FAT, 1]
        assert table[Tissue.CSF, 0] > 4 * table[Tissue.FAT, 0]


def test_chemical_shift_moves_fat_alone() -> None:
    """Fat moves by the asked pixels along the readout, water stays."""
    water, fat = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32)
    water[2, 5], fat[4, 4] = 1, 1
    fat[:, 0] = 1
    moved = shift_fat(water + fat, fat, Artefacts(fat_shift=2.0, readout=1))
    assert moved[2, 5] == moved[4, 6] == 1
    assert moved[4, 4] == 0
    assert (moved[:, :3] == 1).all()  # beyond the edge lies more of the edge
    assert (moved[:, 7] == 0).all()


def test_ghosts_and_cut_lines_lie_along_the_phase_axis() -> None:
    """A point gets ghosts and blur at right angles to the readout, none along it."""
    point = np.zeros((64, 64), np.complex64)
    point[32, 32] = 1
    space = np.fft.fftshift(np.fft.fft2(point)).astype(np.complex64)
    artefacts = Artefacts(readout=1, ghosts=0.3, ghost_cycles=11, filter=0.0, phase_lines=0.7)
    image = np.abs(np.fft.ifft2(np.fft.ifftshift(spoil(space, artefacts))))
    column = np.delete(image[:, 32], 32)
    assert column.max() > 0.05
    assert np.delete(image, 32, axis=1).max() < 1e-4


def _headers(scans: tuple[Scan, ...], seed: int) -> list[Dataset]:
    """The first header of every series, with nothing in the pictures."""
    identity = Identity(seed, StudyOptions(variety="wide", descriptions="plain"))
    firsts = []
    for k, scan in enumerate(scans):
        copy = sum(s.role is scan.role for s in scans[:k])
        slices = [
            Slice(
                p,
                np.zeros((p.rows, p.columns), np.float32),
                identity.instance_uid(scan.role, copy, j),
            )
            for j, p in enumerate(scan.planes[:2])
        ]
        uids = identity.series_uid(scan.role, copy), identity.frame_uid(scan.role, copy)
        volume = Volume(scan.role, *uids, tuple(slices))
        firsts.append(build_datasets(identity, volume, scan, copy)[0])
    return firsts


def test_headers_say_how_each_series_was_scanned() -> None:
    """A second axial is a series of its own; an inverted T1 is no STIR; fields and FS are said."""
    for k, (_, scans) in enumerate(sessions()[:60]):
        headers = _headers(scans, k)
        assert len({ds.SeriesInstanceUID for ds in headers}) == len(scans)
        assert len({ds.SeriesNumber for ds in headers}) == len(scans)
        for ds, scan in zip(headers, scans, strict=True):
            stir = scan.role is Role.SAGITTAL_T2 and scan.weighting.inversion is not None
            words = ds.SeriesDescription.lower()
            assert ("stir" in words or "tirm" in words) == stir
            assert ("t1" in words) == (scan.role is Role.SAGITTAL_T1)
            assert float(ds.MagneticFieldStrength) == scan.strength
            assert ("FS" in ds.ScanOptions) == (scan.weighting.suppression > 0)
            assert ds.InstanceNumber >= scan.first_number


def test_other_scanners_share_no_setting_with_the_usual_ones() -> None:
    """Nothing that is tested on them was ever trained on, and their studies have their own UIDs."""
    usual, options = MACHINES["usual"], StudyOptions(variety="wide", scanners="other")
    for k, patient in enumerate(population()[:40]):
        rng = np.random.default_rng([79, k])
        for scan in draw_wide_scans(rng, patient, draw_wide_pose(rng), options, "ge"):
            times = scan.weighting
            sagittal = scan.role is not Role.AXIAL_T2
            assert scan.strength not in usual.strength
            assert scan.resolution > (usual.sagittal_mm if sagittal else usual.axial_mm)[1]
            assert scan.gamma > usual.gamma[3]
            if times.inversion is None:
                echoes = {
                    Role.SAGITTAL_T1: usual.t1_echo,
                    Role.SAGITTAL_T2: usual.t2_echo,
                    Role.AXIAL_T2: usual.axial_echo,
                }
                assert times.echo > echoes[scan.role][1]
    assert (
        Identity(1, options).study_uid != Identity(1, replace(options, scanners="usual")).study_uid
    )


@cache
def wide(seed: int) -> PhantomStudy:
    return make_study(seed, options=StudyOptions(variety="wide", roles=(Role.AXIAL_T2,)))


def test_same_seed_gives_the_same_study_and_the_plain_one_is_another() -> None:
    """The wide variety is reproducible, and has its own UIDs."""
    again = make_study(21, options=StudyOptions(variety="wide", roles=(Role.AXIAL_T2,)))
    assert again.study_uid == wide(21).study_uid
    for mine, other in zip(again.series, wide(21).series, strict=True):
        for a, b in zip(mine.volume.slices, other.volume.slices, strict=True):
            assert np.array_equal(a.pixels, b.pixels)


def test_pixels_are_stored_values() -> None:
    """Whole numbers from 0 to 4095, with something to see in every slice of every series."""
    for series in wide(21).series:
        for image in series.volume.slices:
            pixels: NDArray[np.float32] = image.pixels
            assert (pixels == np.rint(pixels)).all()
            assert 0 <= pixels.min() <= pixels.max() <= 4095
            assert pixels.std() > 1
