"""Levels and axial planes drawn on a sagittal picture."""

import numpy as np

from node.results.canvas import FAINT, TEXT, Canvas, font
from node.results.scene import Scene
from node.results.view import View
from node.spine.anatomy import Grade, Level
from node.spine.geometry import Plane

_LINE = (120, 220, 255)


def draw_levels(
    canvas: Canvas,
    at: tuple[int, int],
    located: View,
    scene: Scene,
    *,
    current: Level | None,
    size: int,
) -> None:
    """Mark each level with a ring and its name; the page's own level stands out.

    The ring tells a place, so it has no grade's colour; with no level of the page's own, the
    shape of the level's worst grade stands beside its name.
    """
    width, height = located.picture.size
    for level, point in scene.level_points().items():
        column, row = located.place(point)
        if not (0 <= column < width and 0 <= row < height):
            continue
        x, y = at[0] + column, at[1] + row
        is_current = level is current
        grade = scene.worst(level)
        colour = TEXT if current is None or is_current else FAINT
        canvas.ring((x, y), 5 if current else 7, colour)
        words_size = size + 4 if is_current else size
        room = font(words_size).getlength(level.label) + (46 if current is None else 16)
        # The name stands behind the point, or in front of it where the picture ends.
        start = x + 14 if x + room < at[0] + width else x - room
        end = start + canvas.text(
            (start, y),
            level.label,
            words_size,
            colour,
            anchor="lm",
            bold=is_current or current is None,
            halo=True,
        )
        if current is None and grade in (Grade.MODERATE, Grade.SEVERE):
            canvas.shape((end + 14, y), 10, grade)


def draw_axial_plane(canvas: Canvas, at: tuple[int, int], located: View, axial: Plane) -> None:
    """Draw where an axial slice cuts the sagittal picture, as far as the axial image reaches."""
    width, height = located.picture.size
    plane = located.plane
    along = float(plane.along_row @ axial.normal) * plane.column_spacing
    down = float(plane.along_column @ axial.normal) * plane.row_spacing
    if abs(down) < 1e-6:
        return
    columns = np.arange(width, dtype=np.float64)
    rows = -(axial.distance(plane.origin) + columns * along) / down
    reached = [
        (at[0] + float(c), at[1] + float(r))
        for c, r in zip(columns, rows, strict=True)
        if 0 <= r < height and axial.contains(*axial.to_pixel(plane.to_patient(float(c), float(r))))
    ]
    if len(reached) > 1:
        canvas.draw.line((reached[0], reached[-1]), fill=_LINE, width=2)
