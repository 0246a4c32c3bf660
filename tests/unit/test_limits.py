"""What may not come in, each refused in one line before pydicom has seen it."""

import contextlib
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
)

from node.dicom.reading.limits import ClassMismatch, check, check_file, uid
from node.errors import InvalidInstance
from tests import builders
from tests.builders import mr_image, part10

UNDEFINED = 0xFFFFFFFF


def implicit(**attributes: Any) -> bytes:
    image = mr_image(**attributes)
    image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return part10(image)


def with_element(element: bytes, *, is_implicit: bool = False) -> bytes:
    """Return a good image whose data set begins with these bytes."""
    data = implicit() if is_implicit else part10(mr_image())
    offset = check(data).dataset_offset
    return data[:offset] + element + data[offset:]


def explicit_element(group: int, number: int, vr: bytes, length: int) -> bytes:
    """Return the head of an element in explicit VR with a 32-bit length."""
    return struct.pack("<HH2sHI", group, number, vr, 0, length)


def implicit_element(group: int, number: int, length: int) -> bytes:
    """Return the head of an element in implicit VR, or of an item."""
    return struct.pack("<HHI", group, number, length)


def bomb(depth: int, *, is_implicit: bool, open_ended: bool) -> bytes:
    """Return sequences (0040,A730) nested ``depth`` deep."""
    value = b""
    for _ in range(depth):
        length = UNDEFINED if open_ended else len(value)
        end = implicit_element(0xFFFE, 0xE00D, 0) if open_ended else b""
        item = implicit_element(0xFFFE, 0xE000, length) + value + end
        length = UNDEFINED if open_ended else len(item)
        end = implicit_element(0xFFFE, 0xE0DD, 0) if open_ended else b""
        head = (
            implicit_element(0x0040, 0xA730, length)
            if is_implicit
            else explicit_element(0x0040, 0xA730, b"SQ", length)
        )
        value = head + item + end
    return value


def test_a_good_image_gives_its_identity() -> None:
    """The facts of an image are its UIDs and where its data set begins."""
    image = mr_image()
    data = part10(image)
    facts = check(data)
    assert facts.sop_class_uid == MRImageStorage
    assert facts.sop_instance_uid == image.SOPInstanceUID
    assert facts.study_uid == image.StudyInstanceUID
    assert facts.series_uid == image.SeriesInstanceUID
    assert facts.transfer_syntax_uid == image.file_meta.TransferSyntaxUID
    assert data[facts.dataset_offset : facts.dataset_offset + 4] == b"\x08\x00\x08\x00"


def test_implicit_vr_gives_the_same_identity() -> None:
    """An image is the same in either uncompressed syntax."""
    first, second = check(part10(mr_image())), check(implicit())
    assert first.sop_instance_uid == second.sop_instance_uid
    assert first.study_uid == second.study_uid


def test_encapsulated_pixels_are_walked() -> None:
    """A compressed image is accepted by its fragments, not by a length."""
    image = mr_image()
    image.file_meta.TransferSyntaxUID = JPEG2000Lossless
    image.PixelData = encapsulate([b"\xff\x4f" * 100])
    assert check(part10(image)).transfer_syntax_uid == JPEG2000Lossless


def test_a_preamble_may_hold_anything() -> None:
    """A polyglot preamble is not the walk's business: it is never kept."""
    data = part10(mr_image())
    check(b"MZ" + b"\x90" * 126 + data[128:])


