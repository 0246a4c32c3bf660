"""On what a bench ran: figures without it say nothing."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from node.loopback import find


def describe(folder: Path) -> dict[str, object]:
    """Return processor, memory, disk of a folder, load and versions, as far as they are known."""
    return {
        "processor": _field(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory": _field(Path("/proc/meminfo"), "MemTotal"),
        "file_system": _file_system(folder),
        "system": platform.platform(),
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "versions": {
            "lumbar-node": version("lumbar-node"),
            "python": platform.python_version(),
            "pynetdicom": version("pynetdicom"),
            "dcmtk": _first_line("storescp", "--version"),
            "orthanc": _first_line("Orthanc", "--version"),
        },
    }


def _field(path: Path, name: str) -> str:
    if not path.exists():
        return ""
    lines = path.read_text("utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _file_system(folder: Path) -> str:
    """Return device and type of the file system that holds a folder."""
    here = folder.resolve()
    best = ("", "unknown")
    mounts = Path("/proc/mounts")
    for line in mounts.read_text("utf-8").splitlines() if mounts.exists() else []:
        device, place, kind = line.split()[:3]
        if here.is_relative_to(place) and len(place) >= len(best[0]):
            best = (place, f"{device} {kind}")
    return best[1]


def _first_line(program: str, option: str) -> str:
    path = find(program)
    if path is None:
        return "not installed"
    done = subprocess.run(  # noqa: S603 - a known program
        [path, option], capture_output=True, text=True, timeout=20, check=False
    )
    return (done.stdout + done.stderr).strip("$ \n").partition("\n")[0]
