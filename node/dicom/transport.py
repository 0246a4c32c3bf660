"""What pynetdicom leaves open about its TCP connections: delay and size."""

import socket
from typing import Any

#: The largest PDU this node asks for, in both directions; DCMTK sends no larger ones.
MAX_PDU = 131_072

#: No PDU may be larger, an A-ASSOCIATE-RQ with 128 contexts of 60 syntaxes included.
_MAX_RECEIVED = 1 << 20


def no_delay(event: Any) -> None:
    """Handle EVT_CONN_OPEN: send at once (Nagle's algorithm costs 40 ms for each answer)."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def bounded(event: Any) -> None:
    """Handle EVT_CONN_OPEN of a listener: as `no_delay`, and refuse PDUs of absurd size.

    pynetdicom 3.0.4 believes the length a PDU announces, up to 4 GiB, and collects it in pieces
    of 4 KiB. The reader set here takes it in one buffer, up to a limit; beyond that the
    connection ends like one that broke.
    """
    no_delay(event)
    wrapper = event.assoc.dul.socket
    connection = wrapper.socket

    def receive(size: int) -> bytearray:
        if size > _MAX_RECEIVED:
            raise OSError(f"a PDU of {size} bytes was announced")
        buffer = bytearray(size)
        view = memoryview(buffer)
        filled = 0
        while filled < size:
            count = connection.recv_into(view[filled:])
            if not count:
                return buffer[:filled]
            filled += count
        return buffer

    wrapper.recv = receive
