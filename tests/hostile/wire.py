"""PDUs and messages by hand, so that each byte of them can be wrong (PS3.8 section 9.3, PS3.7)."""

import socket
import struct
from contextlib import suppress

from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

MR = str(MRImageStorage)
LAST, COMMAND = 2, 1  # bits of a fragment's control header
RELEASE = struct.pack(">BBII", 5, 0, 4, 0)
ABORT = struct.pack(">BBII", 7, 0, 4, 0)


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    """Return a PDU, with the length it claims if that is to be another."""
    return struct.pack(">BBI", kind, 0, len(body) if length is None else length) + body


def request(
    *,
    contexts: int = 1,
    called: str = "LUMBAR",
    calling: str = "HOSTILE",
    max_pdu: int = 16384,
    version: int = 1,
    syntax: str = ExplicitVRLittleEndian,
) -> bytes:
    """Return an A-ASSOCIATE-RQ that proposes MR in one syntax, so many times."""
    proposals = b"".join(
        _item(
            0x20,
            bytes([(2 * number + 1) % 256, 0, 0, 0])
            + _item(0x30, MR.encode())
            + _item(0x40, syntax.encode()),
        )
        for number in range(contexts)
    )
    user = _item(0x51, struct.pack(">I", max_pdu)) + _item(0x52, b"1.2.3.4")
    titles = called.ljust(16).encode() + calling.ljust(16).encode() + bytes(32)
    application = _item(0x10, b"1.2.840.10008.3.1.1.1")
    body = struct.pack(">HH", version, 0) + titles + application + proposals + _item(0x50, user)
    return pdu(1, body)


def data(fragment: bytes, control: int, context: int = 1) -> bytes:
    """Return a P-DATA-TF with one fragment."""
    return pdu(4, struct.pack(">IBB", len(fragment) + 2, context, control) + fragment)


def store_command(sop_instance: str, sop_class: str = MR) -> bytes:
    """Return the command set of a C-STORE-RQ, which is always implicit VR little endian."""
    rest = (
        _element(0x0002, _padded(sop_class))
        + _element(0x0100, struct.pack("<H", 1))
        + _element(0x0110, struct.pack("<H", 1))
        + _element(0x0700, struct.pack("<H", 0))
        + _element(0x0800, struct.pack("<H", 0))
        + _element(0x1000, _padded(sop_instance))
    )
    return _element(0x0000, struct.pack("<I", len(rest))) + rest


def store(sop_instance: str, body: bytes, piece: int = 8000) -> bytes:
    """Return a whole C-STORE as PDUs."""
    pieces = [body[at : at + piece] for at in range(0, len(body), piece)]
    head = data(store_command(sop_instance), COMMAND | LAST)
    return head + b"".join(
        data(one, LAST * (number == len(pieces))) for number, one in enumerate(pieces, 1)
    )


def connect(port: int) -> socket.socket:
    """Connect and say nothing."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def say(port: int, *what: bytes, wait_s: float = 5.0, hang_up: bool = False) -> bytes:
    """Connect, say this, and return everything that is answered until the connection ends."""
    answer = b""
    connection = socket.create_connection(("127.0.0.1", port), timeout=wait_s)
    with connection, suppress(OSError):
        for part in what:
            connection.sendall(part)
        if hang_up:
            return answer
        connection.shutdown(socket.SHUT_WR)
        while got := connection.recv(65536):
            answer += got
    return answer


def statuses(answer: bytes) -> list[int]:
    """Return the statuses in the C-STORE responses among these PDUs."""
    found = []
    at = answer.find(b"\x00\x00\x00\x09\x02\x00\x00\x00")
    while at >= 0:
        found.append(int.from_bytes(answer[at + 8 : at + 10], "little"))
        at = answer.find(b"\x00\x00\x00\x09\x02\x00\x00\x00", at + 1)
    return found


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def _padded(text: str) -> bytes:
    raw = text.encode()
    return raw + b"\0" * (len(raw) % 2)
