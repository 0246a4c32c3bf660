"""A glance at a file: whose study it is and what it is about, in its first few hundred bytes."""

from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from node.dicom.reading.attributes import UNREADABLE, Attributes
from node.dicom.reading.header import UID, sop_class
from node.spine.facts import MR_CLASSES

_STUDY = 0x0020000D
_WANTED = ["SOPClassUID", "SOPInstanceUID", "StudyDate", "StudyDescription", "StudyInstanceUID"]


@dataclass(frozen=True)
class Glance:
    """What a glance shows of an MR image; the texts may be empty."""

    study_uid: str
    sop_instance_uid: str
    study_date: str
    description: str


def glance(path: Path) -> Glance | None:
    """Look at a file; None when it is no MR image that can be placed in a study.

    Raises
    ------
    OSError
        When it cannot be read.
    """
    try:
        meta = read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            return None  # inflating is the attack
        with path.open("rb") as file:
            header = read_partial(file, _is_behind, specific_tags=[Tag(name) for name in _WANTED])
    except InvalidDicomError:
        return None
    except OSError:
        raise
    except UNREADABLE:
        return None
    told = Attributes(header)
    names = told.text("StudyInstanceUID"), told.text("SOPInstanceUID")
    if sop_class(header) not in MR_CLASSES or not all(map(UID.fullmatch, names)):
        return None
    return Glance(*names, told.text("StudyDate"), told.text("StudyDescription"))


def _is_behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) > _STUDY
