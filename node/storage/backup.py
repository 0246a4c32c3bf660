"""Copy the data folder of a running node into a folder from which a node can be started."""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

#: A database, and what SQLite keeps beside one that is open.
_DATABASE = ".sqlite"
_COMPANIONS = (".sqlite-wal", ".sqlite-shm", ".sqlite-journal")
#: In the archive: files that are still being received.
_INCOMING = "incoming"
PATIENCE_S = 30.0


def back_up(data_dir: Path, folder: Path) -> int:
    """Copy databases first, all as they are at one moment, then every other file.

    So no row of the copy lacks its file. What is in ``folder`` from an earlier time is brought up
    to date; what is gone from ``data_dir`` since stays there.

    Parameters
    ----------
    data_dir : Path
    folder : Path
        Outside of ``data_dir``; created when it is not there.

    Returns
    -------
    int
        How many files were copied; those that were there already are not.

    Raises
    ------
    OSError
        When a file cannot be read or written.
    sqlite3.Error
        When a database is damaged, or somebody writes to it for longer than `PATIENCE_S`.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    databases = sorted(data_dir.glob(f"*{_DATABASE}"))
    _copy_databases(databases, folder)
    copied = len(databases)
    for path in _files(data_dir, apart_from=folder):
        try:
            copied += _copy(path, folder / path.relative_to(data_dir))
        except FileNotFoundError:  # removed in this moment, by the node's own rules
            continue
    os.sync()
    return copied


def _copy_databases(databases: Sequence[Path], folder: Path) -> None:
    """Copy databases while none of them can change."""
    with ExitStack() as stack:
        for path in databases:
            guard = stack.enter_context(closing(_open(path)))
            guard.execute("BEGIN IMMEDIATE")  # readers pass, writers wait
        for path in databases:
            scratch = folder / f"{path.name}.new"
            scratch.unlink(missing_ok=True)
            with closing(_open(path)) as source, closing(_open(scratch)) as target:
                source.backup(target)
            for companion in _COMPANIONS:
                (folder / path.name.replace(_DATABASE, companion)).unlink(missing_ok=True)
            scratch.replace(folder / path.name)


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)


def _files(data_dir: Path, *, apart_from: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(data_dir):
        here = Path(root)
        folders[:] = [
            f for f in folders if f != _INCOMING and (here / f).resolve() != apart_from.resolve()
        ]
        for name in names:
            if not name.endswith((_DATABASE, *_COMPANIONS)):
                yield here / name


def _copy(source: Path, target: Path) -> bool:
    """Copy a file unless it is there, by its size and time; it appears whole or not at all."""
    told = source.stat()
    if target.exists():
        held = target.stat()
        if (held.st_size, held.st_mtime_ns) == (told.st_size, told.st_mtime_ns):
            return False
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = target.with_name(f".{target.name}.new")
    shutil.copy2(source, scratch)
    scratch.replace(target)
    return True
