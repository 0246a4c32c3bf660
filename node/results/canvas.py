"""What pages are drawn with: colours, text that fits, the shapes of the grades, bars and rings.

Colours are of Okabe and Ito's colour-blind-safe set; a grade is also told by its shape and word.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from node.results import wording
from node.results.view import View
from node.spine.anatomy import GRADES, Grade
from node.spine.findings import Finding

PAGE = 1024
MARGIN = 12

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

BACKGROUND: Colour = (12, 14, 18)
PANEL: Colour = (24, 28, 34)
BLACK: Colour = (0, 0, 0)
TEXT: Colour = (238, 240, 244)
FAINT: Colour = (168, 176, 188)
WARNING: Colour = (255, 196, 64)
COLOURS: dict[Grade | None, Colour] = {
    Grade.NORMAL_MILD: (86, 180, 233),
    Grade.MODERATE: (240, 228, 66),
    Grade.SEVERE: (255, 110, 40),
    None: (150, 156, 166),
}


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own scalable font (Aileron, CC0)."""
    made = ImageFont.load_default(size)
    assert isinstance(made, ImageFont.FreeTypeFont)  # noqa: S101 - Pillow is built with FreeType
    return made


class Canvas:
    """A dark page to draw on."""

    def __init__(self, size: int = PAGE) -> None:
        self.image = Image.new("RGB", (size, size), BACKGROUND)
        self.draw = ImageDraw.Draw(self.image)

    def text(
        self,
        at: tuple[float, float],
        words: str,
        size: int,
        colour: Colour = TEXT,
        *,
        anchor: str = "la",
        bold: bool = False,
        width: float | None = None,
        halo: bool = False,
    ) -> float:
        """Draw one line, smaller where it would be wider than ``width``; return its width."""
        words = drawable(words)
        while width is not None and size > 9 and font(size).getlength(words) > width:
            size -= 1
        if halo:
            self.draw.text(at, words, BLACK, font(size), anchor, stroke_width=3)
        weight = (1.0 if size > 30 else 0.5) if bold else 0.0
        self.draw.text(at, words, colour, font(size), anchor, stroke_width=weight)
        return float(font(size).getlength(words))

    def paragraphs(self, box: Box, texts: Sequence[str], size: int) -> None:
        """Draw wrapped paragraphs inside a box, smaller until they fit (13 at the least).

        What does not fit even then is left out, and the last line says how much that is.
        """
        left, top, right, bottom = box
        blocks = [wrapped(words, size, right - left) for words in texts]
        while sum(map(len, blocks)) * line_height(size) > bottom - top and size > 13:
            size -= 1
            blocks = [wrapped(words, size, right - left) for words in texts]
        room = int((bottom - top) / line_height(size))
        if sum(map(len, blocks)) > room:
            blocks = _as_many_as_fit(blocks, room)
        for i, line in enumerate(line for block in blocks for line in block):
            at = (left, top + i * line_height(size))
            self.draw.text(at, line, FAINT, font(size))

    def bar(self, box: Box, finding: Finding) -> None:
        """Draw the three class probabilities as one bar: normal/mild, moderate, severe, in percent.

        The reported grade is bright, the others dark; a number stands where there is room for it.
        """
        left, top, right, bottom = box
        percents = wording.percents(finding)
        start = left
        for grade in GRADES:
            end = start + (right - left) * percents[grade] / 100
            if end - start >= 2:
                red, green, blue = COLOURS[grade]
                is_reported = grade is finding.grade
                fill = (red, green, blue) if is_reported else (red // 3, green // 3, blue // 3)
                self.draw.rectangle((start, top, end - 2, bottom), fill=fill)
                if end - start >= 26:
                    at = ((start + end) / 2 - 1, (top + bottom) / 2)
                    ink = BLACK if is_reported else TEXT
                    self.text(at, wording.rounded(percents[grade]), 16, ink, anchor="mm")
            start = end

    def shape(self, at: tuple[float, float], radius: float, grade: Grade | None) -> None:
        """Draw a grade's shape: open circle, triangle, filled diamond; a dash when not assessed."""
        x, y = at
        colour = COLOURS[grade]
        thick = max(2, round(radius / 4.5))
        if grade is Grade.NORMAL_MILD:
            around = (x - radius * 0.8, y - radius * 0.8, x + radius * 0.8, y + radius * 0.8)
            self.draw.ellipse(around, outline=colour, width=thick)
        elif grade is Grade.MODERATE:
            corners = [
                (x, y - radius),
                (x + radius, y + radius * 0.8),
                (x - radius, y + radius * 0.8),
            ]
            self.draw.polygon(corners, fill=colour)
        elif grade is Grade.SEVERE:
            corners = [(x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y)]
            self.draw.polygon(corners, fill=colour)
        else:
            self.draw.rectangle((x - radius * 0.7, y - 2, x + radius * 0.7, y + 2), fill=colour)

    def ring(self, at: tuple[float, float], radius: float, colour: Colour) -> None:
        """Draw a thin ring with a dark rim; what it surrounds stays visible."""
        x, y = at
        for r, ink, width in ((radius + 1.5, BLACK, 5), (radius, colour, 2)):
            self.draw.ellipse((x - r, y - r, x + r, y + r), outline=ink, width=width)

    def view(self, at: tuple[int, int], shown: View) -> None:
        """Paste a picture and write the patient directions at its four edges."""
        left, top = at
        width, height = shown.picture.size
        self.image.paste(shown.picture.convert("RGB"), at)
        places = {
            "left": (left + 8, top + height / 2, "lm"),
            "right": (left + width - 8, top + height / 2, "rm"),
            "top": (left + width / 2, top + 6, "ma"),
            "bottom": (left + width / 2, top + height - 6, "md"),
        }
        for edge, (x, y, anchor) in places.items():
            sides = shown.edges[edge]
            size = 26 if sides in ("L", "R") else 20
            self.text((x, y), sides, size, TEXT, anchor=anchor, halo=True)

    def result(self, box: Box, finding: Finding) -> None:
        """Draw one finding: side letter, shape, grade in words, probability, bar."""
        left, top, right, bottom = box
        self.draw.rectangle(box, fill=PANEL)
        middle = top + (21 if finding.is_assessed else (bottom - top) / 2)
        is_narrow = right - left < 300
        x = left + 10
        if side := letter(finding):
            x += self.text((x, middle), side, 26, TEXT, anchor="lm", bold=True) + 8
        self.shape((x + 12, middle), 12, finding.grade)
        x += 31
        colour = COLOURS[finding.grade]
        if finding.grade is None:
            self.text((x, middle), "Not assessed", 24, colour, anchor="lm", width=right - x - 8)
            return
        certainty = wording.certainty(finding)
        size = 20 if is_narrow else 27
        self.text((x, middle), finding.grade.label, size, colour, anchor="lm", bold=True)
        self.text((right - 10, middle), certainty, 20 if is_narrow else 24, anchor="rm")
        self.bar((left + 10, bottom - 24, right - 10, bottom - 7), finding)


def letter(finding: Finding) -> str:
    """Return a finding's side as the letter on the page, empty for the canal."""
    side = finding.condition.side
    return side.value[0].upper() if side else ""


def drawable(words: str) -> str:
    """Return text in the characters the font has: accents dropped, the rest as ``?``."""
    flat = unicodedata.normalize("NFKD", wording.plain(words))
    kept = (c for c in flat if not unicodedata.combining(c))
    return "".join(c if c.isascii() or c in "·±" else "?" for c in kept)


def wrapped(words: str, size: int, width: float) -> list[str]:
    """Break text into lines no wider than ``width``; a longer word is broken inside."""
    lines = [""]
    for word in drawable(words).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font(size).getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if font(size).getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def line_height(size: int) -> float:
    """Return the distance between lines of a font size, in pixels."""
    return size * 1.3


def _as_many_as_fit(blocks: list[list[str]], room: int) -> list[list[str]]:
    """Return the first paragraphs that leave a line to say how many are missing."""
    kept: list[list[str]] = []
    while sum(map(len, kept)) + len(blocks[len(kept)]) < room:
        kept.append(blocks[len(kept)])
    if not kept:
        return [[*blocks[0][: room - 1], "... (in full in the report)"]]
    return [*kept, [f"... and {len(blocks) - len(kept)} more in the report"]]
