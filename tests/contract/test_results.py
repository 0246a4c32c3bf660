"""What the results of a job promise, in a local folder and in a real object store."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from node.errors import StoreUnavailable
from node.storage.cache import Cache
from node.storage.results import Results, SharedResults
from node.storage.store import Store
from tests.s3_server import S3Server

JOB = "1.2.3:abcdef"
FILES = {
    "findings.json": b"{}",
    "sr.dcm": b"report",
    "capture/01.dcm": b"one",
    "pages/l4l5.png": b"p",
}

Open = Callable[[str], Results]


@pytest.fixture(params=["folder", "store"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Return what opens the results as a host of this name sees them."""
    if request.param == "folder":
        return lambda _: Results(tmp_path / "results")
    server: S3Server = request.getfixturevalue("s3")
    return lambda host: on(server, tmp_path, host)


def on(s3: S3Server, tmp_path: Path, host: str) -> Results:
    store = Store(s3.settings(f"results/{tmp_path.name}", timeout_s=1.0))
    return SharedResults(Cache(tmp_path / host, 100), store)


def write(results: Results, files: dict[str, bytes] = FILES) -> None:
    """Write results as a job does: all or none."""
    folder = results.folder(JOB)
    shutil.rmtree(folder, ignore_errors=True)
    for name, contents in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents)


@pytest.mark.parametrize("reader", ["a", "b"])
def test_every_host_has_what_one_has_kept(opened: Open, reader: str) -> None:
    """Names, single files and the whole folder, with the same contents."""
    writer, other = opened("a"), opened(reader)
    write(writer)
    writer.keep(JOB)
    assert sorted(other.names(JOB)) == sorted(FILES)
    single = {name: other.file(JOB, name) for name in FILES}
    assert {name: path.read_bytes() for name, path in single.items() if path} == FILES
    folder = other.whole(JOB)
    assert folder is not None
    assert {n: (folder / n).read_bytes() for n in FILES} == FILES
    assert other.file(JOB, "pages/l5s1.png") is None


def test_a_job_without_results_has_none(opened: Open) -> None:
    """Nobody is told a folder that is not there."""
    results = opened("a")
    assert list(results.names(JOB)) == []
    assert results.file(JOB, "findings.json") is None
    assert results.whole(JOB) is None


def test_results_that_are_written_again_replace_the_first(opened: Open) -> None:
    """A job that was cut off, or failed behind its results, writes once more."""
    writer, other = opened("a"), opened("b")
    write(writer)
    writer.keep(JOB)
    assert other.whole(JOB)
    write(writer, {"findings.json": b'{"failed": true}'})
    writer.keep(JOB)
    for host in (writer, other, opened("c")):
        assert list(host.names(JOB)) == ["findings.json"]
        found = host.file(JOB, "findings.json")
        assert found is not None
        assert found.read_bytes() == b'{"failed": true}'


def test_what_was_not_kept_is_nobodys(s3: S3Server, tmp_path: Path) -> None:
    """A worker that dies before everything is in the store has written nothing."""
    write(on(s3, tmp_path, "a"))
    assert on(s3, tmp_path, "a").whole(JOB) is None
    assert on(s3, tmp_path, "b").whole(JOB) is None


def test_a_lost_cache_is_filled_again(s3: S3Server, tmp_path: Path) -> None:
    """Copies may go at any time; damaged ones are not believed."""
    results = on(s3, tmp_path, "a")
    write(results)
    results.keep(JOB)
    copy = results.file(JOB, "sr.dcm")
    assert copy is not None
    copy.write_bytes(b"damage")
    assert copy == results.file(JOB, "sr.dcm")
    assert copy.read_bytes() == b"report"
    shutil.rmtree(tmp_path / "a")
    folder = results.whole(JOB)
    assert folder is not None
    assert (folder / "capture/01.dcm").read_bytes() == b"one"


def test_copies_are_there_while_the_store_is_not(s3: S3Server, tmp_path: Path) -> None:
    """A host goes on with what it has, and says what it has not."""
    results, other = on(s3, tmp_path, "a"), on(s3, tmp_path, "b")
    write(results)
    results.keep(JOB)
    s3.freeze()
    try:
        assert results.whole(JOB) is not None
        with pytest.raises(StoreUnavailable):
            other.whole(JOB)
        write(other)
        with pytest.raises(StoreUnavailable):
            other.keep(JOB)
    finally:
        s3.thaw()


def test_results_that_are_deleted_are_gone_on_every_host(opened: Open) -> None:
    """The rules for keeping results hold for copies too; twice is no mistake."""
    writer, other = opened("a"), opened("b")
    write(writer)
    writer.keep(JOB)
    assert other.whole(JOB)
    for host in (other, writer, opened("c")):
        host.drop(JOB)
        assert list(host.names(JOB)) == []
        assert host.whole(JOB) is None
        assert host.file(JOB, "sr.dcm") is None


def test_a_deletion_that_was_cut_off_is_ended(s3: S3Server, tmp_path: Path) -> None:
    """Without their listing, files in the store are found by the next one."""
    results = on(s3, tmp_path, "a")
    write(results)
    results.keep(JOB)
    store = Store(s3.settings(f"results/{tmp_path.name}", timeout_s=1.0))
    (listing,) = [o.key for o in store.objects("results/") if o.key.endswith("listing.json")]
    store.delete([listing])
    on(s3, tmp_path, "b").drop(JOB)
    assert list(store.objects("results/")) == []
