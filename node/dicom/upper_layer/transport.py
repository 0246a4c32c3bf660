"""What pynetdicom leaves open: the delay of small packets, and an answer that nobody gets."""

import socket
import threading
from typing import Any

_AGAIN_S = 0.05  # how often a reactor that waits says so


def no_delay(event: Any) -> None:
    """Handle EVT_CONN_OPEN: send at once (Nagle's algorithm costs 40 ms for each answer)."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def as_requestor(event: Any) -> None:
    """Handle EVT_CONN_OPEN of an association that this side asked for."""
    no_delay(event)
    # Before negotiation: the association's reactor does not run yet.
    event.assoc._reactor_checkpoint = _Checkpoint(event.assoc)


class _Checkpoint(threading.Event):
    """Where pynetdicom's reactor stops while a message is sent and its answer awaited.

    Its own one is an Event: the reactor says that it is paused, waits, and says that it is not.

    - A sender that clears the event when the wait is over but that is not yet said takes it for
      paused; the reactor then runs on, takes the answer off the queue and drops it, and the sender
      waits for it in vain until its timeout (seen once in some 6,000 objects on a busy machine,
      with 3.0.4). Here the end of the wait and what is said of it are one step.
    - A report that comes meanwhile is served on another thread, which says at its end that the
      reactor is not paused; a sender then waits for ever for what is so. Here it is said again.
    """

    def __init__(self, association: Any) -> None:
        super().__init__()
        self._association = association
        self._step = threading.Lock()
        self.set()

    def clear(self) -> None:
        """Stop the reactor when it next comes here."""
        with self._step:
            super().clear()

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - the reactor has none
        """Wait until the reactor may go on, and say that it is not paused any more."""
        while True:
            if super().wait(_AGAIN_S):
                with self._step:
                    if self.is_set():
                        self._association._is_paused = False
                        return True
            self._association._is_paused = True
