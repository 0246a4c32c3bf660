"""The pages of one study, and which source images each shows."""

from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image
from pydicom.dataset import Dataset

from node.results import level_page, summary_page
from node.results.scene import Scene
from node.spine.anatomy import Level, Role
from node.spine.findings import StudyFindings
from node.spine.volume import Volume

SUMMARY = "summary"


@dataclass(frozen=True)
class Page:
    """One rendered page and its source images (SOP Instance UID, frame number or None)."""

    image: Image.Image
    sources: tuple[tuple[str, int | None], ...]


def make_pages(
    findings: StudyFindings, volumes: Mapping[Role, Volume], headers: Mapping[str, Dataset]
) -> dict[str, Page]:
    """Render the summary and, unless nothing was assessed, one page for each level.

    Returns
    -------
    dict of str to Page
        ``summary``, then the levels' names, cranial to caudal; 1024 x 1024 RGB.
    """
    scene = Scene(findings, volumes, headers)
    pages = {SUMMARY: Page(*summary_page.draw(scene))}
    if findings.status != "rejected":
        for level in Level:
            pages[level.value] = Page(*level_page.draw(scene, level))
    return pages
