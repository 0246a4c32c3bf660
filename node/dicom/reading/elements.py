"""Walk the data elements of an encoded data set: tags, lengths and nesting, never values.

The walk keeps a stack of its own, so depth costs no recursion, and looks at each element once.
Source: PS3.5 sections 7.1 (elements), 7.5 (sequences), A.4 (encapsulated pixels), 6.2.2 (UN).
"""

import mmap
import struct
from typing import NamedTuple

from pydicom.datadict import DicomDictionary

from node.errors import InvalidInstance

Buffer = bytes | memoryview | mmap.mmap

PREAMBLE = 132  # 128 bytes and "DICM", PS3.10 7.1
MAX_DEPTH = 16
MAX_ELEMENTS = 20_000  # of one data set
MAX_ELEMENTS_IN_ALL = 1_000_000  # an enhanced object holds one small data set for each frame

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXELS = 0x7FE00010

_tag = struct.Struct("<HH")
_implicit = struct.Struct("<HHI")
_explicit = struct.Struct("<HH2sH")
_long = struct.Struct("<I")

_SHORT_FORM = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG_FORM = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_NOTHING: frozenset[int] = frozenset()
_SEQUENCES = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")


class Element(NamedTuple):
    """Where the value of an element lies."""

    start: int
    length: int
    is_encapsulated: bool = False


class _Level:
    """A data set or a sequence that the walk is inside of."""

    __slots__ = ("count", "end", "implicit", "is_open", "is_sequence")

    def __init__(self, end: int, *, implicit: bool, is_sequence: bool, is_open: bool) -> None:
        self.end = end  # no element may reach beyond
        self.implicit = implicit
        self.is_sequence = is_sequence
        self.is_open = is_open  # of undefined length: a delimiter ends it, not `end`
        self.count = 0


