"""The summary: five levels by five conditions on one grid, beside the sagittal with all levels.

The columns run as in an axial image: the patient's right is on the left.
"""

from PIL import Image

from node.results import wording
from node.results.canvas import BLACK, COLOURS, FAINT, MARGIN, PAGE, PANEL, Canvas
from node.results.locator import draw_levels
from node.results.scene import FOOTER, Scene, Source
from node.spine.anatomy import GRADES, Condition, Level
from node.spine.findings import Finding

COLUMNS: tuple[tuple[Condition, str, str], ...] = (
    (Condition.RIGHT_NEURAL_FORAMINAL_NARROWING, "R", "foramen"),
    (Condition.RIGHT_SUBARTICULAR_STENOSIS, "R", "subarticular"),
    (Condition.SPINAL_CANAL_STENOSIS, "", "canal"),
    (Condition.LEFT_SUBARTICULAR_STENOSIS, "L", "subarticular"),
    (Condition.LEFT_NEURAL_FORAMINAL_NARROWING, "L", "foramen"),
)
PICTURE = (MARGIN, 72, 372, 916)
GRID_LEFT, GRID_TOP = 396, 72
LEVEL_WIDTH, CELL_WIDTH, CELL_HEIGHT, HEAD_HEIGHT = 76, 108, 106, 58


def draw(scene: Scene) -> tuple[Image.Image, tuple[Source, ...]]:
    """Draw the summary page; return it and the source images on it."""
    canvas = Canvas()
    scene.frame(canvas, "Lumbar spine")
    sources = _picture(canvas, scene)
    _grid(canvas, scene)
    _notes(canvas, scene)
    return canvas.image, sources


def _picture(canvas: Canvas, scene: Scene) -> tuple[Source, ...]:
    x, y, width, height = PICTURE
    canvas.draw.rectangle((x, y, x + width, y + height), fill=BLACK)
    located = scene.locator(None, (width, height))
    if located is None:
        words = "No sagittal series to show the levels on."
        canvas.paragraph((x + 24, y + 60, x + width - 24, y + height), words, 22, FAINT)
        return ()
    canvas.view((x, y), located)
    draw_levels(canvas, (x, y), located, scene, current=None, size=22)
    canvas.text((x + 8, y + 8), scene.where(located.slice), 17, FAINT, halo=True)
    return ((located.slice.sop_instance_uid, located.slice.frame_number),)


def _grid(canvas: Canvas, scene: Scene) -> None:
    for i, (_, side, name) in enumerate(COLUMNS):
        x = GRID_LEFT + LEVEL_WIDTH + (i + 0.5) * CELL_WIDTH
        if side:
            canvas.text((x, GRID_TOP + 18), side, 24, anchor="mm", bold=True)
        canvas.text((x, GRID_TOP + 42), name, 19, anchor="mm", width=CELL_WIDTH - 6)
    for row, level in enumerate(Level):
        top = GRID_TOP + HEAD_HEIGHT + row * CELL_HEIGHT
        canvas.text((GRID_LEFT, top + CELL_HEIGHT / 2 - 2), level.label, 28, anchor="lm", bold=True)
        for i, (condition, _, _) in enumerate(COLUMNS):
            left = GRID_LEFT + LEVEL_WIDTH + i * CELL_WIDTH
            _cell(canvas, left, top, scene.findings.finding(condition, level))


def _cell(canvas: Canvas, left: float, top: float, finding: Finding) -> None:
    right, bottom = left + CELL_WIDTH - 4, top + CELL_HEIGHT - 4
    middle = (left + right) / 2
    colour = COLOURS[finding.grade]
    tint = tuple(int(b + (c - b) * 0.14) for b, c in zip(PANEL, colour, strict=True))
    canvas.draw.rectangle((left, top, right, bottom), fill=tint if finding.grade else PANEL)
    canvas.shape((middle, top + 24), 14, finding.grade)
    words = finding.grade.label if finding.grade else "Not assessed"
    width = CELL_WIDTH - 10
    canvas.text((middle, top + 56), words, 20, colour, anchor="mm", bold=True, width=width)
    if finding.is_assessed:
        canvas.text((middle, top + 83), wording.certainty(finding), 20, anchor="mm")


def _notes(canvas: Canvas, scene: Scene) -> None:
    """Write counts with their shapes, then what was not assessed and why, then how to read it."""
    top = GRID_TOP + HEAD_HEIGHT + 5 * CELL_HEIGHT + 12
    x = float(GRID_LEFT)
    grades = (*reversed(GRADES), None)
    for grade in grades:
        count = sum(f.grade is grade for f in scene.findings.findings)
        words = f"{count} {grade.label.lower() if grade else 'not assessed'}"
        canvas.shape((x + 10, top + 14), 9, grade)
        x += 28 + canvas.text((x + 26, top + 14), words, 19, anchor="lm") + 22
    box = (GRID_LEFT, top + 40, PAGE - MARGIN, PAGE - FOOTER - 8)
    y = box[1]
    for words in _reasons(scene):
        y = canvas.paragraph((box[0], y, box[2], box[3] - 72), words, 19, FAINT) + 4
    advice = f"{wording.NUMBERING} Probability is the model's own. Patient right is on the left."
    canvas.paragraph((box[0], box[3] - 64, box[2], box[3]), advice, 18, FAINT)


def _reasons(scene: Scene) -> list[str]:
    """Return each distinct reason once, with how many findings it covers, then the warnings."""
    counts: dict[str, int] = {}
    for finding in scene.findings.findings:
        if not finding.is_assessed:
            reason = finding.reason or "no reason given"
            counts[reason] = counts.get(reason, 0) + 1
    lines = [f"{count} not assessed: {reason}" for reason, count in counts.items()]
    warned = [f for f in scene.findings.findings if f.is_assessed]
    return lines + [f"{wording.name(f)}: {words}" for f in warned for words in f.warnings]
