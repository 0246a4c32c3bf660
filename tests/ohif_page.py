"""What a reader sees in OHIF: the page in a headless Chromium (Debian package ``chromium``)."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Playwright,
    sync_playwright,
)

from tests.waiting import wait_for

#: Screenshots, kept for people; not in git.
ARTEFACTS = Path(__file__).parents[1] / "test-artefacts"
CHROMIUM = "/usr/bin/chromium"
OPTIONS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # WebGL without a graphics card.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    # Nothing but this machine has a name or an address.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
SECONDS = 120.0


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a headless Chromium; a start that fails is tried once more."""
    with sync_playwright() as play:
        started = _launch(play)
        yield started
        started.close()


def _launch(play: Playwright) -> Browser:
    try:
        return play.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
    except Error:
        return play.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)


class OhifPage:
    """One page with OHIF, and everything that went wrong on it.

    Parameters
    ----------
    chromium : Browser
    name : str
        Begins the names of the screenshots.

    Attributes
    ----------
    elsewhere : list of str
        Requests to another host than this one.
    troubles : list of str
        Errors of the page and of its requests; what its security policy blocked is one, too.
    """

    def __init__(self, chromium: Browser, name: str) -> None:
        self._name = name
        self.elsewhere: list[str] = []
        self.troubles: list[str] = []
        context = chromium.new_context(viewport={"width": 1600, "height": 1000})
        context.set_default_timeout(SECONDS * 1000)
        self.page: Page = context.new_page()
        self.page.on("request", lambda request: self._note_request(request.url))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", self._note_error)

    def _note_error(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.troubles.append(said.text)

    def _note_request(self, url: str) -> None:
        if url.startswith(("http:", "https:", "ws")) and "//127.0.0.1:" not in url:
            self.elsewhere.append(url)

    def open(self, url: str) -> None:
        """Go to OHIF, wait for the first image, and put its notice away."""
        self.page.goto(url)
        self._part("confirm-and-hide-button").click()
        wait_for(self._has_picture, seconds=SECONDS, what="the first image")

    def series(self) -> list[tuple[str, str, int, int]]:
        """Return (modality, description, number, images) of each series in the study browser."""
        found = []
        for card in self._cards().all():
            modality, description, number, images = card.inner_text().split("\n")
            found.append((modality, description, int(number.removeprefix("S:")), int(images)))
        return found

    def open_series(self, modality: str, description: str = "") -> None:
        """Put a series into the viewport, as a reader does: by a double click."""
        card = self._cards().filter(has_text=modality).filter(has_text=description)
        card.first.dblclick()

    def measurements(self, count: int) -> list[str]:
        """Open the list of measurements, wait until it has so many, and return their labels."""
        if not self._part("trackedMeasurements-panel").is_visible():
            self._part("trackedMeasurements-btn").click()
            self._settle()
        titles = self._part("data-row-title")
        wait_for(lambda: titles.count() >= count, seconds=SECONDS, what=f"{count} measurements")
        return titles.all_inner_texts()

    def jump_to(self, label: str) -> None:
        """Click a measurement in the list and wait until its words are on the image."""
        self._part("data-row-title").filter(has_text=label).click()
        wait_for(lambda: label in self.words(), seconds=SECONDS, what=f"{label!r} on the image")

    def words(self) -> list[str]:
        """Return what is written on the image by measurements."""
        return [t for t in self._part("viewport-pane").locator("svg text").all_text_contents() if t]

    def arrow_tips(self) -> npt.NDArray[np.float64]:
        """Return where the arrows on the image point to: (arrows, 2), x and y on the canvas."""
        # The shaft and both strokes of the head end at the tip; a label's leader is dashed.
        strokes = self._part("viewport-pane").locator("svg.svg-layer line:not([stroke-dasharray])")
        tips = strokes.evaluate_all("ls => ls.map(l => [l.x2.baseVal.value, l.y2.baseVal.value])")
        return np.unique(np.array(tips, dtype=float).reshape(-1, 2).round(3), axis=0)

    def wait_for_image(self, number: int) -> None:
        """Wait until an image with that Instance Number is in the viewport and is painted."""
        wait_for(lambda: self.image_number() == number, seconds=SECONDS, what=f"image {number}")

    def image_number(self) -> int:
        """Return the Instance Number that OHIF writes into the corner of the image."""
        told = self._part("viewport-overlay-bottom-right").inner_text()
        return int(told.removeprefix("I:").split("(")[0])

    def canvas(self) -> npt.NDArray[np.uint8]:
        """Return the pixels of the viewport, without what lies over them: (rows, columns, 3)."""
        url = self.page.locator("canvas.cornerstone-canvas").first.evaluate("c => c.toDataURL()")
        png = base64.b64decode(str(url).partition(",")[2])
        return np.array(Image.open(io.BytesIO(png)).convert("RGB"))

    def shot(self, name: str) -> None:
        """Keep a screenshot."""
        self._settle()
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"ohif-{self._name}-{name}.png")

    def _settle(self) -> None:
        """Wait until the image is painted in the size that its place has now."""
        canvas = self.page.locator("canvas.cornerstone-canvas").first
        is_fitting = "c => c.width === c.clientWidth && c.height === c.clientHeight"
        wait_for(lambda: canvas.evaluate(is_fitting), seconds=SECONDS, what="a settled page")

    def _has_picture(self) -> bool:
        is_there = self.page.locator("canvas.cornerstone-canvas").count() > 0
        return is_there and float(self.canvas().std()) > 10

    def _cards(self) -> Locator:
        return self.page.locator('[data-cy^="study-browser-thumbnail"]')

    def _part(self, name: str) -> Locator:
        """Find a part of the page by OHIF's own test identifier."""
        return self.page.locator(f'[data-cy="{name}"]')
