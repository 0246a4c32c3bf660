"""Copies of an object store's files on the local disk: checked, bounded, and free to be lost."""

import fcntl
import hashlib
import os
import time
from pathlib import Path

import structlog

log = structlog.get_logger()

#: Nothing that was used within this time (s) is dropped: somebody may be about to open it.
IDLE_S = 600.0
#: What nobody has used for so long (s) is dropped, however much room there is.
KEPT_S = 24 * 3600.0
_PRIVATE = 0o700


class Cache:
    """A folder of copies. Several processes may share it.

    Parameters
    ----------
    root : Path
    max_mb : int
        Size (MiB) above which those go that were not used for the longest time.
    """

    def __init__(self, root: Path, max_mb: int) -> None:
        self.root = root
        self._most = max_mb << 20
        self._grown = self._most  # the first file to come cleans up after earlier runs

    def find(self, name: str, sha256: str) -> Path | None:
        """Return a copy that has the contents of this hash; one that is damaged is dropped."""
        path = self.root / name
        try:
            with path.open("rb") as file:
                is_right = hashlib.file_digest(file, "sha256").hexdigest() == sha256
            if is_right:
                os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
                return path
            log.warning("a copy in the cache is damaged and dropped", file=name)
            path.unlink()
        except FileNotFoundError:
            pass
        return None

    def take(self, part: Path, name: str) -> Path:
        """Move a file into the cache; it may replace a copy of the same name."""
        path = self.root / name
        path.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        self._grown += part.stat().st_size
        part.replace(path)
        if self._grown > self._most // 16:
            self._grown = 0
            self._make_room()
        return path

    def drop(self, name: str) -> None:
        """Forget a copy."""
        (self.root / name).unlink(missing_ok=True)

    def _make_room(self) -> None:
        """Drop what was not used for the longest time; one process at a time does."""
        handle = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._drop_oldest()
        except BlockingIOError:
            pass
        finally:
            os.close(handle)

    def _drop_oldest(self) -> None:
        now, found = time.time(), []
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder) / name
                try:
                    facts = path.stat()
                except FileNotFoundError:
                    continue
                found.append((max(facts.st_atime, facts.st_mtime), facts.st_size, path))
        total = sum(size for _, size, _ in found)
        for used, size, path in sorted(found):
            idle_s = now - used
            if idle_s < IDLE_S or (total <= self._most and idle_s < KEPT_S):
                return
            path.unlink(missing_ok=True)
            total -= size
