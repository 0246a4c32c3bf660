"""The same report for a destination that does not take Comprehensive 3D SR.

Source: PS3.3 A.35.2 (Enhanced SR), A.35.3 (Comprehensive SR), A.35.13 (Comprehensive 3D SR).
"""

from collections.abc import Iterator
from copy import deepcopy

from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage

from node.results.identity import derived_uid

#: From what the report is made as down to what the oldest destinations take.
LADDER = (Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage)


def downgrade(report: Dataset, sop_class_uid: str) -> Dataset:
    """Return a report as another SOP class of `LADDER`, with all of its content.

    The tree has no SCOORD3D and no reference from item to item, the two things that the lower
    classes do not allow. It is another instance, so it has another UID, which follows from the
    report's: sent again, it is a duplicate.

    Raises
    ------
    ValueError
        When that class is not on the ladder, or above the report's own.
    """
    steps = LADDER[LADDER.index(report.SOPClassUID) :]
    if sop_class_uid not in steps:
        raise ValueError(f"a report of class {report.SOPClassUID} cannot become {sop_class_uid}")
    if sop_class_uid == report.SOPClassUID:
        return report
    lower = deepcopy(report)
    lower.SOPClassUID = sop_class_uid
    lower.SOPInstanceUID = derived_uid(str(report.SOPInstanceUID), sop_class_uid)
    for replaced in _predecessors(lower):
        # What it replaces came to the same destination, so it was stepped down as well.
        if sop_class_uid in LADDER[LADDER.index(replaced.ReferencedSOPClassUID) + 1 :]:
            uid = str(replaced.ReferencedSOPInstanceUID)
            replaced.ReferencedSOPInstanceUID = derived_uid(uid, sop_class_uid)
            replaced.ReferencedSOPClassUID = sop_class_uid
    lower.file_meta.MediaStorageSOPClassUID = lower.SOPClassUID
    lower.file_meta.MediaStorageSOPInstanceUID = lower.SOPInstanceUID
    return lower


def _predecessors(report: Dataset) -> Iterator[Dataset]:
    for study in report.get("PredecessorDocumentsSequence", []):
        for series in study.ReferencedSeriesSequence:
            yield from series.ReferencedSOPSequence
