"""Pages and pictures: the right anatomy at the right place, nothing clipped, no identity."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from node.results import canvas as drawing
from node.results import view as views
from node.results.canvas import COLOURS, Canvas, drawable, wrapped
from node.results.scene import models_line
from node.spine.anatomy import GRADES, Condition, ConditionGroup, Grade, Level, Role
from node.spine.findings import ModelUse
from node.spine.geometry import Plane
from node.spine.volume import Slice, Volume
from tests.results_study import MODELS, PATIENT, SmallStudy, small_study

PAGES = ["summary", "l1_l2", "l2_l3", "l3_l4", "l4_l5", "l5_s1"]


@pytest.fixture(scope="module")
def study() -> SmallStudy:
    return small_study()


def volume_of(plane: Plane, pixels: Any, role: Role) -> Volume:
    return Volume(
        role, "1.2", "1.3", (Slice(plane, np.asarray(pixels, dtype=np.float32), "1.2.1"),)
    )


def spot(role: Role, *, is_flipped: bool, is_turned: bool = False) -> tuple[Volume, np.ndarray]:
    """Return a dark slice with one bright pixel, and where that pixel is in the patient."""
    across = np.array([1.0, 0, 0]) if role is Role.AXIAL_T2 else np.array([0, 1.0, 0])
    down = np.array([0, 1.0, 0]) if role is Role.AXIAL_T2 else np.array([0, 0, -1.0])
    if is_flipped:
        across, down = -across, -down
    if is_turned:
        across, down = down, across
    plane = Plane(np.array([-3.0, 5.0, 7.0]), across, down, 1.7, 1.1, 90, 120)
    pixels = np.zeros((90, 120))
    pixels[30, 80] = 1000.0
    return volume_of(plane, pixels, role), plane.to_patient(80, 30)


@pytest.mark.parametrize("role", [Role.SAGITTAL_T2, Role.AXIAL_T2])
@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("is_turned", [False, True])
def test_a_picture_shows_a_point_where_it_says(
    role: Role, *, is_flipped: bool, is_turned: bool
) -> None:
    """However the scanner stored the image: the bright spot is where `place` puts its point."""
    volume, point = spot(role, is_flipped=is_flipped, is_turned=is_turned)

    made = views.view(volume, volume.slices[0], centre=point, mm=0.3, size=(200, 160))
    pixels = np.asarray(made.picture, dtype=float)
    rows, columns = np.indices(pixels.shape)
    middle = (
        (pixels * columns).sum() / pixels.sum(),
        (pixels * rows).sum() / pixels.sum(),
    )

    assert made.place(point) == pytest.approx(middle, abs=0.7)


@pytest.mark.parametrize("is_flipped", [False, True])
def test_letters_come_from_the_geometry(*, is_flipped: bool) -> None:
    """Axial: the patient's right on the left. Sagittal: front on the left, head on top."""
    for role, expected in (
        (Role.AXIAL_T2, {"left": "R", "right": "L", "top": "A", "bottom": "P"}),
        (Role.SAGITTAL_T1, {"left": "A", "right": "P", "top": "H", "bottom": "F"}),
    ):
        volume, _ = spot(role, is_flipped=is_flipped)
        assert views.whole(volume, volume.slices[0], (100, 100)).edges == expected


def test_an_oblique_direction_has_two_letters() -> None:
    """From 30 degrees on the second axis is named, the main one first."""
    assert views.letters(np.array([0.0, 0.8, -0.6])) == "PF"
    assert views.letters(np.array([0.0, 0.97, -0.24])) == "P"
    assert views.letters(np.array([-0.9, 0.1, 0.1])) == "R"


def test_pixels_are_square_on_the_page() -> None:
    """A square in the patient is a square in the picture, whatever the pixel spacing."""
    plane = Plane(np.zeros(3), np.array([0, 1.0, 0]), np.array([0, 0, -1.0]), 2.0, 0.5, 100, 400)
    pixels = np.zeros((100, 400))
    pixels[40:50, 180:220] = 1000.0  # 20 mm x 20 mm
    volume = volume_of(plane, pixels, Role.SAGITTAL_T2)

    made = np.asarray(views.whole(volume, volume.slices[0], (300, 300)).picture) > 127

    assert np.ptp(np.flatnonzero(made.any(axis=0))) == pytest.approx(
        np.ptp(np.flatnonzero(made.any(axis=1))), abs=2
    )