@pytest.mark.parametrize("percent", range(10, 100, 10))
@pytest.mark.parametrize("encode", [lambda: part10(mr_image()), implicit])
def test_a_truncated_file_is_refused(percent: int, encode: Callable[[], bytes]) -> None:
    """A file cut off anywhere is refused in one line."""
    data = encode()
    with pytest.raises(InvalidInstance) as caught:
        check(data[: len(data) * percent // 100])
    assert "\n" not in str(caught.value)


def test_every_cut_of_the_header_is_refused() -> None:
    """No cut at any byte before the pixels passes or raises anything else."""
    data = part10(mr_image(size=2))
    for length in range(len(data)):
        with pytest.raises(InvalidInstance):
            check(data[:length])


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Rows": 0}, "Rows is 0"),
        ({"Rows": 4097}, "Rows is 4097"),
        ({"Columns": 65535}, "Columns is 65535"),
        ({"Rows": 63}, "PixelData has 8192 bytes"),
        ({"NumberOfFrames": 2}, "PixelData has 8192 bytes"),
        ({"NumberOfFrames": 2**31 - 1}, "NumberOfFrames is 2147483647"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel is 3"),
        ({"BitsAllocated": 12}, "BitsAllocated is 12"),
        ({"BitsAllocated": None}, "BitsAllocated is missing"),
        ({"PixelData": None}, "PixelData is missing"),
        ({"PixelData": b"\0\0"}, "PixelData has 2 bytes"),
        ({"StudyInstanceUID": None}, "StudyInstanceUID is missing"),
        ({"SeriesInstanceUID": ""}, "SeriesInstanceUID is not a legal UID"),
        ({"StudyInstanceUID": "../../x"}, "StudyInstanceUID is not a legal UID"),
        ({"StudyInstanceUID": "/etc/passwd"}, "StudyInstanceUID is not a legal UID"),
        ({"StudyInstanceUID": "1.2.3\n4"}, "StudyInstanceUID is not a legal UID"),
        ({"StudyInstanceUID": "1.02.3"}, "StudyInstanceUID is not a legal UID"),
        ({"StudyInstanceUID": "1." * 32 + "1"}, "StudyInstanceUID is not a legal UID"),
        ({"SOPInstanceUID": "1.2.3"}, "SOPInstanceUID is not the one"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_header_that_lies_is_refused(attributes: dict[str, Any], reason: str) -> None:
    """Each of these headers is refused and the message names the attribute."""
    image = mr_image()
    for keyword, value in attributes.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    data = part10_unchecked(image)
    with pytest.raises(InvalidInstance, match=reason):
        check(data)


def part10_unchecked(image: Dataset) -> bytes:
    """Return a file of this data set with the file meta information of a good image."""
    good = part10(mr_image())
    body = DicomBytesIO()
    body.is_little_endian, body.is_implicit_VR = True, False
    write_dataset(body, image)
    return good[: check(good).dataset_offset] + bytes(body.getvalue())


def test_another_class_than_announced_has_its_own_error() -> None:
    """A data set of another SOP class is told apart, since C-STORE has a status for it."""
    data = part10_unchecked(builders.ct_image())
    with pytest.raises(ClassMismatch, match="SOPClassUID"):
        check(data)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_syntaxes_that_are_not_offered_are_refused(syntax: str) -> None:
    """Deflated and big endian files are refused by name."""
    data = part10(mr_image())
    own = b"1.2.840.10008.1.2.1\0"
    at = data.index(own)
    length = len(syntax) + len(syntax) % 2
    swapped = data[: at - 2] + struct.pack("<H", length) + syntax.encode().ljust(length, b"\0")
    grown = length - len(own)
    old = struct.unpack_from("<I", data, 140)[0]
    data = swapped + data[at + len(own) :]
    data = data[:140] + struct.pack("<I", old + grown) + data[144:]
    with pytest.raises(InvalidInstance, match="transfer syntax"):
        check(data)


@pytest.mark.parametrize("is_implicit", [False, True])
@pytest.mark.parametrize("open_ended", [False, True])
def test_nesting_is_limited(*, is_implicit: bool, open_ended: bool) -> None:
    """16 sequences inside each other are read, 17 are not, and 5000 cost no recursion."""
    deepest = bomb(16, is_implicit=is_implicit, open_ended=open_ended)
    check(with_element(deepest, is_implicit=is_implicit))
    for depth in (17, 5000):
        deep = bomb(depth, is_implicit=is_implicit, open_ended=open_ended)
        with pytest.raises(InvalidInstance, match="nested more than 16"):
            check(with_element(deep, is_implicit=is_implicit))


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        (explicit_element(0x0008, 0x1030, b"UT", 0x7FFFFFF0), "claims 2147483632 bytes"),
        (explicit_element(0x0008, 0x1030, b"UT", 0xFFFFFFF0), "claims 4294967280 bytes"),
        (explicit_element(0x0008, 0x1030, b"UT", UNDEFINED), "may not have undefined length"),
        (explicit_element(0x0008, 0x1030, b"??", 0), "no legal value representation"),
        (explicit_element(0x0040, 0xA730, b"SQ", UNDEFINED), "between the items"),
        (explicit_element(0x0040, 0xA730, b"SQ", 0x7FFFFFF0), "claims more bytes"),
        (explicit_element(0x0009, 0x1001, b"UN", UNDEFINED), "between the items"),
        (implicit_element(0xFFFE, 0xE0DD, 0), "delimiter"),
        (implicit_element(0xFFFE, 0xE00D, 0), "delimiter"),
        (explicit_element(0x7FE0, 0x0010, b"OB", UNDEFINED), "fragments"),
        (b"\x20\x00\x0d\x00UI\x02\x001\0", "is there twice"),
        (struct.pack("<HH2sH", 9, 16, b"LO", 0) * 20_001, "too many elements"),
    ],
)
def test_a_malformed_data_set_is_refused(element: bytes, reason: str) -> None:
    """Length bombs, stray delimiters, wrong VRs, twins and floods end in one line each."""
    with pytest.raises(InvalidInstance, match=reason) as caught:
        check(with_element(element))
    assert "\n" not in str(caught.value)


def test_meta_information_that_lies_about_its_length_is_refused() -> None:
    """Group length (0002,0000) has to be true."""
    data = bytearray(part10(mr_image()))
    struct.pack_into("<I", data, 140, 7)
    with pytest.raises(InvalidInstance, match="length it claims"):
        check(bytes(data))


@pytest.mark.parametrize("contents", [b"", b"no", b"\0" * 132, b"\0" * 128 + b"DICM"])
def test_what_is_not_dicom_is_refused(contents: bytes) -> None:
    """Empty, short and foreign files are refused."""
    with pytest.raises(InvalidInstance):
        check(contents)


def test_a_file_beyond_the_size_limit_is_refused() -> None:
    """Size is looked at first."""
    with pytest.raises(InvalidInstance, match="more than the limit of 1000"):
        check(part10(mr_image()), max_bytes=1000)


def test_a_file_is_checked_in_place(tmp_path: Path) -> None:
    """A path gives the same facts as its bytes; an empty file is refused."""
    path = tmp_path / "image.dcm"
    path.write_bytes(part10(mr_image()))
    assert check_file(path) == check(path.read_bytes())
    path.write_bytes(b"")
    with pytest.raises(InvalidInstance, match="empty"):
        check_file(path)


def test_checking_an_image_is_fast() -> None:
    """A 256 x 256 image takes far less than 2 ms."""
    data = part10(mr_image(size=256))
    started = time.perf_counter()
    for _ in range(20):
        check(data)
    assert (time.perf_counter() - started) / 20 < 0.002


@given(st.binary(max_size=300), st.integers(0, 400))
@settings(max_examples=300)
def test_any_bytes_end_in_facts_or_a_refusal(noise: bytes, at: int) -> None:
    """Whatever is written over an image, nothing but `InvalidInstance` comes out."""
    data = bytearray(part10(mr_image(size=8)))
    data[132 + at : 132 + at + len(noise)] = noise
    with contextlib.suppress(InvalidInstance):
        check(bytes(data))


@pytest.mark.parametrize("text", ["1.2", "0.0", "1.2.840.10008.5.1.4.1.1.4", "2.25." + "9" * 38])
def test_legal_uids_pass(text: str) -> None:
    """A legal UID comes back as it is."""
    assert uid(text) == text


@pytest.mark.parametrize(
    "text", ["", "1", "1.", ".1", "1..2", "1.02", "1.2 ", "1.a", "1" * 65, "1.٣"]
)
def test_illegal_uids_do_not(text: str) -> None:
    """Everything else is refused (PS3.5 section 9.1)."""
    with pytest.raises(InvalidInstance):
        uid(text)
