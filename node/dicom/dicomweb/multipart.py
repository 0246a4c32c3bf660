"""Read a multipart/related message piece by piece: a STOW-RS request, a WADO-RS answer.

Source: RFC 2387 (multipart/related), RFC 2046 section 5.1; PS3.18 section 8.6.1.2.
"""

from collections.abc import Callable
from typing import Protocol

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from node.errors import Rejected


class BrokenMessage(Rejected):
    """A message that is no multipart/related message of DICOM files, or not a whole one."""


class Part(Protocol):
    """What takes the bytes of one part."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def end(self) -> None:
        """Know that there are no more."""

    def drop(self) -> None:
        """Forget the part: its message was cut off."""


class MultipartReader:
    """Hands the bytes of each part on as they come; nothing is held.

    Parameters
    ----------
    content_type : str
        Of the message, with its boundary.
    open_part : callable
        Called at the beginning of each part.

    Raises
    ------
    BrokenMessage
        When ``content_type`` is not multipart/related; application/dicom, or has no boundary.
    """

    def __init__(self, content_type: str, open_part: Callable[[], Part]) -> None:
        kind, options = parse_options_header(content_type)
        if kind.lower() != b"multipart/related":
            raise BrokenMessage("the message has to be multipart/related")
        if options.get(b"type", b"application/dicom").lower() != b"application/dicom":
            raise BrokenMessage("the parts of the message have to be application/dicom")
        if not options.get(b"boundary"):
            raise BrokenMessage("the Content-Type of the message names no boundary")
        self._open_part = open_part
        self._part: Part | None = None
        self._is_complete = False
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._complete,
                },
            )
        except FormParserError as error:
            raise BrokenMessage(str(error)) from error

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the message.

        Raises
        ------
        BrokenMessage
            When they do not follow the form; parts that ended before are untouched.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            self.drop()
            raise BrokenMessage(f"the message is not well-formed: {error}") from error

    def close(self) -> None:
        """Raise `BrokenMessage` unless the closing boundary was there."""
        if not self._is_complete:
            self.drop()
            raise BrokenMessage("the message ends before its closing boundary")

    def drop(self) -> None:
        """Forget the part that is not at its end."""
        if self._part is not None:
            self._part.drop()
            self._part = None

    def _begin(self) -> None:
        self._part = self._open_part()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part.write(data[start:end])

    def _end(self) -> None:
        if self._part is not None:
            self._part.end()
            self._part = None

    def _complete(self) -> None:
        self._is_complete = True
