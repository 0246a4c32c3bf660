"""What pages are drawn with: colours, text that fits, the shapes of the grades, bars and rings.

Colours are of Okabe and Ito's colour-blind-safe set; a grade is also told by its shape and word.
"""

import unicodedata
from functools import cache
from math import ceil

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
        outline = {"stroke_width": ceil(size / 12), "stroke_fill": BLACK} if halo else {}
        if bold:
            outline = {"stroke_width": 1 if size > 30 else 0.5, "stroke_fill": colour}
            if halo:
                self.draw.text(
                    at, words, colour, font(size), anchor, stroke_width=3, stroke_fill=BLACK
                )
        self.draw.text(at, words, colour, font(size), anchor, **outline)
        return float(font(size).getlength(words))

    def paragraph(
        self, box: Box, words: str, size: int, colour: Colour = TEXT, *, smallest: int = 13
    ) -> float:
        """Draw wrapped text inside a box, smaller until it fits; return where it ends (y).

        Text that does not fit at the smallest size ends in "..." at a word.
        """
        left, top, right, bottom = box
        lines = wrapped(words, size, right - left)
        while len(lines) * size * 1.3 > bottom - top and size > smallest:
            size -= 1
            lines = wrapped(words, size, right - left)
        room = max(1, int((bottom - top) / (size * 1.3)))
        if len(lines) > room:
            lines = [*lines[: room - 1], _shortened(lines[room - 1], size, right - left)]
        for i, line in enumerate(lines):
            self.draw.text((left, top + i * size * 1.3), line, colour, font(size))
        return top + len(lines) * size * 1.3

    def bar(self, box: Box, finding: Finding) -> None:
        """Draw the three class probabilities as one bar, side by side in their colours."""
        left, top, right, bottom = box
        percents = wording.percents(finding)
        start = left
        for grade in GRADES:
            end = start + (right - left) * percents[grade] / 100
            if end - start >= 1.5:
                colour = COLOURS[grade]
                if grade is not finding.grade:
                    colour = (colour[0] // 2, colour[1] // 2, colour[2] // 2)
                self.draw.rectangle((start, top, end - 1.5, bottom), fill=colour)
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

    def ring(self, at: tuple[float, float], radius: float, grade: Grade | None) -> None:
        """Draw a thin ring with a dark rim; what it surrounds stays visible."""
        x, y = at
        for r, colour, width in ((radius + 1.5, BLACK, 5), (radius, COLOURS[grade], 2)):
            self.draw.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=width)

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

    def result(self, box: Box, finding: Finding, side: str = "") -> None:
        """Draw one finding: side letter, shape, grade in words, probability, bar."""
        left, top, right, bottom = box
        self.draw.rectangle(box, fill=PANEL)
        middle = top + (bottom - top) * (0.36 if finding.is_assessed else 0.5)
        x = left + 10
        if side:
            x += self.text((x, middle), side, 28, TEXT, anchor="lm", bold=True) + 10
        self.shape((x + 13, middle), 13, finding.grade)
        x += 36
        if finding.grade is None:
            self.text(
                (x, middle), "Not assessed", 24, COLOURS[None], anchor="lm", width=right - x - 8
            )
            return
        certainty = wording.certainty(finding)
        room = right - x - 10 - font(24).getlength(certainty) - 10
        colour = COLOURS[finding.grade]
        self.text((x, middle), finding.grade.label, 26, colour, anchor="lm", bold=True, width=room)
        self.text((right - 10, middle), certainty, 24, TEXT, anchor="rm")
        self.bar((left + 10, bottom - 17, right - 10, bottom - 8), finding)


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


def _shortened(line: str, size: int, width: float) -> str:
    while line and font(size).getlength(f"{line} ...") > width:
        line = line.rpartition(" ")[0]
    return f"{line} ..."
