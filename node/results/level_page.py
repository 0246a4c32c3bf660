"""One level on one page: the key slices large, each with its result below it.

As in an axial image, the patient's right is on the left of the page.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from node.results.canvas import (
    BLACK,
    COLOURS,
    FAINT,
    TEXT,
    Box,
    Canvas,
    letter,
    line_height,
    wrapped,
)
from node.results.locator import draw_axial_plane, draw_levels
from node.results.scene import Scene, Source
from node.results.view import View, view
from node.spine.anatomy import ConditionGroup, Level, Role, Side
from node.spine.findings import Finding
from node.spine.geometry import Vector
from node.spine.volume import Slice, Volume

RING_MM = 4.5
TITLE = 28
RESULT = 66

#: Left, top, width, height of each panel, its title and result included.
Place = tuple[int, int, int, int]
CANAL: Place = (12, 68, 495, 522)
AXIAL: Place = (517, 68, 495, 522)
RIGHT_FORAMEN: Place = (12, 600, 328, 392)
LEFT_FORAMEN: Place = (348, 600, 328, 392)
LOCATOR: Place = (684, 600, 328, 392)

NAMES = {
    Role.SAGITTAL_T1: "sag T1",
    Role.SAGITTAL_T2: "sag T2/STIR",
    Role.AXIAL_T2: "axial T2",
}


def draw(scene: Scene, level: Level) -> tuple[Image.Image, tuple[Source, ...]]:
    """Draw a level's page; return it and the source images on it."""
    page = _LevelPage(scene, level)
    scene.frame(page.canvas, level.label)
    (canal,) = scene.at(level, ConditionGroup.CANAL)
    left_foramen, right_foramen = scene.at(level, ConditionGroup.FORAMINAL)
    left_recess, right_recess = scene.at(level, ConditionGroup.SUBARTICULAR)
    page.panel(CANAL, "Spinal canal", [canal], 0.2)
    page.recesses(AXIAL, right_recess, left_recess)
    page.panel(RIGHT_FORAMEN, "Right foramen", [right_foramen], 0.25)
    page.panel(LEFT_FORAMEN, "Left foramen", [left_foramen], 0.25)
    page.locator(LOCATOR)
    return page.canvas.image, tuple(dict.fromkeys(page.sources))


