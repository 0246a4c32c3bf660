"""What pynetdicom leaves open about its TCP connections: the delay of small packets."""

import socket
from typing import Any


def no_delay(event: Any) -> None:
    """Handle EVT_CONN_OPEN: send at once (Nagle's algorithm costs 40 ms for each answer)."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
