"""Files by their hash: one for the same contents, whole or not there, and never a full disk."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from node.errors import DiskFull
from node.storage.archive import Archive


def leftovers(root: Path) -> list[Path]:
    return list((root / "incoming").iterdir())


def test_the_same_contents_twice_are_one_file(tmp_path: Path) -> None:
    """Storing again changes nothing, not even when it was first stored."""
    archive = Archive(tmp_path, 0)
    first, second = archive.put(b"same"), archive.put(b"same")
    assert first == second
    assert list(archive.iterate()) == [first]
    assert leftovers(tmp_path) == []


def test_contents_that_could_not_be_flushed_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed flush the kernel may show bytes that are not on the disk."""
    archive = Archive(tmp_path, 0)

    def fail(_handle: int) -> None:
        raise OSError(errno.EIO, "the disk does not work")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", fail)
        with pytest.raises(OSError, match="does not work"):
            archive.put(b"contents")
    assert list(archive.iterate()) == []
    assert leftovers(tmp_path) == []


def test_a_full_disk_is_refused_before_it_is_full(tmp_path: Path) -> None:
    """Below the watermark nothing is accepted and nothing is left behind."""
    free_mb = shutil.disk_usage(tmp_path).free >> 20
    archive = Archive(tmp_path, free_mb + 1000)
    with pytest.raises(DiskFull, match="min_free_mb"):
        archive.put(b"contents")
    assert leftovers(tmp_path) == []
    assert list(archive.iterate()) == []


def test_space_that_runs_out_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that would pass the watermark with its second piece is refused and removed."""
    archive = Archive(tmp_path, 100)
    real = shutil.disk_usage(tmp_path)
    sizes = iter([200 << 20, 200 << 20, 100 << 20])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=next(sizes)))
    with pytest.raises(DiskFull):
        archive.put(iter([b"first", b"second"]))
    assert leftovers(tmp_path) == []


def test_leftovers_of_a_killed_process_are_removed_at_start(tmp_path: Path) -> None:
    """What a process that died left unfinished is gone after the next start."""
    script = (
        "import os, sys, signal; from pathlib import Path\n"
        "from node.storage.archive import Archive\n"
        "file = Archive(Path(sys.argv[1]), 0).incoming(); file.write(b'half')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
    assert len(leftovers(tmp_path)) == 1
    Archive(tmp_path, 0)
    assert leftovers(tmp_path) == []


def test_a_second_process_leaves_work_in_progress_alone(tmp_path: Path) -> None:
    """Opening the archive again does not touch a file that is being written."""
    archive = Archive(tmp_path, 0)
    with archive.incoming() as file:
        file.write(b"con")
        Archive(tmp_path, 0)
        file.write(b"tents")
        assert file.commit().path.read_bytes() == b"contents"


def test_files_are_listed_in_the_order_they_came(tmp_path: Path) -> None:
    """Iterating yields the oldest first, which decides who was first after a rebuild."""
    archive = Archive(tmp_path, 0)
    contents = [bytes([number]) * 10 for number in range(20)]
    stored = [archive.put(data) for data in contents]
    assert [file.sha256 for file in archive.iterate()] == [file.sha256 for file in stored]


def test_nobody_else_may_look_inside(tmp_path: Path) -> None:
    """The folders belong to the node's user alone."""
    Archive(tmp_path / "archive", 0)
    modes = {p.stat().st_mode & 0o777 for p in (tmp_path / "archive", *tmp_path.glob("*/*"))}
    assert modes == {0o700}
