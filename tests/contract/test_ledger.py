"""The ledger of back-fills, in a SQLite file and in PostgreSQL."""

from collections.abc import Callable, Iterator

import pytest

from node.storage.ledger import Entry, Found, Ledger

Open = Callable[..., Ledger]


@pytest.fixture
def opened(database_url: str) -> Iterator[Open]:
    """Opens the ledger of an archive, as each process of a back-fill does."""
    made: list[Ledger] = []

    def open_one(place: str = "/archive", days: str = "") -> Ledger:
        made.append(Ledger(database_url, place, {"days": days}))
        return made[-1]

    yield open_one
    for ledger in made:
        ledger.close()


def test_a_walk_goes_on_where_the_process_before_was_killed(opened: Open) -> None:
    """What ended stays ended, what was begun is begun again, and files come back as listed."""
    first = opened()
    pages = [
        [Found("1.1", "/archive/a", ("x", "y")), Found("1.2", "/archive/a", ("z",))],
        [Found("1.1", "/archive/b", ("x",)), Found("1.3", "/archive/b", ("q",))],
    ]
    assert list(first.list_all(pages)) == [2, 3]
    first.set(Entry("1.1", "fetching", "1.1"))
    first.set(Entry("1.2", "partial", "1.2", "no axial series"))

    second = opened()

    assert (second.run, second.is_resumed, second.is_listed) == (first.run, True, True)
    assert second.begun() == [Entry("1.1", "fetching", "1.1")]
    assert second.next() == Entry("1.3", "listed")
    assert list(second.files("1.1")) == [
        ("/archive/a", "x"), ("/archive/a", "y"), ("/archive/b", "x"),
    ]  # fmt: skip
    assert list(second.files("1.2")) == []
    assert second.counts() == {"fetching": 1, "listed": 1, "partial": 1}
    assert second.reasons("partial") == {"no axial series": 1}


def test_a_listing_that_was_cut_off_begins_anew_and_counts_no_file_twice(opened: Open) -> None:
    """A study is begun only when all its files are known."""
    page = [Found("1.1", "/archive/a", ("x", "y"))]
    next(opened().list_all([page, page]))

    again = opened()
    assert not again.is_listed
    assert list(again.list_all([page])) == [1]

    assert list(again.files("1.1")) == [("/archive/a", "x"), ("/archive/a", "y")]


def test_other_wishes_or_a_finished_walk_begin_a_new_one(opened: Open) -> None:
    """Only the same archive with the same filters is gone on with, and only to its end."""
    first = opened()
    runs = {first.run, opened(days="2026-").run, opened("/other").run}
    first.end()
    runs.add(opened().run)

    assert len(runs) == 4
