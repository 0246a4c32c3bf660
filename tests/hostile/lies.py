"""Studies whose structure is sound and whose headers lie: what only their reader can find out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydicom.datadict import dictionary_VR, tag_for_keyword

from node.dicom.reading.limits import check
from node.spine.facts import OWN_MANUFACTURER, OWN_MODEL
from tests.builders import mr_study, part10
from tests.hostile.corpus import element, without

#: What becomes of the images that lie: they are not used, or used as if the value were absent.
Fate = Literal["left out", "used"]


@dataclass(frozen=True)
class Lie:
    """Values of some elements, as they are encoded, and what they have to lead to.

    Attributes
    ----------
    name : str
    values : tuple of (keyword, encoded value)
    fate : str
    """

    name: str
    values: tuple[tuple[str, bytes], ...]
    fate: Fate


def lies() -> Iterator[Lie]:
    """Yield every lie."""
    for fate, keyword, values in TABLE:
        for value in values:
            yield Lie(f"{keyword} {value[:24]!r}", ((keyword, value),), fate)
    own = (("Manufacturer", OWN_MANUFACTURER), ("ManufacturerModelName", OWN_MODEL))
    yield Lie("an own result as MR", tuple((k, v.encode()) for k, v in own), "left out")


TABLE: tuple[tuple[Fate, str, tuple[bytes, ...]], ...] = (
    ("left out", "ImagePositionPatient",
     (b"", b"NaN\\0\\0", b"inf\\0\\0", b"1e999\\0\\0", b"1\\2", b"1\\2\\3\\4", b"x\\y\\z",
      b"1e300\\0\\0")),
    ("left out", "ImageOrientationPatient",
     (b"", b"0\\1\\0\\0\\0", b"1\\0\\0\\1\\0\\0", b"0\\0\\0\\0\\0\\0", b"NaN\\1\\0\\0\\0\\-1",
      b"2\\0\\0\\0\\2\\0")),
    ("left out", "PixelSpacing", (b"", b"0\\0", b"-1\\1", b"1", b"inf\\1", b"NaN\\1", b"1e999\\1")),
    ("left out", "ImageType", (b"DERIVED\\SECONDARY", b"ORIGINAL\\PRIMARY\\LOCALIZER")),
    ("left out", "ConversionType", (b"WSD",)),
    ("left out", "Modality", (b"OT", b"SR")),
    ("used", "Modality", (b"",)),
    ("left out", "PhotometricInterpretation", (b"", b"RGB", b"PALETTE COLOR", b"YBR_FULL")),
    ("used", "InstanceNumber", (b"", b"99999999999999999999", b"1e999", b"NaN", b"-1")),
    ("used", "SeriesNumber", (b"", b"99999999999999999999", b"x", b"9901")),
    ("used", "AcquisitionNumber", (b"1e999", b"NaN")),
    ("used", "RepetitionTime", (b"", b"NaN", b"inf", b"-5", b"1e999")),
    ("used", "InversionTime", (b"NaN", b"1e999", b"-1")),
    ("used", "RescaleSlope", (b"", b"0", b"NaN", b"inf", b"1e999")),
    ("left out", "RescaleSlope", (b"1e308",)),
    ("used", "WindowCenter", (b"", b"NaN", b"1e999", b"1\\2\\3", b"x")),
    ("used", "WindowWidth", (b"0", b"-5", b"NaN", b"1e999", b"1e-300")),
    ("used", "SliceThickness", (b"NaN", b"1e999", b"-1")),
    ("used", "StudyDate", (b"", b"99999999", b"x", b"20260230")),
    ("used", "StudyTime", (b"999999", b"::", b"24")),
    ("used", "AcquisitionTime", (b"x", b"999999.9999999")),
    ("used", "TimezoneOffsetFromUTC", (b"+9999", b"-2400", b"+0000", b"x", b"+12:0")),
    ("used", "PatientName", (b"", b"A" * 5000, b"=" * 20, b"<b>^\x1b[31m", b"\\\\\\", b"^" * 40)),
    ("used", "PatientID", (b"", b"A" * 5000, b"../../x", b"\\\\", b"{0}%s\r\nx")),
    ("used", "PatientBirthDate", (b"", b"18000000", b"99999999")),
    ("used", "PatientSex", (b"Q", b"<script>")),
    ("used", "PatientAge", (b"999Y", b"-1", b"x" * 60)),
    ("used", "PatientWeight", (b"NaN", b"1e999", b"x")),
    ("used", "AccessionNumber", (b"A" * 500, b"\x00\x01", b"\\\\")),
    ("used", "StudyID", (b"A" * 500, b"../..")),
    ("used", "StudyDescription", (b"A" * 5000, b"<script>alert(1)</script>")),
    ("used", "SeriesDescription", (b"A" * 5000, b"\x1b]0;x\x07", b"%s%n{0.__class__}")),
    ("used", "SpecificCharacterSet", (b"ISO_IR 999", b"\\".join([b"ISO 2022 IR 87"] * 900))),
    ("used", "FrameOfReferenceUID", (b"", b"../../x", b"1." * 40)),
    ("used", "BodyPartExamined", (b"", b"A" * 500)),
    ("used", "ImageComments", (b"A" * 60000,)),
)  # fmt: skip


def study(lie: Lie, name: str) -> list[bytes]:
    """Return the files of a small study of which every image tells the lie."""
    return [told(lie, part10(image)) for image in mr_study(name)]


def told(lie: Lie, part10: bytes) -> bytes:
    """Return a file in explicit VR with the lie's values in place of its own."""
    offset = check(part10).dataset_offset
    body = part10[offset:]
    for keyword, value in lie.values:
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise ValueError(keyword)
        padded = value + b" " * (len(value) % 2)
        vr = dictionary_VR(tag).encode()
        body = element(tag >> 16, tag & 0xFFFF, vr, padded) + without(body, tag)
    return part10[:offset] + body
