"""GSPS overlays: a ring and a line of text on the key slices, to switch on in any viewer.

One presentation state for each source series that holds a moderate or severe finding (two where
the series mixes matrices or rescales); what is normal or mild stays unmarked.
Source: PS3.3 A.33.1, C.10.4 to C.10.7, C.11.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from highdicom import ModalityLUTTransformation, PresentationLUTTransformation
from highdicom.color import CIELabColor
from highdicom.content import ReferencedImageSequence
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    SoftcopyVOILUTTransformation,
    TextObject,
)
from pydicom.dataset import Dataset

from node.results import wording
from node.results.heading import Heading
from node.results.identity import MODEL_NAME
from node.results.source import Appearance, appearance
from node.spine.anatomy import Grade, Role
from node.spine.findings import Finding
from node.spine.geometry import Plane
from node.spine.volume import Volume

RING_MM = 5.0
_YELLOW = CIELabColor(92.0, -10.0, 80.0)

#: What one presentation state has in common: series, matrix, spacing and rescale.
_Shared = tuple[str, int, int, float, float, float, float]


def make_overlays(heading: Heading, volumes: Mapping[Role, Volume]) -> list[Dataset]:
    """Build the presentation states of one study, in the order of their source series' UIDs."""
    planes = {
        (s.sop_instance_uid, s.frame_number): s.plane
        for volume in volumes.values()
        for s in volume.slices
    }
    marks = [
        _Mark(heading, f, planes[f.sop_instance_uid, f.frame_number])
        for f in heading.findings.findings
        if f.grade in (Grade.MODERATE, Grade.SEVERE) and f.sop_instance_uid is not None
    ]
    marks.sort(key=lambda m: (m.shared, m.order))
    groups = [list(same) for _, same in groupby(marks, key=lambda m: m.shared)]
    return [_overlay(heading, same, index) for index, same in enumerate(groups, start=1)]


class _Mark:
    """One finding to draw, with its slice's place and look."""

    def __init__(self, heading: Heading, finding: Finding, plane: Plane) -> None:
        source = heading.source(str(finding.sop_instance_uid))
        self.finding = finding
        self.plane = plane
        self.image = heading.reference(source)
        self.look: Appearance = appearance(source, finding.frame_number)
        self.shared: _Shared = (
            str(source.SeriesInstanceUID),
            plane.rows,
            plane.columns,
            plane.row_spacing,
            plane.column_spacing,
            *self.look.rescale,
        )
        self.order = (str(source.SOPInstanceUID), finding.frame_number or 0, finding.key)

    @property
    def frame(self) -> tuple[str, int | None]:
        """The image it lies on."""
        return str(self.image.SOPInstanceUID), self.finding.frame_number


def _overlay(heading: Heading, marks: Sequence[_Mark], index: int) -> Dataset:
    first = marks[0]
    images = list({str(m.image.SOPInstanceUID): m.image for m in marks}.values())
    layer = GraphicLayer("AI_LUMBAR", 1, "AI result, not verified", _YELLOW)
    slope, intercept = first.look.rescale
    overlay = GrayscaleSoftcopyPresentationState(
        referenced_images=images,
        **heading.place("overlay", index),
        manufacturer_model_name=MODEL_NAME,
        software_versions=heading.findings.node_version,
        device_serial_number=heading.identity.serial_number(),
        content_label="AI_LUMBAR",
        content_description="AI lumbar stenosis, not verified",
        graphic_layers=[layer],
        graphic_annotations=[_annotation(same, layer) for same in _by_frame(marks)],
        modality_lut_transformation=ModalityLUTTransformation(intercept, slope, "US"),
        voi_lut_transformations=_windows(marks),
        presentation_lut_transformation=PresentationLUTTransformation(
            "INVERSE" if first.look.is_inverted else "IDENTITY"
        ),
        specific_character_set="ISO_IR 192",
    )
    overlay.DisplayedAreaSelectionSequence = [_whole(first.plane)]
    heading.stamp(overlay, "overlay")
    overlay.BodyPartExamined = "LSPINE"
    return overlay


def _by_frame(marks: Sequence[_Mark]) -> list[list[_Mark]]:
    return [list(same) for _, same in groupby(marks, key=lambda m: m.frame)]


def _annotation(marks: Sequence[_Mark], layer: GraphicLayer) -> GraphicAnnotation:
    """Return the rings and texts of one image."""
    places = [(m, *_ring(m)) for m in marks]
    return GraphicAnnotation(
        referenced_images=[marks[0].image],
        graphic_layer=layer,
        referenced_frame_number=marks[0].finding.frame_number,
        graphic_objects=[
            GraphicObject("CIRCLE", np.array([centre, edge]), "PIXEL") for _, centre, edge in places
        ],
        text_objects=[
            TextObject(_words(m.finding), "PIXEL", anchor_point=edge) for m, _, edge in places
        ],
    )


def _ring(mark: _Mark) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return centre and a point of the perimeter; in PIXEL units the first pixel starts at 0.

    An annotation counts from the corner of the first pixel, this node from its centre: + 0.5.
    """
    plane, finding = mark.plane, mark.finding
    column = float(np.clip((finding.column or 0) + 0.5, 0, plane.columns))
    row = float(np.clip((finding.row or 0) + 0.5, 0, plane.rows))
    radius = RING_MM / plane.column_spacing
    edge = column + radius if column + radius <= plane.columns else column - radius
    return (column, row), (float(np.clip(edge, 0, plane.columns)), row)


def _words(finding: Finding) -> str:
    side = f" {finding.condition.side}" if finding.condition.side else ""
    grade = finding.grade.label if finding.grade else ""
    return f"AI {finding.level.label}{side}: {grade} {wording.certainty(finding)}"


def _windows(marks: Sequence[_Mark]) -> list[SoftcopyVOILUTTransformation] | None:
    """Return the source's own windows, so that switching the overlay on changes nothing else."""
    windows = []
    for same in _by_frame(marks):
        mark = same[0]
        if mark.look.window is None:
            return None
        centre, width = mark.look.window
        windows.append(
            SoftcopyVOILUTTransformation(
                centre,
                width,
                voi_lut_function=mark.look.function,
                referenced_images=ReferencedImageSequence(
                    [mark.image], referenced_frame_number=mark.finding.frame_number
                ),
            )
        )
    return windows


def _whole(plane: Plane) -> Dataset:
    """Return the displayed area: all of the image, fitted, in its true proportions."""
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [plane.columns, plane.rows]
    area.PresentationSizeMode = "SCALE TO FIT"
    area.PresentationPixelSpacing = [plane.row_spacing, plane.column_spacing]
    return area
