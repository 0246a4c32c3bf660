"""The content items that reports are built of, with their relationship to the item above."""

from collections.abc import Sequence

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    TextContentItem,
)
from pydicom.dataset import Dataset

from node.results.codes import code

CONTAINS = "CONTAINS"
CONTEXT = "HAS OBS CONTEXT"
MODIFIER = "HAS CONCEPT MOD"


def container(
    meaning: str, relationship: str | None, template: str | None = None
) -> ContainerContentItem:
    """Return an empty container, the root one without a relationship."""
    # SEPARATE: Weasis and dcm4chee hide the concept names inside continuous text (SR-25).
    return ContainerContentItem(
        code(meaning),
        is_content_continuous=False,
        template_id=template,
        relationship_type=relationship,
    )


def filled(container: ContainerContentItem, items: Sequence[ContentItem]) -> ContainerContentItem:
    """Return the container with these items in it."""
    if items:
        container.ContentSequence = ContentSequence(items)
    return container


def coded(meaning: str, value: CodedConcept, relationship: str) -> CodeContentItem:
    """Return a CODE item by the meaning of its concept name."""
    return CodeContentItem(code(meaning), value, relationship)


def worded(meaning: str, value: str, relationship: str) -> TextContentItem:
    """Return a TEXT item by the meaning of its concept name."""
    return TextContentItem(code(meaning), value, relationship)


def percent(concept: CodedConcept, value: float) -> NumContentItem:
    """Return a NUM item in percent, 0 to 100."""
    return NumContentItem(concept, value, code("Percent"), relationship_type=CONTAINS)


def image(source: Dataset, frame: int | None, relationship: str) -> ImageContentItem:
    """Return an IMAGE item for a source instance or one of its frames."""
    return ImageContentItem(
        code("Source"),
        str(source.SOPClassUID),
        str(source.SOPInstanceUID),
        referenced_frame_numbers=frame,
        relationship_type=relationship,
    )
