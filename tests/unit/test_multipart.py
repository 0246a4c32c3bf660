"""Multipart messages come apart in the same way however they are cut up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.dicom.dicomweb.multipart import BrokenMessage, MultipartReader

HEAD = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
CONTENT_TYPE = 'multipart/related; type="application/dicom"; boundary=b'


class Part:
    """A part that remembers."""

    def __init__(self, into: list[bytes]) -> None:
        self._into, self._bytes = into, b""

    def write(self, chunk: bytes) -> None:
        self._bytes += chunk

    def end(self) -> None:
        self._into.append(self._bytes)

    def drop(self) -> None:
        self._into.append(b"dropped")


def read(message: bytes, size: int) -> list[bytes]:
    ended: list[bytes] = []
    reader = MultipartReader(CONTENT_TYPE, lambda: Part(ended))
    for start in range(0, len(message), size):
        reader.feed(message[start : start + size])
    reader.close()
    return ended


@given(
    parts=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    size=st.integers(min_value=1, max_value=700),
)
def test_the_cuts_make_no_difference(parts: list[bytes], size: int) -> None:
    """Bytes that look like line ends and half boundaries included."""
    parts = [*parts, b"\r\n--", b"\r\n-", b"", b"\r\n--a\r\n--"]
    message = b"\r\n".join(HEAD + part for part in parts) + b"\r\n--b--\r\n"

    assert read(message, size) == parts


@pytest.mark.parametrize("cut", [1, 10, 60, 80])
def test_a_message_without_its_end_drops_what_is_not_whole(cut: int) -> None:
    """What ended before is kept, the rest is dropped, and the reader says so."""
    message = HEAD + b"one" + b"\r\n" + HEAD + b"x" * 60 + b"\r\n--b--"
    ended: list[bytes] = []
    reader = MultipartReader(CONTENT_TYPE, lambda: Part(ended))
    reader.feed(message[:-cut])

    with pytest.raises(BrokenMessage, match="ends before its closing boundary"):
        reader.close()
    assert ended[0] == b"one"
    assert b"x" * 60 not in ended[1:] or cut < 8
