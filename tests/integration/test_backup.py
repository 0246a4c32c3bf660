"""A backup of a folder that is written to: databases of one moment, files whole, nothing twice."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from node.storage.backup import back_up

NAMES = ("index", "jobs")


def opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS numbers (value INTEGER)")
    return connection


def highest(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found: int | None = connection.execute("SELECT max(value) FROM numbers").fetchone()[0]
        return found or 0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "archive" / "incoming").mkdir(parents=True)
    (folder / "archive" / "image").write_bytes(b"image")
    (folder / "archive" / "incoming" / "half").write_bytes(b"im")
    for name in NAMES:
        opened(folder / f"{name}.sqlite").close()
    return folder


@pytest.fixture
def writer(data: Path) -> Iterator[None]:
    """Somebody who writes each number into one database and then into the other, all the time."""
    ended = threading.Event()

    def write() -> None:
        one, other = (opened(data / f"{name}.sqlite") for name in NAMES)
        number = 0
        while not ended.is_set():
            number += 1
            for connection in (one, other):
                connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        one.close()
        other.close()

    thread = threading.Thread(target=write)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.usefixtures("writer")
def test_both_databases_are_of_one_moment(data: Path, tmp_path: Path) -> None:
    """No copy has a number in the second database that the first is two behind or ahead of."""
    for attempt in range(5):
        back_up(data, tmp_path / str(attempt))

        first, second = (highest(tmp_path / str(attempt) / f"{name}.sqlite") for name in NAMES)
        assert first - second in {0, 1}


def test_a_second_backup_copies_only_what_is_new(data: Path, tmp_path: Path) -> None:
    """Files already there stay; databases are always copied, and what is half received never."""
    copy = tmp_path / "copy"
    assert back_up(data, copy) == 3
    (data / "archive" / "second").write_bytes(b"image")

    assert back_up(data, copy) == 3

    assert {p.name for p in copy.rglob("*") if p.is_file()} == {
        "image", "second", "index.sqlite", "jobs.sqlite",
    }  # fmt: skip


def test_a_backup_inside_the_data_folder_does_not_hold_itself(data: Path) -> None:
    """A person who chooses such a folder gets one copy, not copies of copies."""
    back_up(data, data / "backup")
    back_up(data, data / "backup")

    assert not (data / "backup" / "backup").exists()
