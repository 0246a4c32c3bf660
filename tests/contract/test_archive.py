"""What an archive of received files promises, in a local folder and in a real object store."""

import hashlib
import os
import pickle
import time
from pathlib import Path

import pytest

from node.storage.archive import Archive
from node.storage.cache import Cache
from node.storage.shared import SharedArchive
from node.storage.store import Store
from tests.s3_server import S3Server


@pytest.fixture(params=["folder", "store"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    if request.param == "folder":
        return Archive(tmp_path / "archive", 0)
    server: S3Server = request.getfixturevalue("s3")
    store = Store(server.settings(f"contract/{tmp_path.name}"))
    return SharedArchive(Cache(tmp_path / "archive", 100), 0, store)


def leftovers(root: Path) -> list[Path]:
    return list((root / "archive" / "incoming").iterdir())


def test_a_stored_file_is_found_by_its_hash(archive: Archive, tmp_path: Path) -> None:
    """What is put is at the path of its SHA-256, byte for byte."""
    stored = archive.put(b"contents")
    assert stored.sha256 == hashlib.sha256(b"contents").hexdigest()
    assert stored.path == archive.path(stored.sha256)
    assert stored.path.read_bytes() == b"contents"
    assert stored.bytes == 8
    assert archive.holds(stored.sha256)
    assert leftovers(tmp_path) == []


def test_pieces_make_the_same_file_as_the_whole(archive: Archive) -> None:
    """A file given in pieces has the address of its joined contents, and is one with it."""
    assert archive.put(iter([b"con", b"", b"tents"])).sha256 == archive.put(b"contents").sha256
    assert len(list(archive.iterate())) == 1


def test_a_damaged_copy_is_replaced(archive: Archive) -> None:
    """A file that has lost bytes is healed when its contents come again."""
    stored = archive.put(b"contents")
    stored.path.write_bytes(b"con")
    assert archive.put(b"contents").path.read_bytes() == b"contents"


def test_a_copy_with_other_contents_is_replaced(archive: Archive) -> None:
    """What a power cut left has the right size and the wrong bytes: only its hash tells."""
    stored = archive.put(b"contents")
    stored.path.write_bytes(b"\0" * 8)
    assert archive.put(b"contents").path.read_bytes() == b"contents"
    assert archive.holds(stored.sha256)


def test_an_error_of_the_giver_leaves_nothing(archive: Archive, tmp_path: Path) -> None:
    """When the pieces stop with an error, the part that was written goes too."""

    def break_off() -> None:
        raise RuntimeError("the sender broke off")

    with pytest.raises(RuntimeError, match="broke off"), archive.incoming() as file:
        file.write(b"half")
        break_off()
    assert leftovers(tmp_path) == []
    assert list(archive.iterate()) == []


def test_a_forgotten_file_goes_with_its_owner(archive: Archive, tmp_path: Path) -> None:
    """An incoming file nobody holds any more is deleted."""
    file = archive.incoming()
    file.write(b"half")
    assert len(leftovers(tmp_path)) == 1
    del file
    assert leftovers(tmp_path) == []


def test_several_files_are_found_in_their_order(archive: Archive) -> None:
    """Paths come in the order of the hashes."""
    hashes = [archive.put(bytes([number]) * 10).sha256 for number in range(20)]
    assert [path.stem for path in archive.paths(hashes)] == hashes


def test_every_file_is_listed_once_with_its_size(archive: Archive) -> None:
    """A rebuild sees what was stored, whatever came twice."""
    files = {archive.put(bytes([number]) * (number + 1)) for number in range(5)}
    archive.put(b"\0")
    listed = {(file.sha256, file.bytes, file.path) for file in archive.iterate()}
    assert listed == {(file.sha256, file.bytes, file.path) for file in files}


def test_what_was_stored_just_now_is_not_removed(archive: Archive) -> None:
    """A sender may have been told this very moment that it is safe."""
    stored = archive.put(b"contents")
    assert not archive.remove(stored.sha256, 60.0)
    assert archive.path(stored.sha256).read_bytes() == b"contents"


def test_what_is_removed_is_gone(archive: Archive) -> None:
    """Removing takes the file, says so, and says it again."""
    stored = archive.put(b"contents")
    if stored.path.exists():
        os.utime(stored.path, (time.time() - 7200, time.time() - 7200))
    time.sleep(1.1)  # the store's clock has whole seconds
    assert archive.remove(stored.sha256, 1.0)
    assert archive.remove(stored.sha256, 1.0)
    assert not archive.path(stored.sha256).exists()
    assert not archive.holds(stored.sha256)


def test_an_acceptor_opens_the_same_archive(archive: Archive) -> None:
    """It travels to another process; what that stores is found here."""
    other: Archive = pickle.loads(pickle.dumps(archive))  # noqa: S301 - our own
    assert archive.path(other.put(b"contents").sha256).read_bytes() == b"contents"


@pytest.mark.parametrize("address", ["", "../../etc/passwd", "A" * 64, "a" * 63, "/" * 64])
def test_only_a_hash_is_an_address(archive: Archive, address: str) -> None:
    """No path and no key is made from anything but 64 hexadecimal digits."""
    with pytest.raises(ValueError, match="64 lower-case hexadecimal"):
        archive.path(address)
