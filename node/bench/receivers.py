"""The receivers that a bench compares, each as processes of their own on loopback."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node import loopback
from node.errors import LumbarError
from node.loopback import find

AE_TITLE = "LUMBAR"
OURS = "lumbar-node"
_START_S = 60.0


@dataclass(frozen=True)
class Receiver:
    """A receiver that can be started.

    Attributes
    ----------
    name : str
    durable : str
        What is on the disk before it says Success.
    program : str or None
        Its executable, None when it is not installed.
    command : callable
        Makes the command line from the executable, a port and an empty folder.
    """

    name: str
    durable: str
    program: str | None
    command: Callable[[str, int, Path], list[str]]


def known() -> list[Receiver]:
    """Return this node first, then its peers, installed or not."""
    return [
        Receiver(OURS, "file and folder", sys.executable, _node),
        Receiver("Orthanc", "file", find("Orthanc"), _orthanc),
        Receiver("storescp --fork", "nothing", find("storescp"), _storescp),
        Receiver("pynetdicom", "file", sys.executable, _plain),
    ]


@contextmanager
def running(receiver: Receiver, folder: Path) -> Iterator[tuple[int, int]]:
    """Run a receiver in a folder; yield its process id and port.

    Raises
    ------
    LumbarError
        When it does not come up.
    """
    port = loopback.free_port()
    command = receiver.command(receiver.program or "", port, folder)
    with loopback.running(command, folder / "log") as process:
        if not _answers(port, process):
            words = (folder / "log").read_text("utf-8", "replace")[-500:]
            raise LumbarError(f"{receiver.name} did not start: {words or 'it said nothing'}")
        yield process.pid, port


def _answers(port: int, process: "subprocess.Popen[bytes]") -> bool:
    """Wait until something listens on the port, and tell whether it does."""
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False


def _node(python: str, port: int, folder: Path) -> list[str]:
    settings = (
        f"data_dir = {json.dumps(str(folder / 'node'))}\n"
        f"[listen]\nport = {port}\nmax_associations = 100\n"
    )
    (folder / "node.toml").write_text(settings, "utf-8")
    return [python, "-m", "node.cli", "listen", "--config", str(folder / "node.toml")]


def _orthanc(program: str, port: int, folder: Path) -> list[str]:
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomPort": port,
        "DicomAet": AE_TITLE,
        "DicomAlwaysAllowStore": True,
        "HttpServerEnabled": False,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings), "utf-8")
    return [program, str(folder / "orthanc.json")]


def _storescp(program: str, port: int, folder: Path) -> list[str]:
    (folder / "received").mkdir()
    return [program, "--fork", "-pdu", "131072", "-od", str(folder / "received"), str(port)]


def _plain(python: str, port: int, folder: Path) -> list[str]:
    (folder / "received").mkdir()
    return [python, "-m", "node.bench.plain", str(port), str(folder / "received")]
