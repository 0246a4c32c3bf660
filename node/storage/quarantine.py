"""Instances that arrived and were refused: kept aside with reason and hash, never processed.

Each is two files named by the hash of its contents: the bytes as they came, and a JSON record.
Nothing here is part of the archive or of the index, and nobody was told Success because of it.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from node.storage.archive import sha256_of

log = structlog.get_logger()

MAX_ENTRIES = 10_000
_PRIVATE = 0o700
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """One instance in quarantine.

    Attributes
    ----------
    when : str
        ISO time (UTC) of the refusal; the latest, when the same bytes came again.
    source : str
        Who sent it: an AE title or the name of a peer.
    reason : str
    sha256 : str
    bytes : int
    study_uid, sop_instance_uid : str or None
        As far as they could be read.
    """

    when: str
    source: str
    reason: str
    sha256: str
    bytes: int
    study_uid: str | None = None
    sop_instance_uid: str | None = None


class Quarantine:
    """A folder of refused instances, of limited size; several processes may share it.

    Parameters
    ----------
    root : Path
        Created when the first instance comes.
    max_mb : int
        MiB; beyond, the oldest are dropped. 0 keeps nothing.
    """

    def __init__(self, root: Path, max_mb: int) -> None:
        self._root = root
        self._max_bytes = max_mb << 20

    def keep(
        self,
        what: Path | bytes,
        reason: str,
        source: str,
        *,
        study_uid: str | None = None,
        sop_instance_uid: str | None = None,
    ) -> Entry | None:
        """Set an instance aside; return its record, or None when it could not be kept.

        A file stays where it is: it is linked, or copied from another disk. Whatever goes wrong
        is logged and ends here, since the refusal itself stands.

        Parameters
        ----------
        what : Path or bytes
        reason : str
            One line, without patient data.
        source : str
            Who sent it.
        study_uid, sop_instance_uid : str, optional
        """
        size = what.stat().st_size if isinstance(what, Path) else len(what)
        if size > self._max_bytes:
            return None
        try:
            entry = Entry(
                datetime.now(UTC).isoformat(timespec="microseconds"),
                source,
                reason,
                _sha256(what),
                size,
                study_uid,
                sop_instance_uid,
            )
            self._write(entry, what)
            self._make_room()
        except OSError as error:
            log.warning("a refused instance could not be kept", reason=error.strerror)
            return None
        return entry

    def entries(self) -> list[Entry]:
        """Return the records, newest first."""
        found = []
        for record in self._root.glob("*.json"):
            # Another process may drop it at any time.
            with contextlib.suppress(FileNotFoundError):
                found.append(Entry(**json.loads(record.read_text("utf-8"))))
        return sorted(found, key=lambda entry: entry.when, reverse=True)

    def path(self, sha256: str) -> Path:
        """Return where the contents are; LookupError when they are not in quarantine."""
        place = self._root / f"{sha256}.dcm"
        if not _SHA256.fullmatch(sha256) or not place.is_file():
            raise LookupError(f"nothing with the hash {sha256} is in quarantine")
        return place

    def drop(self, sha256: str) -> None:
        """Delete contents and record; LookupError when they are not in quarantine."""
        self._remove(self.path(sha256))

    def _write(self, entry: Entry, what: Path | bytes) -> None:
        self._root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        part = self._root / f"{secrets.token_hex(16)}.part"
        if isinstance(what, bytes):
            part.write_bytes(what)
        else:
            try:
                os.link(what, part)
            except OSError:
                shutil.copyfile(what, part)
        part.replace(self._root / f"{entry.sha256}.dcm")
        part.unlink(missing_ok=True)  # a link replaced by another link to the same file stays
        record = part.with_suffix(".record")
        record.write_text(json.dumps(asdict(entry)), "utf-8")
        record.replace(self._root / f"{entry.sha256}.json")

    def _make_room(self) -> None:
        """Drop the oldest until size and number are within their limits."""
        kept = []
        for place in self._root.glob("*.dcm"):
            with contextlib.suppress(FileNotFoundError):
                # Of the record: contents linked from elsewhere have a time of their own.
                when = place.with_suffix(".json").stat().st_mtime_ns
                kept.append((when, place.stat().st_size, place))
        kept.sort()
        total = sum(size for _, size, _ in kept)
        surplus = len(kept) - MAX_ENTRIES
        for number, (_, size, place) in enumerate(kept):
            if total <= self._max_bytes and number >= surplus:
                return
            self._remove(place)
            total -= size
            log.info("the quarantine is full, the oldest instance is dropped", sha256=place.stem)

    def _remove(self, place: Path) -> None:
        place.with_suffix(".json").unlink(missing_ok=True)
        place.unlink(missing_ok=True)


def _sha256(what: Path | bytes) -> str:
    if isinstance(what, bytes):
        return hashlib.sha256(what).hexdigest()
    return sha256_of(what)
