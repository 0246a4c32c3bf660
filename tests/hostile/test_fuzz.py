"""Whatever hypothesis thinks of, for a bounded time: structures, header values, whole studies."""

import contextlib
import os
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword

from node import analysis
from node.config import Config, Report
from node.dicom.reading.attributes import UNREADABLE
from node.dicom.reading.limits import check
from node.dicom.reading.reader import facts, read_header
from node.errors import InvalidInstance, MixedPatients, Rejected
from node.inference.runtime import ModelStore
from tests.builders import mr_image, mr_study, part10
from tests.hostile.corpus import element, item, without

pytestmark = pytest.mark.filterwarnings("ignore")

GOOD = part10(mr_image(size=8))
OFFSET = check(GOOD).dataset_offset
#: ``LUMBAR_FUZZ=50 pytest tests/hostile`` searches 50 times as long, and elsewhere each time.
FUZZ = int(os.environ.get("LUMBAR_FUZZ", "1"))
#: Without shrinking, which would take longer than the whole search.
UNHURRIED = settings(
    deadline=None,
    derandomize=FUZZ == 1,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

#: What the reader, the series rules and the result objects look at.
LOOKED_AT = """
SpecificCharacterSet ImageType Modality Manufacturer ManufacturerModelName StudyDescription
SeriesDescription ProtocolName PatientName PatientID PatientBirthDate PatientSex PatientAge
PatientWeight PatientSize BodyPartExamined ScanningSequence SequenceVariant ScanOptions
MRAcquisitionType SequenceName RepetitionTime EchoTime InversionTime SliceThickness
SpacingBetweenSlices EchoTrainLength ContrastBolusAgent PatientPosition StudyID SeriesNumber
AcquisitionNumber InstanceNumber ImagePositionPatient ImageOrientationPatient PixelSpacing
FrameOfReferenceUID TemporalPositionIdentifier StudyDate SeriesDate AcquisitionDate StudyTime
SeriesTime AcquisitionTime AcquisitionDateTime TimezoneOffsetFromUTC AccessionNumber
ReferringPhysicianName RescaleSlope RescaleIntercept WindowCenter WindowWidth VOILUTFunction
PhotometricInterpretation LossyImageCompression ProcedureCodeSequence RequestAttributesSequence
ContrastBolusAgentSequence ConversionType PerFrameFunctionalGroupsSequence
SharedFunctionalGroupsSequence IssuerOfPatientID InstitutionName DeviceSerialNumber
SoftwareVersions MagneticFieldStrength StationName
""".split()  # noqa: SIM905 - a list is read more easily so
VALUES = st.one_of(
    st.sampled_from([b"", b"NaN", b"inf", b"-1", b"0", b"1e999", b"\\", b"\\\\\\", b"x" * 300]),
    st.binary(max_size=24),
    st.from_regex(rb"[0-9+\-.e\\]{1,20}", fullmatch=True),
    st.from_regex(rb"\x1b\$[B)A(][!-~]{0,12}", fullmatch=True),
)
LIES = st.dictionaries(st.sampled_from(LOOKED_AT), VALUES, min_size=1, max_size=6)


@st.composite
def elements(draw: Any, depth: int = 0) -> bytes:
    """Encoded elements, some of whose lengths, tags and representations are not true."""
    encoded = b""
    for _ in range(draw(st.integers(0, 4))):
        group, number = draw(st.sampled_from([(8, 0x103E), (9, 0x1001), (0x40, 0xA730), (8, 5)]))
        vr = draw(st.sampled_from([b"LO", b"UN", b"SQ", b"OB", b"US", b"UT", b"XX", b"??"]))
        value = draw(st.binary(max_size=8))
        if vr in {b"SQ", b"UN"} and depth < 4 and draw(st.booleans()):
            value = item(draw(elements(depth + 1)), draw(LENGTHS))
            if draw(st.booleans()):
                value += struct.pack("<HHI", 0xFFFE, draw(st.sampled_from([0xE0DD, 0xE00D])), 0)
        length = draw(LENGTHS)
        is_short = vr not in {b"SQ", b"UN", b"OB", b"UT"}
        encoded += element(group, number, vr, value, None if is_short and length else length)
    return encoded


LENGTHS = st.sampled_from([None, None, None, None, 0, 1, 2, 8, 0xFFFFFFFF, 0xFFFFFFF0, 0x7FFFFFFF])


@given(elements(), st.integers(0, 300))
@settings(UNHURRIED, max_examples=400 * FUZZ)
def test_what_the_walk_lets_through_pydicom_reads_the_same(extra: bytes, cut: int) -> None:
    """Two parsers, one identity: nothing passes the door as one image and is read as another."""
    head, body = GOOD[:OFFSET], GOOD[OFFSET:]
    raw = head + extra + body[: len(body) - cut if cut < 20 else len(body)]
    try:
        seen = check(raw)
    except InvalidInstance as refusal:
        assert "\n" not in str(refusal)
        return
    try:
        dataset = dcmread(BytesIO(raw))
    except UNREADABLE:
        return  # `read_header` refuses it in words
    assert dataset.StudyInstanceUID == seen.study_uid
    assert dataset.SOPInstanceUID == seen.sop_instance_uid
    assert len(dataset.PixelData) == 128


@given(LIES)
@settings(UNHURRIED, max_examples=150 * FUZZ)
def test_any_header_gives_facts_or_a_refusal(tmp_path: Path, values: dict[str, bytes]) -> None:
    """Whatever stands in the elements that are looked at, reading is total."""
    path = tmp_path / "lies.dcm"
    path.write_bytes(_told(GOOD, values))
    with contextlib.suppress(Rejected):
        header = read_header(path)
        (series,) = facts([(path, header)])
        assert series.frames


@pytest.fixture(scope="module")
def store() -> ModelStore:
    """The shipped models."""
    return ModelStore(Config().models_dir, "cpu", 1)


@given(LIES, st.integers(0, 15))
@settings(UNHURRIED, max_examples=8 * FUZZ)
def test_any_study_gets_its_findings_or_a_refusal(
    tmp_path: Path, store: ModelStore, values: dict[str, bytes], count: int
) -> None:
    """A study some of whose images say anything ends in results, or is refused in words."""
    paths = []
    for number, image in enumerate(mr_study("fuzz")):
        path = tmp_path / f"{number:02}.dcm"
        path.write_bytes(_told(part10(image), values if number < count else {}))
        paths.append(path)
    try:
        for taken in analysis.read(paths):
            findings = analysis.analyse(taken, store, tmp_path / "out", settings=Report())
            assert len(findings.findings) == 25
            assert all(f.grade is None or f.probabilities for f in findings.findings)
    except (Rejected, MixedPatients) as refusal:
        assert len(str(refusal)) < 2000


def _told(part10: bytes, values: dict[str, bytes]) -> bytes:
    """Return a file with these encoded values in place of its own."""
    offset = check(part10).dataset_offset
    body, told = part10[offset:], b""
    for keyword, value in values.items():
        tag = int(tag_for_keyword(keyword) or 0)
        body = without(body, tag)
        padded = value + b" " * (len(value) % 2)
        told += element(tag >> 16, tag & 0xFFFF, dictionary_VR(tag).encode(), padded)
    return part10[:offset] + told + body
