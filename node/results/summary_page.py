"""The summary: five levels by five conditions on one grid, beside the sagittal with all levels.

The columns run as in an axial image: the patient's right is on the left.
"""

from collections import Counter

from PIL import Image

from node.results import wording
from node.results.canvas import BLACK, COLOURS, FAINT, MARGIN, PAGE, PANEL, Canvas
from node.results.locator import draw_levels
from node.results.scene import FOOTER, Scene, Source
from node.spine.anatomy import GRADES, Condition, Grade, Level
from node.spine.findings import Finding

COLUMNS: tuple[tuple[Condition, str, str], ...] = (
    (Condition.RIGHT_NEURAL_FORAMINAL_NARROWING, "R", "foramen"),
    (Condition.RIGHT_SUBARTICULAR_STENOSIS, "R", "subarticular"),
    (Condition.SPINAL_CANAL_STENOSIS, "", "canal"),
    (Condition.LEFT_SUBARTICULAR_STENOSIS, "L", "subarticular"),
    (Condition.LEFT_NEURAL_FORAMINAL_NARROWING, "L", "foramen"),
)
PICTURE = (MARGIN, 72, 372, 916)
GRID_LEFT, GRID_TOP = 396, 96  # lower than the bar that OHIF lays over the top of a page
LEVEL_WIDTH, CELL_WIDTH, CELL_HEIGHT, HEAD_HEIGHT = 76, 108, 122, 58


ADVICE = (
    f"{wording.NUMBERING} Percent: the model's probability of the grade shown. Columns as in an "
    "axial image: patient right on the left. Shapes on the sagittal: the level's worst grade."
)


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
        canvas.paragraphs((x + 24, y + 60, x + width - 24, y + height), [words], 22)
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
    words = finding.grade.label if finding.grade else "Not assessed"
    is_abnormal = finding.grade in (Grade.MODERATE, Grade.SEVERE)
    size = 20 if is_abnormal else 19
    canvas.shape((middle, top + 30), 16 if is_abnormal else 14, finding.grade)
    width = CELL_WIDTH - 8
    canvas.text((middle, top + 66), words, size, colour, anchor="mm", bold=is_abnormal, width=width)
    if finding.is_assessed:
        canvas.text((middle, top + 95), wording.certainty(finding), 20, anchor="mm")


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
    bottom = PAGE - FOOTER - 8
    right = PAGE - MARGIN
    canvas.paragraphs((GRID_LEFT, top + 40, right, bottom - 80), _reasons(scene), 19)
    canvas.paragraphs((GRID_LEFT, bottom - 72, right, bottom), [ADVICE], 18)


def _reasons(scene: Scene) -> list[str]:
    """Return each distinct reason and warning once, with how many findings it covers."""
    findings = scene.findings.findings
    reasons = Counter(
        # The same at several levels is one line; each level's page names its own.
        (f.reason or "no reason given").replace(f"{f.level.label} ", "level ")
        for f in findings
        if not f.is_assessed
    )
    warnings = Counter(words for f in findings if f.is_assessed for words in f.warnings)
    return [
        *(f"{count} not assessed: {reason}" for reason, count in reasons.items()),
        *(f"{count} with a warning: {warning}" for warning, count in warnings.items()),
    ]
