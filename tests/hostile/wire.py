"""Sessions on the wire, of the bytes of `tests.raw_sender`, right or wrong in any of them."""

import socket
from contextlib import suppress
from typing import Any

from tests import raw_sender
from tests.raw_sender import COMMAND, EXPLICIT, LAST, MR, command, cut, data, pdu

RELEASE, ABORT = pdu(5, bytes(4)), pdu(7, bytes(4))


def request(contexts: int = 1, syntax: str = EXPLICIT, **options: Any) -> bytes:
    """Return an A-ASSOCIATE-RQ that proposes MR in one syntax, so many times."""
    proposals = [((2 * number + 1) % 256, MR, syntax) for number in range(contexts)]
    return raw_sender.request(*proposals, **options)


def store(sop_instance: str, body: bytes, piece: int = 8000) -> bytes:
    """Return a whole C-STORE as PDUs."""
    said = command(1, MR, sop_instance, with_data=True)
    return data(1, COMMAND | LAST, said) + cut(1, 0, body, piece)


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
