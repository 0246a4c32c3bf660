"""The quarantine: contents and record, once for each hash, within its size, never in the way."""

import hashlib
from pathlib import Path

import pytest

from node.storage import quarantine as module
from node.storage.quarantine import Quarantine


def test_what_is_kept_can_be_listed_read_and_dropped(tmp_path: Path) -> None:
    """Bytes and files alike, newest first, with who, why and which instance."""
    kept = Quarantine(tmp_path / "q", 1)
    file = tmp_path / "file"
    file.write_bytes(b"two")
    kept.keep(b"one", "broken", "MR1")
    kept.keep(file, "a conflict", "MR2", study_uid="1.2", sop_instance_uid="1.2.3")

    second, first = kept.entries()

    assert (first.source, first.reason, first.bytes, first.study_uid) == ("MR1", "broken", 3, None)
    assert (second.study_uid, second.sop_instance_uid) == ("1.2", "1.2.3")
    assert second.sha256 == hashlib.sha256(b"two").hexdigest()
    assert kept.path(second.sha256).read_bytes() == b"two"
    kept.drop(second.sha256)
    assert file.read_bytes() == b"two"
    assert kept.entries() == [first]
    with pytest.raises(LookupError):
        kept.path(second.sha256)
    with pytest.raises(LookupError):
        kept.path("../q/x")


def test_the_same_file_again_is_one_entry_and_stays_whole(tmp_path: Path) -> None:
    """A link onto a link must not become the place the record is written to."""
    kept = Quarantine(tmp_path / "q", 1)
    file = tmp_path / "file"
    file.write_bytes(b"contents")
    kept.keep(file, "first", "MR1")
    kept.keep(file, "again", "MR1")
    assert [entry.reason for entry in kept.entries()] == ["again"]
    assert file.read_bytes() == b"contents"
    assert len(list((tmp_path / "q").iterdir())) == 2


def test_the_oldest_is_dropped_when_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and number are limited; what is larger than the whole is not kept at all."""
    kept = Quarantine(tmp_path / "q", 1)
    for letter in "abc":
        kept.keep(letter.encode() * 400_000, letter, "MR1")
    assert [entry.reason for entry in kept.entries()] == ["c", "b"]
    assert kept.keep(bytes(2 << 20), "huge", "MR1") is None
    monkeypatch.setattr(module, "MAX_ENTRIES", 1)
    kept.keep(b"d", "d", "MR1")
    assert [entry.reason for entry in kept.entries()] == ["d"]
    assert Quarantine(tmp_path / "none", 0).keep(b"x", "off", "MR1") is None


def test_a_disk_that_does_not_work_disturbs_nobody(tmp_path: Path) -> None:
    """The refusal stands, whether or not its evidence can be kept."""
    blocked = tmp_path / "q"
    blocked.write_text("a file where the folder should be")
    assert Quarantine(blocked, 1).keep(b"x", "broken", "MR1") is None
    assert Quarantine(blocked, 1).entries() == []
