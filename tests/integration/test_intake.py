"""Whole files that do not come by C-STORE take the same way into the node."""

from pathlib import Path

import pytest

from node.dicom.intake import Intake
from node.errors import DiskFull, InvalidInstance
from node.storage.archive import Archive
from node.storage.index import Index
from tests.builders import mr_image, part10, uid
from tests.receiving import dataset, listening, storescu


def intake(root: Path, min_free_mb: int = 10) -> tuple[Intake, Archive, Index]:
    archive = Archive(root / "archive", min_free_mb)
    index = Index(f"sqlite:///{root}/index.sqlite")
    return Intake(archive, index, max_object_mb=64), archive, index


def test_a_pulled_file_is_stored_and_indexed(tmp_path: Path) -> None:
    """A file from elsewhere is in the archive and its row in the index."""
    take, archive, index = intake(tmp_path)
    row, outcome = take.receive(part10(mr_image()), "orthanc")
    assert outcome == "new"
    assert index.instances(uid("study", "1")) == (row,)
    assert row.source == "orthanc"
    assert dataset(archive.path(row.sha256).read_bytes()) == dataset(part10(mr_image()))


def test_the_same_image_by_two_ways_is_one(tmp_path: Path) -> None:
    """C-STORE and a file with other meta information and preamble give the same address."""
    data = part10(mr_image(size=256))
    path = tmp_path / "image.dcm"
    path.write_bytes(data)
    with listening(tmp_path) as node:
        assert storescu(node.port, [path]).returncode == 0
    take, archive, index = intake(tmp_path)
    _, outcome = take.receive(b"MZ" + b"\x90" * 126 + data[128:], "orthanc")
    assert outcome == "duplicate"
    (stored,) = archive.iterate()
    assert stored.path.read_bytes()[:132] == bytes(128) + b"DICM"
    assert index.conflicts(uid("study", "1")) == ()


def test_a_bad_file_leaves_nothing(tmp_path: Path) -> None:
    """What is refused is neither stored nor indexed."""
    take, archive, index = intake(tmp_path)
    with pytest.raises(InvalidInstance, match="truncated"):
        take.receive(part10(mr_image())[:-10], "orthanc")
    assert list(archive.iterate()) == []
    assert index.studies() == ()


def test_a_full_disk_is_for_later(tmp_path: Path) -> None:
    """Below the watermark the same file may be given again later."""
    take, archive, _ = intake(tmp_path, min_free_mb=10**9)
    with pytest.raises(DiskFull):
        take.receive(part10(mr_image()), "orthanc")
    assert list(archive.iterate()) == []
