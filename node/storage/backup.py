"""Copy the data folder of a running node into a folder from which a node can be started."""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path

#: A database, and what SQLite keeps beside one that is open.
_DATABASE = ".sqlite"
_COMPANIONS = (".sqlite-wal", ".sqlite-shm", ".sqlite-journal")
#: Files that are still being received, and copies of what an object store has.
_LEFT_OUT = frozenset({"incoming", "cache"})
_NAME, _UNFINISHED = "%Y%m%dT%H%M%SZ", ".unfinished"
PATIENCE_S = 30.0


def back_up(data_dir: Path, folder: Path, now: datetime) -> tuple[Path, int]:
    """Copy databases first, all as they are at one moment, then every other file.

    So no row of the copy lacks its file. Each copy is a folder of its own, whole or absent; a
    file that is the same in the copy before is linked, not copied, so it costs no room.

    Parameters
    ----------
    data_dir : Path
    folder : Path
        Holds the copies; outside of ``data_dir``; created when it is not there.
    now : datetime
        UTC; names the copy.

    Returns
    -------
    (copy, files)
        Where the copy is, and how many files had to be copied for it.

    Raises
    ------
    OSError
        When a file cannot be read or written.
    sqlite3.Error
        When a database is damaged, or somebody writes to it for longer than `PATIENCE_S`.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    earlier = max((f for f in folder.iterdir() if f.name.endswith("Z")), default=None)
    copy = folder / f"{now:{_NAME}}"
    draft = folder / (copy.name + _UNFINISHED)
    draft.mkdir(mode=0o700)
    databases = sorted(data_dir.glob(f"*{_DATABASE}"))
    _copy_databases(databases, draft)
    copied = len(databases)
    for path in _files(data_dir, apart_from=folder):
        inside = path.relative_to(data_dir)
        try:
            copied += _copy(path, draft / inside, earlier / inside if earlier else None)
        except FileNotFoundError:  # removed in this moment, by the node's own rules
            continue
    os.sync()
    draft.rename(copy)
    return copy, copied


def _copy_databases(databases: Sequence[Path], folder: Path) -> None:
    """Copy databases while none of them can change."""
    with ExitStack() as stack:
        for path in databases:
            guard = stack.enter_context(closing(_open(path)))
            guard.execute("BEGIN IMMEDIATE")  # readers pass, writers wait
        for path in databases:
            with closing(_open(path)) as source, closing(_open(folder / path.name)) as target:
                source.backup(target)


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)


def _files(data_dir: Path, *, apart_from: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(data_dir):
        here = Path(root)
        folders[:] = [
            f
            for f in folders
            if f not in _LEFT_OUT and (here / f).resolve() != apart_from.resolve()
        ]
        for name in names:
            if not name.endswith((_DATABASE, *_COMPANIONS)):
                yield here / name


def _copy(source: Path, target: Path, earlier: Path | None) -> bool:
    """Copy a file, or link the same one of an earlier copy, by its size and time."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if earlier is not None and earlier.is_file():
        told, held = source.stat(), earlier.stat()
        if (held.st_size, held.st_mtime_ns) == (told.st_size, told.st_mtime_ns):
            target.hardlink_to(earlier)
            return False
    shutil.copy2(source, target)
    return True
