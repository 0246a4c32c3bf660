"""Where the results of jobs lie, whole or absent: in a folder, or in an object store."""

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from node.errors import StoreUnavailable
from node.storage.archive import sha256_of
from node.storage.cache import Cache
from node.storage.store import Store, several

_FOLDER = "results"
#: A result set that was made longer ago is final: a failure of its own job replaces it no more.
_FINAL = timedelta(minutes=10)
_REMEMBERED = 4096


class Results:
    """A folder for each job. No header text becomes a file name.

    Parameters
    ----------
    root : Path
        Made with the first results.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, job_id: str) -> Path:
        """Return where a job writes its results, all of them or none."""
        return self._root / _name(job_id)

    def keep(self, job_id: str) -> None:
        """Let every host have what a job has written; nothing to do for a folder."""

    def names(self, job_id: str) -> Sequence[str]:
        """Return the names of a job's results; none when it has no results."""
        folder = self.folder(job_id)
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))

    def file(self, job_id: str, name: str) -> Path | None:
        """Return where one result is, or None when there is none of that name."""
        path = self.folder(job_id) / name
        return path if path.is_file() else None

    def whole(self, job_id: str) -> Path | None:
        """Return a folder that holds all results of a job, or None when it has none."""
        folder = self.folder(job_id)
        return folder if folder.is_dir() else None

    def drop(self, job_id: str) -> None:
        """Delete all results of a job; again is no mistake, and ends what was cut off."""
        folder = self.folder(job_id)
        gone = folder.with_name(f"{folder.name}.gone")  # whole or absent, for whoever looks
        shutil.rmtree(gone, ignore_errors=True)
        if folder.exists():
            folder.rename(gone)
            shutil.rmtree(gone)


class _Entry(NamedTuple):
    """One file of a result set."""

    sha256: str
    bytes: int


class _Listing(NamedTuple):
    """What a result set consists of, and when it was made (UTC)."""

    made: datetime
    files: dict[str, _Entry]

    @property
    def version(self) -> str:
        """The same for the same files."""
        return sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()[:16]

    def encoded(self) -> bytes:
        return json.dumps({"made": self.made.isoformat(), "files": self.files}).encode()

    @classmethod
    def decoded(cls, raw: bytes) -> "_Listing":
        told = json.loads(raw)
        files = {name: _Entry(*entry) for name, entry in told["files"].items()}
        return cls(datetime.fromisoformat(told["made"]), files)


class SharedResults(Results):
    """Results in an object store: ``results/<job>/<sha256>`` and a listing, which is put last.

    Every method but `folder` may raise `StoreUnavailable`.

    Parameters
    ----------
    cache : Cache
    store : Store
    """

    def __init__(self, cache: Cache, store: Store) -> None:
        super().__init__(cache.root / "written")
        self._cache = cache
        self._store = store
        self._known: dict[str, _Listing] = {}

    def keep(self, job_id: str) -> None:
        """Put what a job has written into the store; then, and only then, all of it is there."""
        folder = self.folder(job_id)
        paths = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
        files = {name: _Entry(sha256_of(p), p.stat().st_size) for name, p in paths.items()}
        listing = _Listing(datetime.now(UTC), files)
        several(lambda name: self._store.put(_key(job_id, files[name].sha256), paths[name]), paths)
        self._store.put(_listing_key(job_id), listing.encoded())
        self._remember(job_id, listing)
        for name, path in paths.items():
            self._cache.take(path, _copy(job_id, listing, name))
        shutil.rmtree(folder)

    def names(self, job_id: str) -> Sequence[str]:
        """Return the names of a job's results; none when it has no results."""
        listing = self._listing(job_id)
        return sorted(listing.files) if listing else []

    def file(self, job_id: str, name: str) -> Path | None:
        """Return where one result is, fetched when it must be; None when there is none."""
        listing = self._listing(job_id)
        entry = listing.files.get(name) if listing else None
        if listing is None or entry is None:
            return None
        copy = _copy(job_id, listing, name)
        if found := self._cache.find(copy, entry.sha256):
            return found
        part = self._root / f"{token_hex(16)}.part"
        part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            if self._store.fetch(_key(job_id, entry.sha256), entry.bytes, part):
                self._cache.take(part, copy)
        finally:
            part.unlink(missing_ok=True)
        return self._cache.find(copy, entry.sha256)

    def whole(self, job_id: str) -> Path | None:
        """Return a folder that holds all results of a job, or None when it has none."""
        listing = self._listing(job_id)
        if listing is None:
            return None
        found = several(partial(self.file, job_id), listing.files)
        return self._cache.root / _copy(job_id, listing, "") if all(found) else None

    def drop(self, job_id: str) -> None:
        """Delete all results of a job: the listing first, then what it named."""
        listing = self._listing(job_id)
        self._store.delete([_listing_key(job_id)])
        self._store.delete([found.key for found in self._store.objects(_key(job_id, ""))])
        self._known.pop(job_id, None)
        if listing is not None:
            for name in listing.files:
                self._cache.drop(_copy(job_id, listing, name))
        super().drop(job_id)

    def _listing(self, job_id: str) -> _Listing | None:
        """Return what a job's results are; one that may still be replaced is asked for again."""
        known = self._known.get(job_id)
        if known and datetime.now(UTC) - known.made > _FINAL:
            return known
        try:
            raw = self._store.get(_listing_key(job_id))
        except StoreUnavailable:
            if known is None:
                raise
            return known
        return self._remember(job_id, _Listing.decoded(raw)) if raw else None

    def _remember(self, job_id: str, listing: _Listing) -> _Listing:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[job_id] = listing
        return listing


def _name(job_id: str) -> str:
    return sha256(job_id.encode()).hexdigest()[:32]


def _key(job_id: str, name: str) -> str:
    return f"{_FOLDER}/{_name(job_id)}/{name}"


def _listing_key(job_id: str) -> str:
    return _key(job_id, "listing.json")


def _copy(job_id: str, listing: _Listing, name: str) -> str:
    """Return where in the cache a copy is; a set that was replaced is another folder."""
    return f"{_FOLDER}/{_name(job_id)}-{listing.version}/{name}"
