"""OHIF itself, in a headless Chromium, on a study that a real node has assessed.

What a reader would see is asked of the page: pixels, words and places, not only screenshots, which
are kept in ``test-artefacts/`` for people.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from playwright.sync_api import Browser
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from node.config import Destination
from node.demonstration import SEED, SEVERITIES
from node.dicom import sender
from node.phantom import StudyOptions, make_study
from node.results import wording
from node.spine.findings import Finding, StudyFindings
from node.web.ohif import viewer_link
from tests.node_process import NodeProcess
from tests.ohif_page import OhifPage, browser
from tests.ohif_server import OhifServer, ohif_folder
from tests.orthanc_server import DICOMWEB_PLUGIN, OrthancServer
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(600)  # the first run on a machine fetches 50 MB


@dataclass(frozen=True)
class Hospital:
    """A node and the Orthanc it delivers to; OHIF shows what each of them holds."""

    folder: Path
    node: NodeProcess
    pacs: OrthancServer
    viewers: dict[str, str]

    def send(self, images: Path) -> None:
        """Send images to both, as the scanner would."""
        files = sorted(images.rglob("*.dcm"))
        for title, port in (("PACS", self.pacs.dicom_port), ("LUMBAR", self.node.dicom_port)):
            place = Destination(name="peer", host="127.0.0.1", port=port, ae_title=title)
            sender.send(files, place, "SCANNER")

    def results(self, study_uid: str) -> Path:
        """Wait for the end of a study's present job and return where its results lie."""
        told = self.node.wait_until(study_uid, "done", seconds=180)
        name = sha256(told["job_id"].encode()).hexdigest()[:32]
        return self.folder / "node/data/results" / name

    def open(self, chromium: Browser, holder: str, study_uid: str) -> OhifPage:
        """Open OHIF as the link on the study's page does, with the data of one of the two."""
        page = OhifPage(chromium, holder)
        page.open(self.viewers[holder] + viewer_link(study_uid))
        return page


@dataclass(frozen=True)
class Shown:
    """A study with its results: the images that were sent and what was found in them."""

    study_uid: str
    sources: dict[str, pydicom.Dataset]
    results: Path

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
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """Everything runs on loopback."""
    folder, viewer = tmp_path_factory.mktemp("ohif"), ohif_folder()
    web = f"viewer_dir = {json.dumps(str(viewer))}"
    with (
        OrthancServer(folder / "pacs", ae_title="PACS", plugins=[DICOMWEB_PLUGIN]) as pacs,
        NodeProcess(folder / "node", [("pacs", "PACS", pacs.dicom_port)], web=web) as node,
        OhifServer(viewer, f"{pacs.url}/dicom-web") as beside,
    ):
        yield Hospital(folder, node, pacs, {"orthanc": beside.url, "node": node.url})


@pytest.fixture(scope="module")
def shown(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """The demonstration's study; two of its series are compressed, which OHIF undoes in workers."""
    images = tmp_path_factory.mktemp("images")
    phantom = make_study(SEED, options=StudyOptions(severities=SEVERITIES))
    sources = {}
    for path in phantom.write(images):
        source = pydicom.dcmread(path)
        sources[str(source.SOPInstanceUID)] = pydicom.dcmread(path)
        if syntax := {2: JPEGLSLossless, 3: JPEG2000Lossless}.get(int(source.SeriesNumber)):
            source.compress(syntax, generate_instance_uid=False)
            source.save_as(path)
    hospital.send(images)
    return Shown(phantom.study_uid, sources, hospital.results(phantom.study_uid))


@pytest.fixture(scope="module", params=["orthanc", "node"])
def ohif(
    request: pytest.FixtureRequest, hospital: Hospital, shown: Shown, chromium: Browser
) -> OhifPage:
    """OHIF with that study."""
    return hospital.open(chromium, request.param, shown.study_uid)


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
    """Level, side, grade and certainty of each finding; the worst is the one it opens on."""
    worst = "AI L4/L5 canal: Severe"

    labels = ohif.measurements(25)

    assert sorted(labels) == sorted(map(label, shown.findings))
    assert labels[-1].startswith(worst)
    assert any(words.startswith(worst) for words in ohif.words())


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


@pytest.fixture(scope="module")
def grown(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """A study whose axial series came when there was a report without it already."""
    phantom = make_study(8)
    early, late = (tmp_path_factory.mktemp(name) for name in ("early", "late"))
    for path in phantom.write(early):
        if int(pydicom.dcmread(path).SeriesNumber) == 4:
            path.rename(late / path.name)
    hospital.send(early)
    first = hospital.results(phantom.study_uid)
    hospital.send(late)
    wait_for(lambda: hospital.results(phantom.study_uid) != first, seconds=60, what="a second job")
    return Shown(phantom.study_uid, {}, hospital.results(phantom.study_uid))


@pytest.mark.parametrize("holder", ["orthanc", "node"])
def test_the_newest_report_is_the_one_that_opens(
    hospital: Hospital, grown: Shown, chromium: Browser, holder: str
) -> None:
    """The first knows 15 findings, the second all: the second is what a reader gets."""
    page = hospital.open(chromium, holder, grown.study_uid)

    labels = page.measurements(len(grown.findings))
    assert sorted(labels) == sorted(map(label, grown.findings))
    page.shot("second-report")
    assert page.troubles == []


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
