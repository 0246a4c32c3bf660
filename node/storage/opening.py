"""Open what keeps images and results: here, in a shared folder, or in an object store."""

import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from node.config import Config
from node.storage.archive import Archive
from node.storage.cache import Cache
from node.storage.presence import Alone, Presence
from node.storage.results import Results, SharedResults
from node.storage.shared import SharedArchive
from node.storage.store import Store

#: A study in one of these states needs the node that has it.
UNFINISHED = ("receiving", "queued", "running", "delivering")


def open_archive(config: Config) -> Archive:
    """Return the archive of received images."""
    storage = config.storage
    if not storage.is_store:
        return Archive(storage.folder(config.data_dir) / "archive", config.listen.min_free_mb)
    return SharedArchive(_cache(config), config.listen.min_free_mb, Store(storage))


def open_results(config: Config) -> Results:
    """Return the results of jobs."""
    storage = config.storage
    if not storage.is_store:
        return Results(storage.folder(config.data_dir) / "results")
    return SharedResults(_cache(config), Store(storage))


def unfinished_in(data_dir: Path) -> int:
    """Return how many studies a node with its database in this folder has not finished.

    Raises
    ------
    sqlite3.Error
        When what is there is no database of a node.
    """
    path = data_dir / "index.sqlite"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as index:
        states = ",".join(f"'{state}'" for state in UNFINISHED)
        (count,) = index.execute(
            f"SELECT count(*) FROM studies WHERE state IN ({states})"  # noqa: S608 - our own words
        ).fetchone()
        return int(count)


def open_presence(config: Config, receiving: Callable[[], Collection[str]]) -> Alone:
    """Return the listeners beside this one; only those of one PostgreSQL can be several."""
    if not config.database_url:
        return Alone()
    return Presence(config.database_url, config.work.lease_s, receiving)


def _cache(config: Config) -> Cache:
    return Cache(config.data_dir / "cache", config.storage.cache_mb)