def test_a_frame_moves_inside_the_image() -> None:
    """A point near the rim does not leave half of the picture black."""
    volume, _ = spot(Role.AXIAL_T2, is_flipped=False)
    bright = volume_of(volume.slices[0].plane, np.full((90, 120), 500.0), Role.AXIAL_T2)
    corner = bright.slices[0].plane.to_patient(1, 1)

    made = views.view(bright, bright.slices[0], centre=corner, mm=0.3, size=(150, 150))

    inside = [
        bright.slices[0].plane.contains(*bright.slices[0].plane.to_pixel(p))
        for p in (made.plane.to_patient(0, 0), made.plane.to_patient(149, 149))
    ]
    assert all(inside)


def test_there_is_a_summary_and_a_page_for_each_level(study: SmallStudy) -> None:
    """1024 x 1024 RGB, in page order (SC-12)."""
    pages = study.build().pages

    assert list(pages) == PAGES
    assert {(p.size, p.mode) for p in pages.values()} == {((1024, 1024), "RGB")}


def drawn_texts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[float, ...]]]:
    """Record every text drawn, with its box on the page."""
    seen: list[tuple[str, tuple[float, ...]]] = []
    original = ImageDraw.ImageDraw.text

    def text(self: Any, xy: Any, words: str, *args: Any, **kwargs: Any) -> None:
        font, anchor = args[1], args[2] if len(args) > 2 else "la"
        seen.append((words, self.textbbox(xy, words, font, anchor)))
        original(self, xy, words, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return seen


LONG = "the predicted point lies 4.2 mm on the wrong side of the midline, so it is withheld " * 3


@pytest.mark.parametrize("kind", ["all", "long reasons", "warnings", "nothing", "different slices"])
def test_no_text_leaves_the_page(
    kind: str, study: SmallStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the findings say, every line lies inside the page."""
    found = study.findings
    several = [
        replace(f.not_assessed(f"{f.level}: {LONG}"), warnings=())
        if (kind == "long reasons" and i % 3) or kind == "nothing"
        else replace(f, warnings=(f"{f.level} {f.condition}: {LONG}",))
        if kind == "warnings"
        else f
        for i, f in enumerate(found.findings)
    ]
    if kind == "different slices":
        axial = study.volumes[Role.AXIAL_T2].slices
        several = [
            replace(f, sop_instance_uid=axial[0].sop_instance_uid)
            if f.condition is Condition.LEFT_SUBARTICULAR_STENOSIS
            else f
            for f in several
        ]
    seen = drawn_texts(monkeypatch)

    study.build(study.with_findings(*several))

    assert len(seen) > 50
    for words, (left, top, right, bottom) in seen:
        assert left >= 0, words
        assert top >= 0, words
        assert right <= 1024, words
        assert bottom <= 1024, words


def test_no_identity_is_drawn(study: SmallStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, identifier, dates, accession number: none is burnt in (SC-07)."""
    seen = drawn_texts(monkeypatch)

    study.build()

    everything = " ".join(words for words, _ in seen)
    for value in PATIENT.values():
        if len(value) > 2:
            assert value not in everything
    assert "NOT VERIFIED" in everything


def test_every_page_says_what_it_is(study: SmallStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disclaimer, node and model versions on each of the six pages (SC-08)."""
    seen = [words for words, _ in drawn_texts_of(study, monkeypatch)]

    assert seen.count("AI RESULT - NOT VERIFIED - NOT FOR CLINICAL USE") == 6
    footer = "lumbar-node 0.1.0 · models: instance 0.1.0, coordinate 0.1.0, severity 0.1.0"
    assert seen.count(footer) == 6


def drawn_texts_of(
    study: SmallStudy, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, tuple[float, ...]]]:
    seen = drawn_texts(monkeypatch)
    study.build()
    return seen


def test_a_level_page_tells_each_grade_in_words(
    study: SmallStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colour is never the only carrier of a grade."""
    seen = [words for words, _ in drawn_texts_of(study, monkeypatch)]
    counts: Mapping[str, int] = {
        f.grade.label: sum(g.grade is f.grade for g in study.findings.findings)
        for f in study.findings.findings
        if f.grade
    }

    for label, count in counts.items():
        assert seen.count(label) >= 2 * count  # once in the grid, once on the level's page


def test_a_mirrored_image_gives_the_same_picture() -> None:
    """Stored from the other side, the same anatomy is drawn at the same place."""
    for role, volume in small_study().volumes.items():
        shown = volume.slices[0]
        plane, smooth = shown.plane, np.add.outer(np.arange(110.0), np.arange(130.0))
        flipped = Plane(
            plane.to_patient(plane.columns - 1, plane.rows - 1),
            -plane.along_row,
            -plane.along_column,
            plane.row_spacing,
            plane.column_spacing,
            plane.rows,
            plane.columns,
        )
        pictures = []
        for one in (volume_of(plane, smooth, role), volume_of(flipped, smooth[::-1, ::-1], role)):
            made = views.whole(one, one.slices[0], (200, 200))
            pictures.append(np.asarray(made.picture, dtype=int))
        assert np.abs(pictures[0] - pictures[1]).max() <= 5


def test_shapes_differ_without_colour() -> None:
    """Circle, triangle, diamond and dash are four different pictures in gray."""
    pictures = []
    for grade in (*GRADES, None):
        canvas = Canvas(40)
        canvas.shape((20, 20), 14, grade)
        pictures.append(np.asarray(canvas.image.convert("L"), dtype=int) > 60)

    for i, one in enumerate(pictures):
        for other in pictures[i + 1 :]:
            assert (one != other).sum() > 50


def test_a_ring_hides_nothing_inside() -> None:
    """Only its rim is painted; the tissue at the predicted point stays as it was."""
    canvas = Canvas(100)
    canvas.image.paste(Image.new("RGB", (100, 100), (77, 77, 77)))
    canvas.ring((50, 50), 22, COLOURS[Grade.SEVERE])

    inside = np.asarray(canvas.image)[38:63, 38:63]
    assert (inside == 77).all()


def test_text_keeps_to_the_characters_of_the_font() -> None:
    """Accents are dropped, other scripts become question marks; nothing is a box."""
    assert drawable("Zürich · 山\n5 mm") == "Zurich · ? 5 mm"


def test_wrapping_breaks_even_a_word_without_spaces() -> None:
    """A long file name cannot leave its panel."""
    lines = wrapped("x" * 200, 20, 150)

    assert len(lines) > 5
    assert "".join(lines) == "x" * 200
    assert all(drawing.font(20).getlength(line) <= 150 for line in lines)


def test_models_are_named_in_few_words() -> None:
    """What a stage's models share is said once, what differs is said in full."""
    newer = tuple(
        ModelUse(m.name, "0.2.0", m.sha256, m.provider) if m.name == "severity_canal" else m
        for m in MODELS
    )

    assert models_line(MODELS) == "models: instance 0.1.0, coordinate 0.1.0, severity 0.1.0"
    assert "severity 0.2.0 (canal)" in models_line(newer)
    assert models_line(()) == "no model ran"


def test_a_lone_series_still_gives_pages(study: SmallStudy) -> None:
    """Canal only: the other panels say why they are empty."""
    only = SmallStudy(
        study.headers,
        {Role.SAGITTAL_T2: study.volumes[Role.SAGITTAL_T2]},
        study.with_findings(
            *(
                replace(f, sop_instance_uid=None).not_assessed("no such series")
                for f in study.findings.findings
                if f.condition.group is not ConditionGroup.CANAL
            )
        ),
    )

    assert list(only.build().pages) == PAGES


def test_a_study_of_axials_only_says_that_levels_cannot_be_shown(
    study: SmallStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sagittal, no locator: the page says so."""
    axials = SmallStudy(
        study.headers,
        {Role.AXIAL_T2: study.volumes[Role.AXIAL_T2]},
        study.with_findings(
            *(
                replace(f, sop_instance_uid=None).not_assessed("no such series")
                for f in study.findings.findings
                if f.condition.group is not ConditionGroup.SUBARTICULAR
            )
        ),
    )
    seen = " ".join(words for words, _ in drawn_texts_of(axials, monkeypatch))

    assert seen.count("No sagittal series") == 6
    assert Level.L1_L2.label in seen
