"""All result objects of one study, from its findings, headers and volumes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any

from PIL import Image
from pydicom.dataset import Dataset

from node.config import Report
from node.results.capture import make_captures
from node.results.document import make_document
from node.results.fhir import make_bundle
from node.results.heading import Heading, heading
from node.results.keys import make_key_objects
from node.results.overlay import make_overlays
from node.results.pages import make_pages
from node.results.report import UNCALIBRATED, make_report
from node.spine.anatomy import Level, Role
from node.spine.findings import StudyFindings
from node.spine.volume import Volume


@dataclass(frozen=True)
class ResultSet:
    """What a study's results are made of.

    Attributes
    ----------
    report : Dataset
        The structured report.
    captures : list of Dataset
        The pages as Secondary Captures, in page order.
    overlays : list of Dataset
        GSPS, one for each source series with a moderate or severe finding.
    pages : dict of name to 1024 x 1024 RGB image
        ``summary`` and the levels' names; the captures' pixels.
    document, key_objects : Dataset or None
        Encapsulated PDF and Key Object Selection, where the settings want them.
    fhir : dict or None
        The report as a FHIR Bundle, where the settings want it.
    """

    report: Dataset
    captures: list[Dataset]
    overlays: list[Dataset]
    pages: dict[str, Image.Image]
    document: Dataset | None = None
    key_objects: Dataset | None = None
    fhir: dict[str, Any] | None = None

    @property
    def objects(self) -> list[Dataset]:
        """All DICOM objects in the order of delivery: references resolve on arrival."""
        documents = [self.document] if self.document else []
        selections = [self.key_objects] if self.key_objects else []
        return [*self.captures, *self.overlays, *documents, self.report, *selections]


def build(
    findings: StudyFindings,
    headers: Mapping[str, Dataset],
    volumes: Mapping[Role, Volume],
    *,
    settings: Report,
    created: datetime,
    calibration: str = UNCALIBRATED,
    earlier: Sequence[Dataset] = (),
) -> ResultSet:
    """Build report, captures, overlays and pages of one study; no disk, no network.

    The same arguments give the same bytes; the same input and model versions give the same UIDs.

    Parameters
    ----------
    findings : StudyFindings
        May have nothing assessed: the report then says why, in the same place.
    headers : dict of SOP Instance UID to Dataset
        At least one; pixel data is not needed.
    volumes : dict of Role to Volume
        The series that entered the run; their instances become the report's evidence (all of
        ``headers`` when there is no volume).
    settings : node.config.Report
    created : datetime
        Shown in the source's time zone when the source states one.
    calibration : str
        How the probabilities were calibrated, for the report's algorithm parameters.
    earlier : sequence of Dataset
        The reports sent for this study before, oldest first. The newest is replaced by this one;
        a report that was among them already replaces what it replaced then.

    Raises
    ------
    ValueError
        When there is no header, or an assessed finding points at no slice of the volumes.
    """
    common = heading(findings, headers, volumes.values(), settings, created)
    pages = make_pages(findings, volumes, headers)
    captures = make_captures(common, pages)
    by_level = {level: captures[level.value] for level in Level if level.value in captures}
    report = make_report(
        common, by_level, calibration=calibration, predecessor=_predecessor(common, earlier)
    )
    images, shots = {name: page.image for name, page in pages.items()}, list(captures.values())
    return ResultSet(
        report=report,
        captures=shots,
        overlays=make_overlays(common, volumes) if settings.overlays else [],
        pages=images,
        document=make_document(common, [*images.values()], shots) if settings.pdf else None,
        key_objects=make_key_objects(common, shots) if settings.key_objects else None,
        fhir=None if settings.fhir == "off" else make_bundle(common, report, settings.fhir),
    )


def _predecessor(common: Heading, earlier: Sequence[Dataset]) -> Dataset | None:
    """Return the report that this one replaces: the newest before its own first sending."""
    own = common.identity.object_uid("report")
    before = list(takewhile(lambda report: report.SOPInstanceUID != own, earlier))
    return before[-1] if before else None
