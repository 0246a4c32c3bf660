"""A DICOM sender that writes its own bytes, for what no honest toolkit would send.

Nothing of the node or of pynetdicom is used: an independent reading of PS3.8 section 9.3 and
PS3.7 annex E.
"""

import socket
import struct
from collections.abc import Sequence
from typing import Self

MR, ENHANCED_MR, ECHO = (
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.1.1",
)
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
COMMAND, LAST = 1, 2  # bits of a fragment's header
AC, RJ, DATA, RELEASED, ABORTED = 2, 3, 4, 6, 7


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    """Return a PDU, with the length it claims if that is to be another."""
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


def fragment(context: int, control: int, body: bytes) -> bytes:
    """Return one presentation data value item."""
    return struct.pack(">IBB", len(body) + 2, context, control) + body


def data(context: int, control: int, body: bytes) -> bytes:
    """Return a P-DATA-TF with one fragment."""
    return pdu(DATA, fragment(context, control, body))


def cut(context: int, control: int, body: bytes, size: int) -> bytes:
    """Return P-DATA-TFs with fragments of ``size`` bytes."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    ends = [LAST if n == len(pieces) - 1 else 0 for n in range(len(pieces))]
    return b"".join(
        data(context, control | end, piece) for end, piece in zip(ends, pieces, strict=True)
    )


def command(field: int, sop_class: str = MR, sop_instance: str = "", *, with_data: bool) -> bytes:
    """Return a command set."""
    elements = [
        (0x0002, _ui(sop_class)),
        (0x0100, struct.pack("<H", field)),
        (0x0110, struct.pack("<H", 7)),
        (0x0700, struct.pack("<H", 2)),
        (0x0800, struct.pack("<H", 1 if with_data else 0x0101)),
        *([(0x1000, _ui(sop_instance))] if sop_instance else []),
    ]
    body = b"".join(struct.pack("<HHI", 0, n, len(v)) + v for n, v in elements)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def request(
    *contexts: tuple[int, str, str],
    called: str = "LUMBAR",
    calling: str = "RAW",
    version: int = 1,
    application: str = "1.2.840.10008.3.1.1.1",
) -> bytes:
    """Return an A-ASSOCIATE-RQ for contexts of (id, SOP class, transfer syntax)."""
    items = b"".join(
        _item(
            0x20,
            struct.pack(">Bxxx", number)
            + _item(0x30, abstract.encode())
            + _item(0x40, syntax.encode()),
        )
        for number, abstract, syntax in contexts
    )
    user = _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"1.2.3.4")
    titles = called.ljust(16).encode() + calling.ljust(16).encode() + bytes(32)
    head = struct.pack(">Hxx", version) + titles + _item(0x10, application.encode())
    return pdu(1, head + items + _item(0x50, user))


class RawSender:
    """One connection; ``with`` closes it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def associate(self, *contexts: tuple[int, str, str]) -> None:
        """Open an association; without contexts, for MR images in explicit VR with id 1."""
        self.socket.sendall(request(*(contexts or [(1, MR, EXPLICIT)])))
        kind, _ = self.receive()
        assert kind == AC

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def receive(self) -> tuple[int, bytes]:
        """Return type and body of the next PDU; (0, b"") when the connection has ended."""
        header = self._take(6)
        if not header:
            return 0, b""
        kind, length = struct.unpack(">BxI", header)
        return kind, self._take(length)

    def status(self) -> int:
        """Return the status of the next answer."""
        kind, body = self.receive()
        assert kind == DATA
        return int.from_bytes(value(body[6:], 0x0900), "little")

    def store(self, sop_instance: str, body: bytes, context: int = 1, sop_class: str = MR) -> int:
        """Send an image in two P-DATA-TFs and return the status of the answer."""
        said = command(1, sop_class, sop_instance, with_data=True)
        self.send(data(context, COMMAND | LAST, said) + data(context, LAST, body))
        return self.status()

    def release(self) -> None:
        self.send(pdu(5, bytes(4)))
        assert self.receive()[0] == RELEASED

    def _take(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            try:
                piece = self.socket.recv(size - len(taken))
            except ConnectionResetError:
                piece = b""
            if not piece:
                return b""
            taken += piece
        return taken


def value(command_set: bytes, element: int) -> bytes:
    """Return the value of an element of group 0000."""
    at = 0
    while at < len(command_set):
        _, number, length = struct.unpack_from("<HHI", command_set, at)
        if number == element:
            return command_set[at + 8 : at + 8 + length]
        at += 8 + length
    raise AssertionError(f"no (0000,{element:04X})")


def chunks(octets: bytes, size: int) -> Sequence[bytes]:
    return [octets[at : at + size] for at in range(0, len(octets), size)]


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _ui(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)
