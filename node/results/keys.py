"""Key Object Selection: the slices with a moderate or severe finding, and the pages.

Off by default, since many viewers show it as a further series. Source: PS3.3 A.35.4, C.17.6;
PS3.16 TID 2010.
"""

from collections.abc import Sequence

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.dataset import Dataset

from node.results import wording
from node.results.codes import code
from node.results.content import LANGUAGE, observer
from node.results.heading import Heading
from node.results.items import CONTAINS, MODIFIER, coded, container, filled, image, worded
from node.spine.anatomy import Grade


def make_key_objects(heading: Heading, captures: Sequence[Dataset]) -> Dataset:
    """Build the selection of one study; the pages are always part of it."""
    shown = sorted(
        {
            (f.sop_instance_uid, f.frame_number)
            for f in heading.findings.findings
            if f.grade in (Grade.MODERATE, Grade.SEVERE) and f.sop_instance_uid
        },
        key=lambda slice_: (slice_[0], slice_[1] or 0),
    )
    slices = [image(heading.source(uid), frame, CONTAINS) for uid, frame in shown]
    pages = [image(capture, None, CONTAINS) for capture in captures]
    description = f"{wording.DISCLAIMER}: pages, and slices with a moderate or severe finding."
    root = filled(
        container("Of Interest", None, template="2010"),
        [
            coded(LANGUAGE, code("English (United States)"), MODIFIER),
            *observer(heading),
            worded("Key Object Description", description, CONTAINS),
            *pages,
            *slices,
        ],
    )
    uids = dict.fromkeys(uid for uid, _ in shown)
    selection = KeyObjectSelectionDocument(
        evidence=[*captures, *(heading.reference(heading.source(uid)) for uid in uids)],
        content=KeyObjectSelection.from_sequence([root], is_root=True),
        **heading.place("key objects"),
        specific_character_set="ISO_IR 192",
    )
    heading.stamp(selection, "key objects")
    return selection
