"""Receiving into a real object store: said only when it is there, and never lost with a cache."""

import shutil
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest

from node.dicom.intake import read_row
from node.errors import Misconfigured, StoreUnavailable
from node.storage import cache as cache_rules
from node.storage.cache import Cache
from node.storage.shared import SharedArchive
from node.storage.store import PART, Store
from tests.builders import mr_image, part10, write_all
from tests.receiving import listening, storescu
from tests.s3_server import SECRET, S3Server


def host(
    s3: S3Server, root: Path, part: str, *, cache_mb: int = 100, timeout_s: float = 5.0
) -> SharedArchive:
    """Return an archive as another host opens it: the same store, a cache of its own."""
    store = Store(s3.settings(part, timeout_s=timeout_s))
    return SharedArchive(Cache(root / "cache", cache_mb), 10, store)


def images(folder: Path, numbers: Sequence[int]) -> list[Path]:
    return write_all([mr_image("1", number=number) for number in numbers], folder)


def test_what_is_acknowledged_is_in_the_store(s3: S3Server, tmp_path: Path) -> None:
    """Another host, with an empty cache, reads every image that got Success."""
    here, there = (host(s3, tmp_path / name, "acknowledged") for name in ("here", "there"))
    with listening(tmp_path, archive=here, processes=2) as node:
        assert storescu(node.port, images(tmp_path / "in", range(1, 6))).returncode == 0
    rows = [read_row(file) for file in here.iterate()]
    assert len(rows) == 5
    shutil.rmtree(tmp_path / "here")
    hashes = [row.sha256 for row in rows]
    assert [path.read_bytes() for path in there.paths(hashes)] == [
        path.read_bytes() for path in here.paths(hashes)
    ]


@pytest.mark.parametrize("trouble", ["killed", "frozen"])
def test_a_store_that_is_away_is_out_of_resources(
    s3: S3Server, tmp_path: Path, trouble: str
) -> None:
    """The sender is told to try again, nothing is half there, and the same send works later."""
    archive = host(s3, tmp_path, trouble, timeout_s=1.0)
    files = images(tmp_path / "in", [1])
    with listening(tmp_path, archive=archive) as node:
        (s3.kill if trouble == "killed" else s3.freeze)()
        try:
            told = storescu(node.port, files)
        finally:
            (s3.start if trouble == "killed" else s3.thaw)()
        assert told.returncode == 0xA7  # what DCMTK makes of a status of 0xA700
        assert node.listener.counts == {"no_store": 1}
        assert list((tmp_path / "cache" / "incoming").iterdir()) == []
        assert storescu(node.port, files).returncode == 0
    assert len(list(archive.iterate())) == 1


def test_a_copy_that_is_not_what_its_name_says_is_fetched_again(
    s3: S3Server, tmp_path: Path
) -> None:
    """The cache is never believed: a damaged copy of a host's disk does not reach a reader."""
    archive = host(s3, tmp_path, "damaged")
    stored = archive.put(part10(mr_image()))
    stored.path.write_bytes(b"\0" * stored.bytes)
    assert archive.path(stored.sha256).read_bytes() == part10(mr_image())


def test_an_object_that_is_not_what_its_key_says_is_not_served(
    s3: S3Server, tmp_path: Path
) -> None:
    """What somebody else put under a key is left alone, and a right one beside it is found."""
    archive = host(s3, tmp_path, "foreign")
    stored = archive.put(b"right")
    Store(s3.settings("foreign")).put(f"objects/{stored.sha256}/0000000000000000", b"wrong")
    archive._cache.drop(f"objects/{stored.sha256[:2]}/{stored.sha256}.dcm")
    assert archive.path(stored.sha256).read_bytes() == b"right"


def test_what_is_stored_while_it_is_removed_stays(s3: S3Server, tmp_path: Path) -> None:
    """Retention deletes what it has seen; the same contents that come meanwhile are another key."""
    here, there = host(s3, tmp_path / "a", "race"), host(s3, tmp_path / "b", "race")
    sha256 = here.put(b"contents").sha256
    delete = here._store.delete

    def late(keys: Sequence[str]) -> None:
        there.put(b"contents")
        delete(keys)

    here._store.delete = late  # type: ignore[method-assign]
    assert here.remove(sha256, -5.0)
    assert host(s3, tmp_path / "c", "race").path(sha256).read_bytes() == b"contents"


def test_a_large_object_travels_in_parts(s3: S3Server, tmp_path: Path) -> None:
    """What is larger than one request arrives whole."""
    contents = BytesIO()
    for number in range(2 * PART // 8 + 3):
        contents.write(number.to_bytes(8, "little"))
    stored = host(s3, tmp_path / "a", "large").put(contents.getvalue())
    copy = host(s3, tmp_path / "b", "large").path(stored.sha256)
    assert copy.read_bytes() == contents.getvalue()


def test_the_cache_stays_small(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies that nobody needs now go, the oldest first; the store still has them."""
    monkeypatch.setattr(cache_rules, "IDLE_S", 0.0)
    archive = host(s3, tmp_path, "small", cache_mb=2)
    hashes = [archive.put(bytes([number]) * (256 << 10)).sha256 for number in range(16)]
    copies = list((tmp_path / "cache" / "objects").glob("??/*.dcm"))
    assert sum(path.stat().st_size for path in copies) <= 2 << 20
    assert archive.path(hashes[0]).read_bytes() == bytes(256 << 10)


def test_secrets_are_in_no_message(s3: S3Server, tmp_path: Path) -> None:
    """A store that refuses is named with its answer, never with what was shown to it."""
    wrong = tmp_path / "credentials"
    wrong.write_text(s3.credentials.read_text("utf-8").replace(SECRET, "no-such-secret"))
    with pytest.raises(StoreUnavailable, match="403 SignatureDoesNotMatch") as refusal:
        Store(s3.settings(credentials_file=wrong)).probe()
    assert "no-such-secret" not in str(refusal.value)
    assert "lumbar" not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "[default]\naws_access_key_id = x\n", "nothing"])
def test_a_file_without_credentials_is_a_mistake(s3: S3Server, tmp_path: Path, text: str) -> None:
    """It is told by its name and by what it should hold."""
    path = tmp_path / "credentials"
    path.write_text(text, "utf-8")
    with pytest.raises(Misconfigured, match="aws_secret_access_key"):
        Store(s3.settings(credentials_file=path)).probe()
