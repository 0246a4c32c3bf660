"""A disk that is full, slow, read-only or gone: refused in time, nothing lost, and on it goes."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from node.config import Listen
from node.dicom.scp.listener import Listener
from node.errors import DiskFull
from node.loopback import free_port
from node.storage.archive import Archive
from node.storage.index import Index
from tests.builders import mr_study, uid, write_all
from tests.node_process import NodeProcess
from tests.node_process import storescu as send_folder
from tests.receiving import dataset, listening, storescu
from tests.small_disk import Ballast, small_disk
from tests.waiting import wait_for

SLICES = 5


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 MiB."""
    with small_disk(tmp_path / "small", 96) as place:
        yield place


@pytest.fixture
def study(tmp_path: Path) -> list[Path]:
    """The files of a study of 15 images."""
    return write_all(mr_study("disk", slices=SLICES), tmp_path / "in")


def _answers(result: "subprocess.CompletedProcess[str]") -> tuple[int, int]:
    """Return how often storescu was answered Success and OutOfResources."""
    said = result.stdout + result.stderr
    return said.count("Response (Success)"), said.count("Response (Refused: OutOfResources)")


def test_images_are_refused_before_the_disk_is_full(disk: Path, study: list[Path]) -> None:
    """At the watermark the answer is 0xA700; when space is back the same sender succeeds."""
    ballast = Ballast(disk)
    with listening(disk, min_free_mb=20) as node:
        ballast.fill(leave_mb=19)
        assert _answers(storescu(node.port, study, "-v")) == (0, 1)  # storescu gives up at once
        assert node.datasets() == []
        assert shutil.disk_usage(disk).free > 18 << 20
        ballast.release()
        assert _answers(storescu(node.port, study, "-v")) == (15, 0)
        assert len(node.datasets()) == 15
        assert node.unfinished() == []


def test_the_last_byte_of_a_disk_loses_nothing(disk: Path, study: list[Path]) -> None:
    """Without a watermark the disk itself says no, in the middle of a file; that is an answer."""
    ballast = Ballast(disk)
    with listening(disk, min_free_mb=0) as node:
        ballast.fill()
        assert _answers(storescu(node.port, study, "-v"))[0] == 0
        ballast.release()
        assert _answers(storescu(node.port, study, "-v")) == (15, 0)
        assert node.datasets() == sorted(dataset(path.read_bytes()) for path in study)
        assert node.unfinished() == []


@contextmanager
def _listening_on(archive: Path, index: Path) -> Iterator[tuple[int, Index]]:
    """Run a listener whose archive and index are on different disks; gives port and index."""
    options = Listen(port=free_port(), min_free_mb=10)
    rows = Index(f"sqlite:///{index}/index.sqlite")
    listener = Listener(options, Archive(archive / "archive", 10), rows)
    listener.start()
    try:
        yield options.port, rows
    finally:
        listener.stop()
        rows.close()


def test_an_index_on_a_full_disk_catches_up(disk: Path, study: list[Path], tmp_path: Path) -> None:
    """Images are acknowledged once they are durable; rows that find no space are written later."""
    ballast = Ballast(disk)
    name = uid("study", "disk")
    with _listening_on(tmp_path, disk) as (port, index):
        assert index.study(name) is None  # a node at work has its connections open
        ballast.fill()
        assert _answers(storescu(port, study, "-v")) == (15, 0)
        time.sleep(1.5)
        assert index.study(name) is None
        ballast.release()
        wait_for(lambda: len(index.instances(name)) == 15, seconds=60, what="the rows")


def test_a_read_only_disk_refuses_and_recovers(
    disk: Path, study: list[Path], tmp_path: Path
) -> None:
    """A file system that went read-only (a failing disk) is 0xA700 until it is back."""
    with _listening_on(disk, tmp_path) as (port, _):
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        try:
            assert _answers(storescu(port, study, "-v")) == (0, 1)
        finally:
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert _answers(storescu(port, study, "-v")) == (15, 0)


def test_an_archive_that_is_gone_refuses_until_it_is_back(
    tmp_path: Path, study: list[Path]
) -> None:
    """A mount that vanished is 0xA700; when the folder is back, so is the node."""
    with listening(tmp_path) as node:
        place, away = tmp_path / "archive", tmp_path / "away"
        place.rename(away)
        assert _answers(storescu(node.port, study, "-v")) == (0, 1)
        away.rename(place)
        assert _answers(storescu(node.port, study, "-v")) == (15, 0)


def test_a_slow_disk_makes_senders_wait(
    tmp_path: Path, study: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Success comes behind the flush, however long that takes, and memory holds no queue."""
    flushed: list[float] = []
    real = os.fsync

    def slow(handle: Any) -> None:
        time.sleep(0.1)
        real(handle)
        flushed.append(time.monotonic())

    with listening(tmp_path, processes=0) as node:
        monkeypatch.setattr(os, "fsync", slow)
        sender = threading.Thread(target=storescu, args=(node.port, study))
        sender.start()
        sender.join()
        assert len(node.datasets()) == 15
        assert len(flushed) >= 30  # the file and its folder, for each image


def test_a_study_waits_for_space_and_is_finished(disk: Path, tmp_path: Path) -> None:
    """A disk that fills up behind the last image: the node lives, and the study is run later."""
    write_all(mr_study("disk", slices=SLICES), tmp_path / "in")
    ballast = Ballast(disk)
    with NodeProcess(disk / "node", quiet_s=3.0) as node:
        send_folder(node.dicom_port, tmp_path / "in")
        wait_for(lambda: node.study(uid("study", "disk")).get("instances") == 15)
        ballast.fill()
        time.sleep(6)
        assert node.study(uid("study", "disk"))["state"] not in {"done", "rejected", "failed"}
        ballast.release()
        node.wait_until(uid("study", "disk"), "done", "rejected")
        files = list((disk / "node/data/results").rglob("sr.dcm"))
        assert len(files) == 1
        assert not list((disk / "node/data/results").rglob("*.part"))


def test_results_that_find_no_space_are_kept_for_later(disk: Path, tmp_path: Path) -> None:
    """The archive's own call: no space is a reason to wait (DiskFull), never to lose the file."""
    archive = Archive(disk / "archive", 10)
    Ballast(disk).fill(leave_mb=11)
    with pytest.raises(DiskFull, match=r"listen\.min_free_mb"):
        archive.put(bytes(2 << 20))
    assert list((disk / "archive/incoming").iterdir()) == []
