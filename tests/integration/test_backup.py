"""A backup of a folder that is written to: databases of one moment, files whole, nothing twice."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from node.storage.backup import back_up

NAMES = ("index", "jobs")
NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS numbers (value INTEGER)")
    return connection


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.rglob("*") if p.is_file()}


def highest(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found: int | None = connection.execute("SELECT max(value) FROM numbers").fetchone()[0]
        return found or 0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "archive" / "incoming").mkdir(parents=True)
    (folder / "cache").mkdir()
    (folder / "cache" / "copy.dcm").write_bytes(b"what an object store has")
    (folder / "archive" / "image").write_bytes(b"image")
    (folder / "archive" / "gone").write_bytes(b"delivered long ago")
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
    for second in range(5):
        copy, _ = back_up(data, tmp_path / "copies", NOW + timedelta(seconds=second))

        first, other = (highest(copy / f"{name}.sqlite") for name in NAMES)
        assert first - other in {0, 1}


def test_a_second_copy_links_what_it_has_and_leaves_out_what_is_gone(
    data: Path, tmp_path: Path
) -> None:
    """Each is whole by itself; what is half received, and what was deleted since, is in none."""
    first, copied = back_up(data, tmp_path / "copies", NOW)
    assert copied == 4
    (data / "archive" / "second").write_bytes(b"image")
    (data / "archive" / "gone").unlink()

    second, copied = back_up(data, tmp_path / "copies", NOW + timedelta(days=1))

    assert copied == 3
    assert names(first) == {"image", "gone", "index.sqlite", "jobs.sqlite"}
    assert names(second) == {"image", "second", "index.sqlite", "jobs.sqlite"}
    assert (first / "archive" / "image").samefile(second / "archive" / "image")
    shutil.rmtree(first)
    assert (second / "archive" / "image").read_bytes() == b"image"


def test_a_copy_that_was_broken_off_is_not_built_upon(data: Path, tmp_path: Path) -> None:
    """Only a whole copy has a name that ends in Z; a half one neither counts nor is linked to."""
    half = tmp_path / "copies" / "20260101T000000Z.unfinished" / "archive"
    half.mkdir(parents=True)
    shutil.copy2(data / "archive" / "image", half)

    assert back_up(data, tmp_path / "copies", NOW)[1] == 4


def test_copies_inside_the_data_folder_do_not_hold_each_other(data: Path) -> None:
    """A person who chooses such a folder gets copies, not copies of copies."""
    back_up(data, data / "copies", NOW)
    second, _ = back_up(data, data / "copies", NOW + timedelta(days=1))

    assert not (second / "copies").exists()
