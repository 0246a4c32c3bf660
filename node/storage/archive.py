"""Received files, named by the hash of their contents, durable before anyone is told so.

A file is written under ``incoming/``, renamed to ``objects/<first two digits>/<sha256>.dcm``, and
then it and its folder are flushed to the disk. In this order a journaling file system writes both
at once. A power cut before the flush may leave a file that is not what its name says: nobody was
told that it is safe, and whoever finds it compares its hash (`Archive.holds`). No name is ever
built from what a file says about itself.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Self

import structlog

from node.errors import DiskFull
from node.spine.instances import StoredFile

log = structlog.get_logger()

_MEGABYTE = 1 << 20
_PRIVATE = 0o700  # of folders: patients' images are nobody else's


class Archive:
    """A folder of files addressed by their SHA-256.

    Parameters
    ----------
    root : Path
        Created when missing. Everything inside must be on one local file system.
    min_free_mb : int
        Free space (MiB) below which nothing more is accepted.
    """

    def __init__(self, root: Path, min_free_mb: int) -> None:
        self._objects = root / "objects"
        self._incoming = root / "incoming"
        self._min_free = min_free_mb * _MEGABYTE
        for folder in (self._objects, self._incoming):
            _make_durable_folder(folder)
        # All at once: a folder made for one file could vanish with another that was already
        # acknowledged, if its own name had not reached the disk yet.
        for number in range(256):
            (self._objects / f"{number:02x}").mkdir(mode=_PRIVATE, exist_ok=True)
        _flush(self._objects)
        self._remove_leftovers()

    def incoming(self) -> "Incoming":
        """Open a new file to write to; it becomes part of the archive when it is committed.

        Raises
        ------
        DiskFull
            When free space is below the watermark.
        """
        self.require_space(0)
        return Incoming(self, self._incoming / f"{secrets.token_hex(16)}.part")

    def put(self, part10: bytes | Iterable[bytes]) -> StoredFile:
        """Store one file, given whole or in pieces, and return once it is durable.

        The same contents twice are one file.

        Raises
        ------
        DiskFull
            Before the disk is full; nothing is left behind.
        """
        with self.incoming() as file:
            for chunk in (part10,) if isinstance(part10, bytes) else part10:
                file.write(chunk)
            return file.commit()

    def path(self, sha256: str) -> Path:
        """Return where the file with this hash is, or would be."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ValueError("an address in the archive is 64 lower-case hexadecimal digits")
        return self._objects / sha256[:2] / f"{sha256}.dcm"

    def paths(self, hashes: Iterable[str]) -> list[Path]:
        """Return where files are."""
        return [self.path(sha256) for sha256 in hashes]

    def iterate(self) -> Iterator[StoredFile]:
        """Yield every stored file, oldest first."""
        found = [(path.stat(), path) for path in self._objects.glob("??/*.dcm")]
        for facts, path in sorted(found, key=lambda item: (item[0].st_mtime_ns, item[1].name)):
            yield _stored(path, path.stem, facts)

    def require_space(self, size: int) -> None:
        """Raise `DiskFull` when ``size`` more bytes would pass the watermark."""
        free = shutil.disk_usage(self._incoming).free
        if free - size < self._min_free:
            raise DiskFull(
                f"{free // _MEGABYTE} MiB are free on the archive's disk and "
                f"{self._min_free // _MEGABYTE} MiB have to stay free (listen.min_free_mb): "
                "make room, the sender will try again"
            )

    def remove(self, sha256: str, idle_s: float) -> bool:
        """Delete a file that nobody has stored or read for a while; return whether it is gone.

        A sender may store the same contents again at this very moment, and is told that they are
        safe: `_adopt` and this hold the folder's lock, and what was just stored again is not idle.
        """
        target = self.path(sha256)
        with _locked(target.parent):
            if not target.exists():
                return True
            facts = target.stat()
            if time.time() - max(facts.st_atime, facts.st_mtime) < idle_s:
                return False
            target.unlink()
        return True

    def free_mb(self) -> int:
        """Return the free space (MiB) on the archive's disk."""
        return shutil.disk_usage(self._incoming).free // _MEGABYTE

    def trouble(self) -> str:
        """Say why nothing can be stored now, beside a full disk; empty when all is well."""
        return ""

    def holds(self, sha256: str) -> bool:
        """Tell whether a file is there and has the contents that its name promises."""
        target = self.path(sha256)
        return target.exists() and sha256_of(target) == sha256

    def _adopt(self, part: Path, handle: int, sha256: str) -> StoredFile:
        """Give a file its address, and flush it and its name to the disk."""
        target = self.path(sha256)
        with _locked(target.parent) as folder:
            if self.holds(sha256):
                part.unlink()
                # In use again, see `remove`; the time of storing stays what it was.
                os.utime(target, ns=(time.time_ns(), target.stat().st_mtime_ns))
                _flush(target)  # its writer may not have come this far yet
            else:
                part.rename(target)
                self._flush_new(handle, target)
            os.fsync(folder)
            return _stored(target, sha256, target.stat())

    @staticmethod
    def _flush_new(handle: int, target: Path) -> None:
        try:
            os.fsync(handle)
        except OSError:
            # The kernel may have dropped what it could not write and calls it clean from now on:
            # nobody may find these contents and take them for safe.
            target.unlink(missing_ok=True)
            raise

    def _remove_leftovers(self) -> None:
        """Delete what a crash left unfinished: a file that no live process holds the lock of."""
        for part in self._incoming.glob("*.part"):
            try:
                with part.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    part.unlink()
            except (BlockingIOError, FileNotFoundError):
                continue
            log.info("removed an unfinished file of an earlier run", file=part.name)


class Incoming:
    """One file on its way into the archive. Not for several threads at once."""

    def __init__(self, archive: Archive, path: Path) -> None:
        self._archive = archive
        self._hash = hashlib.sha256()
        self.path = path
        self.size = 0
        self._file = path.open("xb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whatever way the owner ends, an uncommitted file does not outlive it.
        self._remove = weakref.finalize(self, _discard, self._file, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def write(self, chunk: bytes | memoryview) -> None:
        """Append bytes.

        Raises
        ------
        DiskFull
            When they would pass the watermark.
        """
        self._archive.require_space(len(chunk))
        self._hash.update(chunk)
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]
        self.size += len(chunk)

    def commit(self) -> StoredFile:
        """Flush the file, give it its address, and return once both are durable."""
        stored = self._archive._adopt(self.path, self._file.fileno(), self._hash.hexdigest())
        self._remove.detach()
        self._file.close()
        return stored

    def discard(self) -> None:
        """Delete the file unless it is committed; safe to call again."""
        self._remove()


def sha256_of(path: Path) -> str:
    """Return the hash of a file's contents, 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stored(path: Path, sha256: str, facts: os.stat_result) -> StoredFile:
    stored_at = datetime.fromtimestamp(facts.st_mtime, UTC)
    return StoredFile(sha256, path, facts.st_size, stored_at)


def _discard(file: FileIO, path: Path) -> None:
    file.close()
    path.unlink(missing_ok=True)


def _make_durable_folder(folder: Path) -> None:
    """Create a folder and its parents so that their names survive a power cut."""
    if folder.is_dir():
        return
    _make_durable_folder(folder.parent)
    folder.mkdir(mode=_PRIVATE, exist_ok=True)
    _flush(folder.parent)


def _flush(path: Path) -> None:
    with _opened(path) as handle:
        os.fsync(handle)


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Hold a folder's lock; closing the folder gives it back."""
    with _opened(folder) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)
