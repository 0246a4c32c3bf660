"""A small file system of its own, so that a full disk is a full disk."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount an ext4 of this size in a file (where loop devices are missing, a tmpfs).

    The test is skipped where the system lets nobody mount: only root may.
    """
    place, image = folder / "disk", folder / "disk.img"
    place.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    made = _run("mkfs.ext4", "-q", "-F", "-m", "0", image)
    if not (made and _run("mount", "-o", "loop", image, place)):
        image.unlink()
        if not _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place):
            pytest.skip("needs root, to mount a small file system")
    try:
        yield place
    finally:
        _run("umount", "--lazy", place)
        image.unlink(missing_ok=True)


def _run(*command: object) -> bool:
    done = subprocess.run([str(c) for c in command], check=False, capture_output=True)
    return done.returncode == 0


class Ballast:
    """A file that fills a disk to its last byte, or to a given rest, until it is let go."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"

    def fill(self, leave_mb: int = 0) -> None:
        """Take all space but ``leave_mb``."""
        with self._path.open("ab") as file:
            piece = 1 << 30
            while piece >= 4096:
                facts = os.statvfs(self._path)
                free = facts.f_bavail * facts.f_frsize - (leave_mb << 20)
                if piece > free:
                    piece //= 2
                    continue
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), piece)
                except OSError:
                    piece //= 2  # the file system keeps some blocks for itself

    def release(self) -> None:
        """Give the space back."""
        self._path.unlink(missing_ok=True)
