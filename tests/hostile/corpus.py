"""Data sets that were made to hurt, as code: nothing binary is kept.

Each case is the encoded data set of a C-STORE and what the listener has to answer. The classes of
attack are those of section 5.3 of the object and trust specification.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from tests.builders import mr_image, part10
from tests.receiving import dataset

UNDEFINED = 0xFFFFFFFF
REFUSED, TAKEN = 0xC000, 0x0000


@dataclass(frozen=True)
class Case:
    """One hostile data set.

    Attributes
    ----------
    name : str
    body : bytes
        The data set as it is sent.
    answer : int
        The status the listener has to give.
    syntax : str
        Transfer syntax it is sent in.
    """

    name: str
    body: bytes
    answer: int = REFUSED
    syntax: str = str(ExplicitVRLittleEndian)


def cases() -> Iterator[Case]:
    """Yield every case."""
    yield from _broken_lengths()
    yield from _nesting()
    yield from _identities()
    yield from _pixels()
    yield from _text()


def image() -> bytes:
    """Return the data set of a good image, the one every case is made from."""
    return dataset(part10(mr_image()))


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """Encode an element in explicit VR, with the length it claims if that is to be another."""
    size = len(value) if length is None else length
    if vr in {b"OB", b"OW", b"SQ", b"UN", b"UT"}:
        return struct.pack("<HH2sHI", group, number, vr, 0, size) + value
    return struct.pack("<HH2sH", group, number, vr, size) + value


def item(value: bytes, length: int | None = None) -> bytes:
    """Encode an item, with the length it claims if that is to be another."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value) if length is None else length) + value


def replaced(old: bytes, new: bytes) -> bytes:
    """Return the good image with one element's bytes exchanged."""
    body = image()
    if body.count(old) != 1:
        raise ValueError("the element is not there exactly once")
    return body.replace(old, new)


def _broken_lengths() -> Iterator[Case]:
    good = image()
    for percent in range(10, 100, 10):
        yield Case(f"cut at {percent} %", good[: len(good) * percent // 100])
    yield Case("empty", b"")
    for length in (0x7FFFFFF0, 0xFFFFFFF0, 0x7FFFFFF1, UNDEFINED):
        bomb = element(8, 0x103E, b"UT", b"", length)
        yield Case(f"length {length:#x}", bomb + good)
    yield Case("sequence without an end", element(0x40, 0xA730, b"SQ", item(b""), UNDEFINED) + good)
    yield Case("item longer than its sequence", element(0x40, 0xA730, b"SQ", item(b"", 64)) + good)
    yield Case("stray item delimiter", struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + good)
    yield Case("no such value representation", element(8, 0x103E, b"??", b"") + good)
    yield Case("implicit in explicit", struct.pack("<HHI", 8, 0x103E, 4) + b"text" + good)
    yield Case("explicit in implicit", good, syntax=str(ImplicitVRLittleEndian))
    yield Case("100,000 empty elements", element(9, 0x10, b"LO", b"") * 100_000 + good)


def _nesting() -> Iterator[Case]:
    for depth in (17, 50, 200, 5000):
        for length in (None, UNDEFINED):
            value = b""
            for _ in range(depth):
                end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) if length else b""
                last = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if length else b""
                inner = item(value, UNDEFINED) + end if length else item(value)
                value = element(0x40, 0xA730, b"SQ", inner, length) + last
            kind = "open" if length else "closed"
            yield Case(f"{depth} {kind} sequences", value + image())


def _identities() -> Iterator[Case]:
    study = str(mr_image().StudyInstanceUID).encode()
    old = element(0x20, 0x0D, b"UI", study + b"\0" * (len(study) % 2))
    yield Case("no study UID", replaced(old, element(0x20, 0x11, b"IS", b"1 ")))
    for name, value in {
        "parent folders": b"../../../../tmp/x",
        "absolute path": b"/tmp/lumbar-hostile",
        "NUL inside": b"1.2\x00.3.4",
        "a line break": b"1.2.3\n4",
        "leading zero": b"1.02.3",
        "nothing": b"",
        "Arabic digits": "1.2.٣".encode(),
    }.items():
        padded = value + b"\0" * (len(value) % 2)
        yield Case(f"study UID: {name}", replaced(old, element(0x20, 0x0D, b"UI", padded)))
    long = b"1." + b"2" * 64
    yield Case("study UID of 66", replaced(old, element(0x20, 0x0D, b"UI", long)))
    yield Case("study UID twice", element(0x20, 0x0D, b"UI", b"1.2\0") + image())


def _pixels() -> Iterator[Case]:
    rows = element(0x28, 0x10, b"US", struct.pack("<H", 64))
    bits = element(0x28, 0x100, b"US", struct.pack("<H", 16))
    samples = element(0x28, 0x02, b"US", struct.pack("<H", 1))
    for value in (0, 63, 65, 4097, 65535):
        changed = replaced(rows, element(0x28, 0x10, b"US", struct.pack("<H", value)))
        yield Case(f"{value} rows", changed)
    for value in (0, 1, 12, 64):
        changed = replaced(bits, element(0x28, 0x100, b"US", struct.pack("<H", value)))
        yield Case(f"{value} bits", changed)
    changed = replaced(samples, element(0x28, 0x02, b"US", struct.pack("<H", 3)))
    yield Case("3 samples", changed)
    for frames in (b"0 ", b"2147483648", b"-1", b"1e9 ", b"\xff\xff"):
        yield Case(f"frames {frames!r}", element(0x28, 0x08, b"IS", frames) + image())
    yield Case("encapsulated in a native syntax", _encapsulated(item(b"") + item(b"\xff\x4f")))
    syntax = str(JPEG2000Lossless)
    yield Case("native in a compressed syntax", image(), syntax=syntax)
    yield Case("no fragment", _encapsulated(b""), syntax=syntax)
    yield Case("only an offset table", _encapsulated(item(b"")), syntax=syntax)
    yield Case("fragment too long", _encapsulated(item(b"") + item(b"", 1 << 30)), syntax=syntax)
    open_ended = _encapsulated(item(b"") + item(b"\xff\x4f"), has_end=False)
    yield Case("fragments without an end", open_ended, syntax=syntax)


def _encapsulated(fragments: bytes, *, has_end: bool = True) -> bytes:
    body = image()
    head = body[: body.index(element(0x7FE0, 0x10, b"OW", b"", 8192))]
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if has_end else b""
    return head + element(0x7FE0, 0x10, b"OB", fragments + end, UNDEFINED)


def _text() -> Iterator[Case]:
    """Text that is somebody else's problem: it is stored, never printed, never a file name."""
    for name, value in {
        "HTML": b"<script>alert(1)</script>",
        "line breaks": b"a\r\n2026 [info] forged log line",
        "terminal codes": b"\x1b[31m\x1b]0;x\x07",
        "format string": b"%s%n{0.__class__}",
        "broken UTF-8": b"\xc3\x28\xff\xfe",
    }.items():
        padded = value + b" " * (len(value) % 2)
        yield Case(f"description with {name}", element(8, 0x1030, b"LO", padded) + image(), TAKEN)
    for name, value in {"infinite": b"1e999 ", "not a number": b"NaN ", "empty": b""}.items():
        yield Case(f"{name} slope", element(0x28, 0x1053, b"DS", value) + image(), TAKEN)
