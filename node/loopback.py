"""Processes on loopback for ``demo`` and ``bench``: free ports, programs, started and ended."""

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

#: Debian's DCMTK, which Orthanc links too, leaves Nagle's algorithm on unless told otherwise.
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
_STOP_S = 20.0
#: Below those that systems give to outgoing connections (from 32768 on Linux, 49152 elsewhere).
_PORTS = range(15_000, 32_000)


def free_port() -> int:
    """Return a loopback port that nothing uses now and no outgoing connection takes meanwhile."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def find(program: str) -> str | None:
    """Find a program of the system; a virtual environment may hold others of the same name."""
    return shutil.which(program, path="/usr/local/bin:/usr/bin:/usr/sbin:/opt/homebrew/bin")


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process with all it prints in a file; it is ended, by pid, on the way out."""
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - our own command lines
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=ENVIRONMENT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
