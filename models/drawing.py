"""Small drawings for an evaluation page: bars, counts, reliability, images with points."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image, ImageDraw

from models.metrics import Bin, Floats, Ints
from node.spine.anatomy import GRADES
from node.spine.volume import Slice

#: Width and height of a drawing, and of an image.
WIDE, HIGH, TALL = 260, 160, 300

TRUE_COLOUR, FOUND_COLOUR = "#00c853", "#ff1744"


@dataclass(frozen=True)
class Picture:
    """A drawing, as HTML, with its caption."""

    drawing: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    note: str = ""
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    pictures: Sequence[Picture] = field(default_factory=tuple)


def write_page(path: Path, title: str, facts: Sequence[str], sections: Sequence[Section]) -> None:
    """Write one HTML file that needs no other."""
    folder = Path(__file__).parent
    template = Environment(loader=FileSystemLoader(folder), autoescape=True).get_template(
        "page.html"
    )
    html = template.render(title=title, facts=facts, sections=sections)
    path.write_text(html, "utf-8")


def histogram(values: Floats, edges: Sequence[float], caption: str) -> Picture:
    """Bars; what lies beyond the last edge is in the last bar."""
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], edges[0]))
    counts = np.histogram(inside, edges)[0]
    step, top = WIDE / len(counts), max(int(counts.max()), 1)
    parts = []
    for k, count in enumerate(counts):
        high = (HIGH - 40) * count / top
        at = f'x="{k * step:.1f}" y="{HIGH - 20 - high:.1f}"'
        parts.append(f'<rect {at} width="{step - 2:.1f}" height="{high:.1f}" fill="#4472c4"/>')
        middle = k * step + step / 2
        parts.append(_text(middle, HIGH - 24 - high, str(count) if count else ""))
        parts.append(_text(middle, HIGH - 6, f"{edges[k]:g}" + "+" * (k == len(counts) - 1)))
    return Picture(_svg(parts), caption)


def confusion(table: Ints, caption: str) -> Picture:
    """Counts with the truth in rows, shaded by their share of the row."""
    parts = []
    names = ("normal", "moderate", "severe")
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    for i in range(len(GRADES)):
        parts.append(_text(30, 45 + 40 * i, names[i]))
        parts.append(_text(95 + 60 * i, 14, names[i]))
        for j in range(len(GRADES)):
            x, y = 65 + 60 * j, 20 + 40 * i
            fill = f'fill="#4472c4" fill-opacity="{share[i, j]:.2f}"'
            parts.append(f'<rect x="{x}" y="{y}" width="58" height="38" {fill} stroke="#ccc"/>')
            parts.append(_text(x + 29, y + 23, str(table[i, j])))
    return Picture(_svg(parts), caption)


def reliability(bins: Sequence[Bin], caption: str) -> Picture:
    """Accuracy over confidence; on the diagonal a probability is what it says."""
    side = HIGH - 25
    parts = [f'<path d="M30 {side} L{30 + side} 0" stroke="#bbb" fill="none"/>']
    parts += [_text(18, side - side * v + 4, f"{v:g}") for v in (0, 0.5, 1)]
    parts += [_text(30 + side * v, HIGH - 8, f"{v:g}") for v in (0, 0.5, 1)]
    total = max(sum(b["count"] for b in bins), 1)
    for b in bins:
        x, y = 30 + side * b["confidence"], side - side * b["accuracy"]
        radius = 2 + 12 * (b["count"] / total) ** 0.5
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#4472c4" opacity=".7"/>'
        )
    return Picture(_svg(parts), caption)


def image(shown: Slice, marks: Sequence[tuple[float, float, str]], tall: int = TALL) -> str:
    """Return an image with crosses at native ``(column, row, colour)``, as HTML."""
    low, high = np.percentile(shown.pixels[::2, ::2], (1, 99.5))
    grey = np.clip((shown.pixels - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    plane = shown.plane
    scale = tall / (plane.rows * plane.row_spacing)  # pixels of the drawing for a millimetre
    across, down = scale * plane.column_spacing, scale * plane.row_spacing
    size = (max(1, round(plane.columns * across)), tall)
    picture = Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for column, row, colour in marks:
        x, y = (column + 0.5) * across, (row + 0.5) * down
        pen.line((x - 6, y, x + 6, y), fill=colour)
        pen.line((x, y - 6, x, y + 6), fill=colour)
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" height="{tall}">'


def _svg(parts: Sequence[str]) -> str:
    return f'<svg width="{WIDE}" height="{HIGH}">{"".join(parts)}</svg>'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{escape(text)}</text>'