class Walk:
    """One pass over a data set.

    Parameters
    ----------
    part10 : bytes, memoryview or mmap
    offset : int
        Where the data set begins; it ends with the buffer.
    wanted : frozenset of int
        Tags whose place at the top level is returned.
    implicit : bool
        Implicit VR (else explicit), both little endian.
    """

    def __init__(
        self, part10: Buffer, offset: int, wanted: frozenset[int], *, implicit: bool
    ) -> None:
        self._bytes = part10
        self._at = offset
        self._wanted = wanted
        #: The wanted elements that were passed so far; after a fault, those before it.
        self.found: dict[int, Element] = {}
        self._total = 0
        self._stack = [_Level(len(part10), implicit=implicit, is_sequence=False, is_open=False)]

    def run(self) -> dict[int, Element]:
        """Return where the wanted elements are.

        Raises
        ------
        InvalidInstance
            Truncated, nested too deep, too many elements, or not well-formed.
        """
        stack = self._stack
        while True:
            level = stack[-1]
            if self._at >= level.end:
                if level.is_open:
                    raise self._error("a sequence or item has no end")
                if len(stack) == 1:
                    return self.found
                stack.pop()
            elif level.is_sequence:
                self._item(level)
            elif level.implicit or not self._step_over(level):
                self._element(level)

    def _item(self, level: _Level) -> None:
        """Step into the next item of a sequence, or leave the sequence."""
        tag, length = self._item_header(level)
        if tag == _SEQUENCE_END and level.is_open:
            self._stack.pop()
        elif tag == _ITEM:
            self._push(level, length, implicit=level.implicit, is_sequence=False)
        else:
            raise self._error(
                f"({tag >> 16:04X},{tag & 0xFFFF:04X}) between the items of a sequence"
            )

    def _step_over(self, level: _Level) -> bool:
        """Step over elements as long as they are plain: explicit, short and not wanted.

        Most of every header is. Returns whether there was one; what it leaves is looked at by
        `_element`.
        """
        wanted = self._wanted if len(self._stack) == 1 else _NOTHING
        buffer, at, last = self._bytes, self._at, level.end - 8
        count = 0
        while at <= last:
            group, number, vr, length = _explicit.unpack_from(buffer, at)
            beyond = at + 8 + length
            is_plain = vr in _SHORT_FORM and group != 0xFFFE and beyond <= level.end
            if not is_plain or group << 16 | number in wanted:
                break
            at = beyond
            count += 1
        self._at = at
        self._count(level, count)
        return count > 0

    def _element(self, level: _Level) -> None:
        """Step over an element, or into it when it is a sequence."""
        self._count(level)
        tag, vr, length = self._header(level)
        if tag == _ITEM_END and level.is_open:
            self._stack.pop()
            return
        if tag >> 16 == 0xFFFE:
            raise self._error("a delimiter where an element should be")
        start = self._at
        is_pixels = tag == _PIXELS and vr != b"SQ" and length == _UNDEFINED
        if is_pixels:
            self._fragments(level)
        elif self._is_sequence(tag, vr, length, implicit=level.implicit):
            # PS3.5 6.2.2: inside an unknown element everything is implicit VR.
            implicit = level.implicit or vr == b"UN"
            self._push(level, length, implicit=implicit, is_sequence=True)
        elif length == _UNDEFINED:
            raise self._error(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) may not have undefined length")
        else:
            self._skip(level, tag, length)
        if len(self._stack) == 1 and tag in self._wanted:
            if tag in self.found:
                raise self._error(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is there twice")
            self.found[tag] = Element(start, length, is_pixels)

    def _is_sequence(self, tag: int, vr: bytes, length: int, *, implicit: bool) -> bool:
        if vr == b"SQ":
            return True
        if implicit or vr == b"UN":
            return length == _UNDEFINED or tag in _SEQUENCES
        return False

    def _header(self, level: _Level) -> tuple[int, bytes, int]:
        """Read tag, VR (empty when implicit) and length; leave the position at the value."""
        self._require(level, 8)
        if level.implicit:
            group, number, length = _implicit.unpack_from(self._bytes, self._at)
            self._at += 8
            return group << 16 | number, b"", length
        group, number, vr, length = _explicit.unpack_from(self._bytes, self._at)
        tag = group << 16 | number
        if group == 0xFFFE:
            self._at += 8
            return tag, b"", 0
        if vr in _SHORT_FORM:
            self._at += 8
            return tag, vr, length
        if vr not in _LONG_FORM and not (vr.isalpha() and vr.isupper()):
            raise self._error(f"({group:04X},{number:04X}) has no legal value representation")
        self._require(level, 12)
        (length,) = _long.unpack_from(self._bytes, self._at + 8)
        self._at += 12
        return tag, vr, length

    def _item_header(self, level: _Level) -> tuple[int, int]:
        self._require(level, 8)
        group, number, length = _implicit.unpack_from(self._bytes, self._at)
        self._at += 8
        return group << 16 | number, length

    def _fragments(self, level: _Level) -> None:
        """Step over encapsulated pixels: an offset table, at least one fragment, a delimiter."""
        count = 0
        while True:
            if level.end - self._at < 8:
                raise self._error("PixelData has no sequence delimiter: cut off or wrongly written")
            tag, length = self._item_header(level)
            if tag == _SEQUENCE_END:
                break
            if tag != _ITEM or length == _UNDEFINED:
                raise self._error("the fragments of PixelData are not well-formed")
            count += 1
            self._total += 1
            self._skip(level, _PIXELS, length)
        if count < 2:
            raise self._error("PixelData has no fragment")

    def _push(self, level: _Level, length: int, *, implicit: bool, is_sequence: bool) -> None:
        if is_sequence and len(self._stack) > 2 * MAX_DEPTH:
            raise self._error(f"sequences are nested more than {MAX_DEPTH} deep")
        is_open = length == _UNDEFINED
        end = level.end if is_open else self._at + length
        if end > level.end:
            raise self._error("truncated: a sequence or item claims more bytes than there are")
        self._count(level)
        self._stack.append(_Level(end, implicit=implicit, is_sequence=is_sequence, is_open=is_open))

    def _count(self, level: _Level, number: int = 1) -> None:
        level.count += number
        self._total += number
        if self._total > MAX_ELEMENTS_IN_ALL or (
            level.count > MAX_ELEMENTS and not level.is_sequence
        ):
            raise self._error("too many elements")

    def _skip(self, level: _Level, tag: int, length: int) -> None:
        if self._at + length > level.end:
            raise self._error(
                f"truncated: ({tag >> 16:04X},{tag & 0xFFFF:04X}) claims {length} bytes, "
                f"{level.end - self._at} are left"
            )
        self._at += length

    def _require(self, level: _Level, size: int) -> None:
        if self._at + size > level.end:
            raise self._error("truncated in the middle of an element")

    def _error(self, what: str) -> InvalidInstance:
        return InvalidInstance(f"{what} (at byte {min(self._at, len(self._bytes))})")


def read_meta(part10: Buffer) -> tuple[dict[int, Element], int]:
    """Return the elements of the file meta information (group 0002) and where it ends.

    It is always explicit VR little endian (PS3.10 section 7.1).

    Raises
    ------
    InvalidInstance
        When it is not well-formed or its group length is not true.
    """
    found: dict[int, Element] = {}
    at = PREAMBLE
    while at + 8 <= len(part10):
        group, number, vr, length = _explicit.unpack_from(part10, at)
        if group != 0x0002:
            break
        start = at + 8
        if vr in (b"OB", b"UN", b"UR"):
            if at + 12 > len(part10):
                raise InvalidInstance("truncated in the file meta information")
            (length,) = _long.unpack_from(part10, at + 8)
            start = at + 12
        elif vr not in _SHORT_FORM:
            raise InvalidInstance("the file meta information has no legal value representation")
        at = start + length
        if at > len(part10):
            raise InvalidInstance("truncated in the file meta information")
        if 0x00020000 | number in found:
            raise InvalidInstance("an element of the file meta information is there twice")
        found[0x00020000 | number] = Element(start, length)
    _check_group_length(part10, found, at)
    return found, at


def _check_group_length(part10: Buffer, found: dict[int, Element], end: int) -> None:
    if 0x00020000 not in found:
        return
    start, length, _ = found[0x00020000]
    claimed = int.from_bytes(part10[start : start + min(length, 4)], "little")
    if start + length + claimed != end:
        raise InvalidInstance("the file meta information does not have the length it claims")