class _LevelPage:
    def __init__(self, scene: Scene, level: Level) -> None:
        self.canvas = Canvas()
        self.scene = scene
        self.level = level
        self.sources: list[Source] = []
        self.axial_slices: list[Slice] = []

    def recesses(self, place: Place, right: Finding, left: Finding) -> None:
        """Draw both subarticular findings: in one picture, or in two when their slices differ."""
        slices = [found[1] for f in (right, left) if (found := self.scene.slice_of(f))]
        self.axial_slices = list({(s.sop_instance_uid, s.frame_number): s for s in slices}.values())
        if len(self.axial_slices) < 2:
            self.panel(place, "Subarticular zones", [right, left], 0.2)
            return
        x, y, width, height = place
        half = (width - 7) // 2
        self.panel((x, y, half, height), "R subarticular", [right], 0.2)
        self.panel((x + width - half, y, half, height), "L subarticular", [left], 0.2)

    def panel(self, place: Place, title: str, findings: Sequence[Finding], mm: float) -> None:
        """Draw one picture with the rings of its findings, and their results below it."""
        x, y, width, height = place
        size = (width, height - TITLE - RESULT)
        shown = next((s for f in findings if (s := self.scene.slice_of(f))), None)
        self._title(place, title, shown)
        self.canvas.draw.rectangle((x, y + TITLE, x + width - 1, y + TITLE + size[1]), fill=BLACK)
        if shown is not None:
            self._picture((x, y + TITLE), shown, findings, mm, size)
        self._results(place, findings)
        picture = (x, y + TITLE, x + width, y + height - RESULT)
        self._notes(picture, findings, is_over=shown is not None)

    def _results(self, place: Place, findings: Sequence[Finding]) -> None:
        x, y, width, height = place
        gap = 4
        each = (width - gap * (len(findings) - 1)) / len(findings)
        for i, finding in enumerate(findings):
            left = x + i * (each + gap)
            self.canvas.result((left, y + height - RESULT, left + each - 1, y + height), finding)

    def locator(self, place: Place) -> None:
        """Draw the sagittal with all levels and the planes of this page's axial slices."""
        x, y, width, height = place
        title = "Levels, axial plane" if self.axial_slices else "Levels"
        self.canvas.text((x, y + TITLE / 2), title, 20, anchor="lm", bold=True)
        located = self.scene.locator(self.level, (width, height - TITLE))
        if located is None:
            words = "No sagittal series to show the levels on."
            self.canvas.draw.rectangle((x, y + TITLE, x + width, y + height), fill=BLACK)
            self.canvas.paragraphs((x + 16, y + 60, x + width - 16, y + height), [words], 20)
            return
        at = (x, y + TITLE)
        self._where(place, located.slice, "")
        self.canvas.view(at, located)
        for axial in self.axial_slices:
            draw_axial_plane(self.canvas, at, located, axial.plane)
        draw_levels(self.canvas, at, located, self.scene, current=self.level, size=17)
        self.sources.append((located.slice.sop_instance_uid, located.slice.frame_number))

    def _picture(
        self,
        at: tuple[int, int],
        shown: tuple[Volume, Slice],
        findings: Sequence[Finding],
        mm: float,
        size: tuple[int, int],
    ) -> None:
        volume, image = shown
        points = {f.key: p for f in findings if (p := _point(f, image)) is not None}
        centre = np.mean(list(points.values()), axis=0) if points else image.plane.centre
        made = view(volume, image, centre=centre, mm=mm, size=size)
        self.canvas.view(at, made)
        self.sources.append((image.sop_instance_uid, image.frame_number))
        for finding in findings:
            if finding.is_assessed and finding.key in points:
                self._ring(at, made, finding, points[finding.key], RING_MM / mm)

    def _ring(
        self, at: tuple[int, int], made: View, finding: Finding, point: Vector, radius: float
    ) -> None:
        column, row = made.place(point)
        x, y = at[0] + column, at[1] + row
        colour = COLOURS[finding.grade]
        self.canvas.ring((x, y), radius, colour)
        if (
            side := finding.condition.side
        ) and finding.condition.group is ConditionGroup.SUBARTICULAR:
            outwards = -1 if side is Side.RIGHT else 1
            self.canvas.text(
                (x + outwards * (radius + 12), y),
                letter(finding),
                22,
                colour,
                anchor="mm",
                halo=True,
            )

    def _title(self, place: Place, title: str, shown: tuple[Volume, Slice] | None) -> None:
        x, y, _, _ = place
        self.canvas.text((x, y + TITLE / 2), title, 20, TEXT, anchor="lm", bold=True)
        if shown is not None:
            self._where(place, shown[1], NAMES[shown[0].role])

    def _where(self, place: Place, shown: Slice, name: str) -> None:
        x, y, width, _ = place
        words = (
            f"{name} · {self.scene.where(shown)}"
            if name and width > 300
            else self.scene.where(shown)
        )
        self.canvas.text((x + width, y + TITLE / 2), words, 17, FAINT, anchor="rm")

    def _notes(self, box: Box, findings: Sequence[Finding], *, is_over: bool) -> None:
        """Write reasons and warnings: in the empty panel, or at the picture's foot."""
        left, top, right, bottom = box
        each = (right - left) / len(findings)
        notes = [
            (left + i * each, left + (i + 1) * each, note)
            for i, finding in enumerate(findings)
            if (note := _note(finding))
        ]
        if len(notes) == len(findings) and len({note for _, _, note in notes}) == 1:
            notes = [(left, right, notes[0][2])]
        for start, end, note in notes:
            inner = end - start - 28
            start_y = top + 60
            if is_over:
                needed = len(wrapped(note, 19, inner)) * line_height(19) + 16
                start_y = bottom - min(needed, (bottom - top) / 2)
                self.canvas.draw.rectangle((start, start_y, end - 1, bottom - 1), fill=BLACK)
            at = (start + 14, start_y + 8, start + 14 + inner, bottom)
            self.canvas.paragraphs(at, [note], 19 if is_over else 21)


def _note(finding: Finding) -> str:
    """Return why a finding is not assessed or what to know about it, if anything."""
    if not finding.is_assessed:
        return f"Not assessed: {finding.reason or 'no reason given'}"
    return f"Warning: {'; '.join(finding.warnings)}" if finding.warnings else ""


def _point(finding: Finding, shown: Slice) -> Vector | None:
    """Return a finding's patient point on the slice shown, or None when it lies on another."""
    is_here = (finding.sop_instance_uid, finding.frame_number) == (
        shown.sop_instance_uid,
        shown.frame_number,
    )
    if not is_here or finding.column is None or finding.row is None:
        return None
    return shown.plane.to_patient(finding.column, finding.row)
