"""Received files in an object store that several hosts share; the local disk only caches them.

An object's key is the hash of its contents and a word of its own: ``objects/<sha256>/<word>``.
So what retention deletes is never what another host stores again at this very moment.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

from node.spine.instances import StoredFile
from node.storage.archive import Archive, Incoming
from node.storage.cache import Cache
from node.storage.store import Store, StoredObject, several

_FOLDER = "objects"
_ASK_EVERY_S = 10.0


class SharedArchive(Archive):
    """An `Archive` whose files are durable once the store has them.

    Every method may raise `StoreUnavailable`, which is a `RetryLater`.

    Parameters
    ----------
    cache : Cache
    min_free_mb : int
        Free space (MiB) on the local disk below which nothing more is accepted.
    store : Store
    """

    def __init__(self, cache: Cache, min_free_mb: int, store: Store) -> None:
        super().__init__(cache.root, min_free_mb)
        self._cache = cache
        self._store = store
        self._health = (-_ASK_EVERY_S, "")

    def incoming(self) -> Incoming:
        """Open a new file, also where somebody has deleted the cache meanwhile."""
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        return super().incoming()

    def path(self, sha256: str) -> Path:
        """Return where a right copy is, fetched when it must be; absent when the store has none."""
        target = super().path(sha256)
        name = str(target.relative_to(self._cache.root))
        if self._cache.find(name, sha256):
            return target
        for found in self._objects_of(sha256):
            part = self._incoming / f"{token_hex(16)}.part"
            part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                if self._store.fetch(found.key, found.bytes, part):
                    self._cache.take(part, name)
            finally:
                part.unlink(missing_ok=True)
            if self._cache.find(name, sha256):
                break
        return target

    def paths(self, hashes: Iterable[str]) -> list[Path]:
        """Return where files are, several fetched at a time."""
        return several(self.path, hashes)

    def iterate(self) -> Iterator[StoredFile]:
        """Yield every stored file, oldest first; its copy is not fetched."""
        first: dict[str, StoredFile] = {}
        for found in self._store.objects(_FOLDER):
            sha256 = found.key.split("/")[1]
            file = StoredFile(sha256, super().path(sha256), found.bytes, found.modified)
            if sha256 not in first or file.stored_at < first[sha256].stored_at:
                first[sha256] = file
        yield from sorted(first.values(), key=lambda file: (file.stored_at, file.sha256))

    def remove(self, sha256: str, idle_s: float) -> bool:
        """Delete a file that nobody has stored for a while; return whether it is gone."""
        objects = list(self._objects_of(sha256))
        young = datetime.now(UTC) - timedelta(seconds=idle_s)
        if any(found.modified > young for found in objects):
            return False
        self._store.delete([found.key for found in objects])
        self._cache.drop(str(super().path(sha256).relative_to(self._cache.root)))
        return True

    def trouble(self) -> str:
        """Say whether the store answers; it is asked every few seconds at most."""
        asked, trouble = self._health
        if time.monotonic() - asked > _ASK_EVERY_S:
            trouble = self._store.trouble()
            self._health = time.monotonic(), trouble
        return trouble

    def holds(self, sha256: str) -> bool:
        """Tell whether a file is there and has the contents that its name promises."""
        return self.path(sha256).exists()

    def _objects_of(self, sha256: str) -> Iterator[StoredObject]:
        return self._store.objects(f"{_FOLDER}/{sha256}")

    def _adopt(self, part: Path, handle: int, sha256: str) -> StoredFile:  # noqa: ARG002
        """Put a file into the store, and keep a copy; only the store makes it durable."""
        target, size = super().path(sha256), part.stat().st_size
        self._store.put(f"{_FOLDER}/{sha256}/{token_hex(8)}", part)
        self._cache.take(part, str(target.relative_to(self._cache.root)))
        return StoredFile(sha256, target, size, datetime.now(UTC))
