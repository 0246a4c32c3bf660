"""DIMSE command sets: group 0000, implicit VR little endian (PS3.7 section 6.3 and annex E)."""

import struct
from collections.abc import Mapping

from node.dicom.upper_layer.pdu import ProtocolError

C_STORE, C_ECHO, C_CANCEL = 0x0001, 0x0030, 0x0FFF
N_EVENT_REPORT, N_ACTION = 0x0100, 0x0130
RESPONSE = 0x8000  # added to the field of the request
DATA_SET, NO_DATA_SET = 0x0001, 0x0101

#: Elements of group 0000 by number (PS3.7 section E.1).
LENGTH, SOP_CLASS, FIELD, MESSAGE_ID, ANSWERS = 0x0000, 0x0002, 0x0100, 0x0110, 0x0120
PRIORITY, DATA_SET_TYPE, STATUS, SOP_INSTANCE = 0x0700, 0x0800, 0x0900, 0x1000
REQUESTED_CLASS, REQUESTED_INSTANCE = 0x0003, 0x1001
EVENT_TYPE, ACTION_TYPE = 0x1002, 0x1008
#: A priority (PS3.7 section 9.3.1.1); medium is 0, low is 2.
_HIGH = b"\x01\x00"

_element = struct.Struct("<HHI")
_NUMBERS = frozenset({FIELD, MESSAGE_ID, ANSWERS, DATA_SET_TYPE, STATUS})


class Command:
    """A received command set.

    Parameters
    ----------
    raw : bytes

    Raises
    ------
    ProtocolError
        When it is not well-formed, or without command field or data set type.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._values: dict[int, bytes] = {}
        at = 0
        while at < len(raw):
            if at + 8 > len(raw):
                raise ProtocolError("a command set is cut off")
            group, number, length = _element.unpack_from(raw, at)
            at += 8 + length
            if group != 0 or at > len(raw):
                raise ProtocolError("a command set is not well-formed")
            self._values[number] = raw[at - length : at]
        self.field = self.number(FIELD)
        self.has_data_set = self.number(DATA_SET_TYPE) != NO_DATA_SET
        self.is_urgent = self._values.get(PRIORITY) == _HIGH

    def number(self, element: int) -> int:
        """Return a US value."""
        raw = self._values.get(element, b"")
        if len(raw) != 2:
            raise ProtocolError(f"(0000,{element:04X}) of a command set is missing or not a number")
        return int.from_bytes(raw, "little")

    def text(self, element: int) -> str:
        """Return a UI value, empty where there is none; nobody has looked whether it is legal."""
        return self._values.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")


def answer(request: Command, status: int) -> bytes:
    """Return the command set that answers a request without a data set of its own."""
    values: dict[int, int | str] = {
        SOP_CLASS: request.text(SOP_CLASS) or request.text(REQUESTED_CLASS),
        FIELD: request.field | RESPONSE,
        ANSWERS: request.number(MESSAGE_ID),
        DATA_SET_TYPE: NO_DATA_SET,
        STATUS: status,
        SOP_INSTANCE: request.text(SOP_INSTANCE) or request.text(REQUESTED_INSTANCE),
    }
    return encode({number: value for number, value in values.items() if value != ""})


def encode(values: Mapping[int, int | str]) -> bytes:
    """Encode elements of group 0000, given in ascending order, with their group length."""
    body = b"".join(_encoded(number, value) for number, value in values.items())
    return _element.pack(0, LENGTH, 4) + struct.pack("<I", len(body)) + body


def _encoded(number: int, value: int | str) -> bytes:
    raw = (
        value.to_bytes(2, "little") if isinstance(value, int) else value.encode("ascii", "replace")
    )
    raw += b"\0" * (len(raw) % 2)
    return _element.pack(0, number, len(raw)) + raw
