"""Listeners on one database: they agree on who decides, and know what the others receive."""

import time
from collections.abc import Callable, Collection, Iterator

import pytest

from node.storage.presence import Presence

STUDIES = [f"1.2.{number}" for number in range(60)]

Open = Callable[[Collection[str]], Presence]


@pytest.fixture
def opened(database_url: str) -> Iterator[Open]:
    """Return what opens the presence of a listener that receives some studies."""
    present: list[Presence] = []

    def listener(receiving: Collection[str] = ()) -> Presence:
        present.append(Presence(database_url, 1.0, lambda: receiving))
        return present[-1]

    yield listener
    for one in present:
        one.stop()


def test_every_study_has_one_who_decides(opened: Open) -> None:
    """Each listener decides about some, no study is decided twice, and none is left."""
    three = [opened(()) for _ in range(3)]
    for one in (*three, *three):
        one.tell()
    deciding = {study: [one for one in three if one.decides(study)] for study in STUDIES}
    assert {len(those) for those in deciding.values()} == {1}
    assert {one.listener for (one,) in deciding.values()} == {one.listener for one in three}


def test_what_one_receives_is_known_to_the_others(opened: Open) -> None:
    """An open association counts for whoever decides, until it is closed."""
    studies = {"1.2.3"}
    receiving, other = opened(studies), opened(())
    receiving.tell()
    other.tell()
    assert (other.elsewhere("1.2.3"), other.elsewhere("1.2.4")) == (1, 0)
    assert receiving.elsewhere("1.2.3") == 0  # its own it knows better
    studies.clear()
    receiving.tell()
    other.tell()
    assert other.elsewhere("1.2.3") == 0


def test_who_is_silent_is_replaced(opened: Open) -> None:
    """A host that died keeps no study waiting for longer than the limit."""
    dead, living = opened(STUDIES), opened(())
    dead.tell()
    living.tell()
    assert not all(living.decides(study) for study in STUDIES)
    time.sleep(1.1)
    living.tell()
    assert all(living.decides(study) for study in STUDIES)
    assert living.elsewhere(STUDIES[0]) == 0


def test_who_leaves_is_replaced_at_once(opened: Open) -> None:
    """An orderly stop does not make the others wait."""
    leaving, staying = opened(()), opened(())
    leaving.start()
    staying.tell()
    leaving.stop()
    staying.tell()
    assert all(staying.decides(study) for study in STUDIES)
