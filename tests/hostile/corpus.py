"""Data sets that were made to hurt, as code: nothing binary is kept.

Each case is the encoded data set of a C-STORE and what the listener has to answer. The classes of
attack are those of section 5.3 of the object and trust specification.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.uid import (
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from node.dicom.reading.elements import Walk
from tests.builders import mr_image, part10
from tests.receiving import dataset

EXPLICIT = str(ExplicitVRLittleEndian)
UNDEFINED = 0xFFFFFFFF
CODECS = {
    "RLE": str(RLELossless),
    "JPEG lossless": str(JPEGLosslessSV1),
    "JPEG-LS": str(JPEGLSLossless),
    "JPEG 2000": str(JPEG2000Lossless),
    "HTJ2K": str(HTJ2KLossless),
}
#: How a stream begins, so that its decoder starts in earnest.
MAGIC = {
    "RLE": struct.pack("<16I", 15, *range(64, 64 * 16, 64)),
    "JPEG lossless": b"\xff\xd8\xff\xc3\x00\x0b\x10\xff\xff\xff\xff\x01\x01\x11\x00",
    "JPEG-LS": b"\xff\xd8\xff\xf7\x00\x0b\x10\xff\xff\xff\xff\x01\x01\x11\x00",
    "JPEG 2000": b"\xff\x4f\xff\x51\x00\x29\x00\x00" + b"\x7f\xff\xff\xff" * 2 + bytes(8),
    "HTJ2K": b"\xff\x4f\xff\x51\x00\x29\x40\x00" + b"\x7f\xff\xff\xff" * 2 + bytes(8),
}
REFUSED, TAKEN = 0xC000, 0x0000


#: What a UID must not be, above all a name of a file.
PATHS = {
    "parent folders": b"../../../../tmp/x",
    "absolute path": b"/tmp/lumbar-hostile",
    "NUL inside": b"1.2\x00.3.4",
    "a line break": b"1.2.3\n4",
    "leading zero": b"1.02.3",
    "nothing": b"",
    "66 characters": b"1." + b"2" * 64,
    "Arabic digits": "1.2.\u0663".encode(),
}


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
    syntax: str = EXPLICIT


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
    yield Case("1,000,000 empty elements", element(9, 0x10, b"LO", b"") * 1_000_000 + good)


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
    for keyword, number in (("Study", 0x0D), ("Series", 0x0E)):
        own = str(getattr(mr_image(), f"{keyword}InstanceUID")).encode()
        old = element(0x20, number, b"UI", own + b"\0" * (len(own) % 2))
        yield Case(f"no {keyword} UID", replaced(old, element(0x20, 0x11, b"IS", b"1 ")))
        for name, value in PATHS.items():
            padded = value + b"\0" * (len(value) % 2)
            changed = replaced(old, element(0x20, number, b"UI", padded))
            yield Case(f"{keyword} UID: {name}", changed)
    yield Case("Study UID twice", element(0x20, 0x0D, b"UI", b"1.2\0") + image())
    own = str(mr_image().SOPInstanceUID).encode()
    old = element(8, 0x18, b"UI", own + b"\0" * (len(own) % 2))
    for name, value in {**PATHS, "not the announced one": b"1.2.3.4\0"}.items():
        padded = value + b"\0" * (len(value) % 2)
        yield Case(f"SOP UID: {name}", replaced(old, element(8, 0x18, b"UI", padded)))


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
    good = image()
    head, pixels = good[:-8192], good[-8192:]
    yield Case("pixels too short", head[:-12] + element(0x7FE0, 0x10, b"OW", pixels[:-2]))
    yield Case("pixels too long", head[:-12] + element(0x7FE0, 0x10, b"OW", pixels + b"\0\0"))
    yield Case("float pixels", head[:-12] + element(0x7FE0, 0x08, b"OF", pixels))
    yield Case("double pixels", head[:-12] + element(0x7FE0, 0x09, b"OD", pixels))
    yield Case("encapsulated in a native syntax", _encapsulated(item(b"") + item(b"\xff\x4f")))
    yield Case("palette with a short table", _palette(), TAKEN)
    yield from _fragments()


def _palette() -> bytes:
    """Return an image of palette indices whose table has one entry of the 4096 it claims."""
    grey = element(0x28, 0x04, b"CS", b"MONOCHROME2 ")
    table = struct.pack("<HHH", 4096, 0, 16)
    colours = b"".join(element(0x28, n, b"US", table) for n in (0x1101, 0x1102, 0x1103))
    tables = b"".join(element(0x28, n, b"OW", b"\0\0") for n in (0x1201, 0x1202, 0x1203))
    return replaced(grey, element(0x28, 0x04, b"CS", b"PALETTE COLOR ") + colours + tables)


def _fragments() -> Iterator[Case]:
    """Encapsulated pixels: what the structure says is refused, what only a decoder knows is not."""
    syntax = str(JPEG2000Lossless)
    yield Case("native in a compressed syntax", image(), syntax=syntax)
    yield Case("no fragment", _encapsulated(b""), syntax=syntax)
    yield Case("only an offset table", _encapsulated(item(b"")), syntax=syntax)
    yield Case("fragment too long", _encapsulated(item(b"") + item(b"", 1 << 30)), syntax=syntax)
    open_ended = _encapsulated(item(b"") + item(b"\xff\x4f"), has_end=False)
    yield Case("fragments without an end", open_ended, syntax=syntax)
    offsets = item(struct.pack("<II", 0xFFFFFFF0, 7)) + item(b"\xff\x4f\xff\x51" * 8)
    yield Case("offset table to nowhere", _encapsulated(offsets), TAKEN, syntax)
    odd = item(b"abc") + item(b"\xff\x4f\xff\x51" * 8)
    yield Case("offset table of three bytes", _encapsulated(odd), TAKEN, syntax)
    for name, codec in CODECS.items():
        for what, stream in {"nothing": b"", "noise": bytes(range(256)) * 4}.items():
            fragments = item(b"") + item(MAGIC.get(name, b"") + stream)
            yield Case(f"{what} as {name}", _encapsulated(fragments), TAKEN, codec)


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
        "60,000 characters": b"A" * 60_000,
    }.items():
        padded = value + b" " * (len(value) % 2)
        yield Case(f"description with {name}", element(8, 0x1030, b"LO", padded) + image(), TAKEN)
    for charset, text in {
        b"ISO_IR 999": b"abc",
        b"\\ISO 2022 IR 87": b"\x1b$B;3ED\x1b(B^\x1b$B",
        b"\\ISO 2022 IR 149": b"\x1b$)C\xfb\xf3",
        b"GB18030": b"\x81\x30\x81",
        b"ISO_IR 192": b"\xed\xa0\x80\xf5\x80",
        b"\\".join([b"ISO 2022 IR 87"] * 2000): b"\x1b$B" * 500,
        b"../../etc/passwd": b"x",
    }.items():
        name = charset[:20].decode()
        tags = ((0x10, 0x10, b"PN", text), (8, 0x103E, b"LO", text), (8, 0x05, b"CS", charset))
        body = image()
        for group, number, vr, value in tags:
            body = without(body, group << 16 | number)
            body = element(group, number, vr, value + b" " * (len(value) % 2)) + body
        yield Case(f"character set {name}", body, TAKEN)
    for name, value in {"infinite": b"1e999 ", "not a number": b"NaN ", "empty": b""}.items():
        yield Case(f"{name} slope", element(0x28, 0x1053, b"DS", value) + image(), TAKEN)
    twins = element(0x43, 0x10, b"LO", b"GEMS_PARM_01") + element(
        0x43, 0x11, b"LO", b"GEMS_PARM_01"
    )
    values = element(0x43, 0x102F, b"SS", b"\1\0") + element(0x43, 0x112F, b"LO", b"PHASE ")
    yield Case("private blocks with one creator", twins + values + image(), TAKEN)
    nested = element(9, 0x1002, b"SQ", item(element(9, 0x10, b"LO", b"X ") * 3))
    yield Case("private sequence", element(9, 0x10, b"LO", b"X ") + nested + image(), TAKEN)


def without(body: bytes, tag: int) -> bytes:
    """Return a data set in explicit VR without one of its elements, if it has it."""
    found = Walk(body, 0, frozenset({tag}), implicit=False).run().get(tag)
    if found is None:
        return body
    return body[: found.start - 8] + body[found.start + found.length :]
