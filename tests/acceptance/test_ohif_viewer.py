"""OHIF itself, in a headless Chromium, on a study that a real node has assessed.

What a reader would see is asked of the page: pixels, words and places, not only screenshots, which
are kept in ``test-artefacts/`` for people.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from playwright.sync_api import Browser

from node.demonstration import SEED, SEVERITIES
from node.phantom import StudyOptions, make_study
from node.results import wording
from node.spine.findings import Finding, StudyFindings
from node.web.ohif import viewer_link
from tests.node_process import NodeProcess, storescu
from tests.ohif_page import OhifPage, browser
from tests.ohif_server import OhifServer, ohif_folder
from tests.orthanc_server import DICOMWEB_PLUGIN, OrthancServer

pytestmark = pytest.mark.timeout(600)  # the first run on a machine fetches 50 MB


@dataclass(frozen=True)
class Shown:
    """A study with its results: the images that were sent, what was found, and where OHIF is."""

    study_uid: str
    sources: dict[str, pydicom.Dataset]
    results: Path
    viewers: dict[str, str]

    @property
    def findings(self) -> list[Finding]:
        told = json.loads((self.results / "findings.json").read_text("utf-8"))
        return [f for f in StudyFindings.from_json(told).findings if f.is_assessed]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """The demonstration's study and its results, in a node and in the Orthanc it delivers to."""
    folder, viewer = tmp_path_factory.mktemp("ohif"), ohif_folder()
    web = f"viewer_dir = {json.dumps(str(viewer))}\n"
    phantom = make_study(SEED, options=StudyOptions(severities=SEVERITIES))
    files = phantom.write(folder / "in")
    with (
        OrthancServer(folder / "pacs", ae_title="PACS", plugins=[DICOMWEB_PLUGIN]) as pacs,
        NodeProcess(folder / "node", [("pacs", "PACS", pacs.dicom_port)], web=web) as node,
        OhifServer(viewer, f"{pacs.url}/dicom-web") as beside,
    ):
        storescu(pacs.dicom_port, folder / "in", called="PACS")
        storescu(node.dicom_port, folder / "in")
        node.wait_until(phantom.study_uid, "done", seconds=180)
        (results,) = (p for p in (folder / "node/data/results").iterdir() if p.is_dir())
        sources = {str(d.SOPInstanceUID): d for d in map(pydicom.dcmread, files)}
        viewers = {"orthanc": beside.url, "node": node.url}
        yield Shown(phantom.study_uid, sources, results, viewers)


@pytest.fixture(scope="module", params=["orthanc", "node"])
def ohif(request: pytest.FixtureRequest, shown: Shown, chromium: Browser) -> OhifPage:
    """OHIF as the link on the study's page opens it, with its data from an Orthanc or the node."""
    page = OhifPage(chromium, request.param)
    page.open(shown.viewers[request.param] + viewer_link(shown.study_uid))
    return page


def test_every_series_is_listed(ohif: OhifPage) -> None:
    """The three series that were sent, and ours by their names and numbers."""
    ohif.measurements(25)
    ohif.shot("opened")

    counted = sorted((number, modality, images) for modality, _, number, images in ohif.series())
    assert counted == [
        *[(2, "MR", 18), (3, "MR", 18), (4, "MR", 40)],
        *[(9901, "SR", 1), (9902, "OT", 6), (9903, "PR", 3)],
    ]
    assert all("NOT VERIFIED" in d for m, d, _, _ in ohif.series() if m != "MR")


def test_the_report_opens_as_25_labelled_points(shown: Shown, ohif: OhifPage) -> None:
    """Level, side, grade and certainty of each finding, in the words of our report."""
    assert ohif.measurements(25) == [label(f) for f in shown.findings]


@pytest.mark.parametrize("part", ["canal", "foraminal", "subarticular"])
def test_a_severe_finding_is_marked_where_it_is(shown: Shown, ohif: OhifPage, part: str) -> None:
    """A click shows the key slice, pixel for pixel, and an arrow on the point with its grade."""
    finding = next(f for f in shown.findings if f"{part}: Severe" in label(f))
    source = shown.sources[str(finding.sop_instance_uid)]

    ohif.jump_to(label(finding))
    ohif.shot(part)

    assert ohif.image_number() == source.InstanceNumber
    on_image = [f for f in shown.findings if f.sop_instance_uid == finding.sop_instance_uid]
    assert sorted(ohif.words()) == sorted(map(label, on_image))
    canvas = ohif.canvas()
    scale, left, top = placed(canvas, source.Rows, source.Columns)
    points = [((f.column or 0) + 0.5, (f.row or 0) + 0.5) for f in on_image]
    expected = np.array(sorted(points)) * scale + (left, top)
    assert ohif.arrow_tips() == pytest.approx(expected, abs=1.0)
    assert likeness(canvas.mean(axis=2), source.pixel_array) > 0.98


def test_the_pages_are_shown_in_colour(shown: Shown, ohif: OhifPage) -> None:
    """The first page is the summary, each colour as it was drawn."""
    page = np.array(Image.open(shown.results / "pages/summary.png").convert("RGB"))

    ohif.open_series("OT")
    ohif.wait_for_image(1)
    ohif.shot("summary")

    canvas = ohif.canvas()
    for colour in range(3):
        assert likeness(canvas[..., colour], page[..., colour]) > 0.98
    orange = (page[..., 0] > 200) & (page[..., 2] < 60)
    seen = (canvas[..., 0] > 200) & (canvas[..., 2] < 60)
    scale, _, _ = placed(canvas, *page.shape[:2])
    assert seen.sum() == pytest.approx(orange.sum() * scale**2, rel=0.15)


def test_nothing_left_the_machine_and_nothing_went_wrong(ohif: OhifPage) -> None:
    """No request to another host, no error of the page, nothing that its policy had to block."""
    assert ohif.elsewhere == []
    assert ohif.troubles == []


def label(finding: Finding) -> str:
    """Return our words for a finding as the viewer's configuration shortens them."""
    text = wording.comment(finding)
    for long, short in {
        "Spinal canal stenosis": "canal",
        "neural foraminal narrowing": "foraminal",
        "subarticular stenosis": "subarticular",
    }.items():
        text = text.replace(long, short)
    return text


def placed(canvas: npt.NDArray[np.uint8], rows: int, columns: int) -> tuple[float, float, float]:
    """Return where an image of square pixels lies that fills a canvas: scale, left, top."""
    height, width = canvas.shape[:2]
    scale = min(width / columns, height / rows)
    return scale, (width - columns * scale) / 2, (height - rows * scale) / 2


def likeness(shown: npt.NDArray[np.generic], image: npt.NDArray[np.generic]) -> float:
    """Return the correlation of what a canvas shows with the image that should be on it."""
    rows, columns = image.shape
    scale, left, top = placed(np.asarray(shown, np.uint8), rows, columns)
    box = (left, top, left + columns * scale, top + rows * scale)
    seen = Image.fromarray(np.asarray(shown, np.float32)).resize((columns, rows), box=box)
    return float(np.corrcoef(np.asarray(seen).ravel(), image.ravel().astype(float))[0, 1])
