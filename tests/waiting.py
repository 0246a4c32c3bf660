"""Waiting with a deadline, for every tier of tests."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def answers(port: int) -> bool:
    """Tell whether something listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(
    condition: Callable[[], T], *, seconds: float = 20.0, what: str = "it", every: float = 0.05
) -> T:
    """Call ``condition`` until it returns something true, and return that.

    Raises
    ------
    AssertionError
        When ``seconds`` have passed.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}")
        time.sleep(every)
    return value
