"""DCMTK's own senders against the listener in a process of its own, and Orthanc pushing to it."""

import subprocess
from pathlib import Path

import requests

from node.dicom.intake import read_row
from node.storage.archive import Archive
from node.storage.index import Index
from tests.builders import capture, ct_image, mr_image, mr_study, part10, uid, write_all
from tests.orthanc_server import OrthancServer
from tests.receiving import (
    DCMTK_ENVIRONMENT,
    dataset,
    dcmtk,
    listening,
    listening_process,
    storescu,
)
from tests.waiting import wait_for


def test_storescu_and_dcmsend_bytes_are_kept(tmp_path: Path) -> None:
    """What two foreign senders send is in the archive byte for byte, once."""
    paths = write_all(list(mr_study(slices=10, size=128)), tmp_path / "in")
    sent = sorted(dataset(path.read_bytes()) for path in paths)
    with listening(tmp_path) as node:
        assert dcmtk("echoscu", "-aec", "LUMBAR", "127.0.0.1", node.port).returncode == 0
        result = storescu(node.port, paths)
        assert result.returncode == 0, result.stderr
        assert node.datasets() == sent
        again = dcmtk("dcmsend", "-aec", "LUMBAR", "127.0.0.1", node.port, *paths)
        assert again.returncode == 0, again.stderr
        assert node.datasets() == sent
        assert node.listener.counts == {"new": 30, "duplicate": 30}
        study = node.index.study(uid("study", "1"))
        assert study is not None
        assert study.instances == 30


def test_four_senders_at_once_lose_nothing(tmp_path: Path) -> None:
    """Four storescu processes with overlapping studies: every image is there once."""
    paths = write_all(list(mr_study(slices=10)), tmp_path / "in")
    with listening(tmp_path) as node:
        command = ["/usr/bin/storescu", "-aec", "LUMBAR", "127.0.0.1", str(node.port)]
        senders = [
            subprocess.Popen([*command, *paths[start : start + 15]], env=DCMTK_ENVIRONMENT)
            for start in (0, 5, 10, 15)
        ]
        assert [sender.wait(timeout=60) for sender in senders] == [0, 0, 0, 0]
        assert node.datasets() == sorted(dataset(path.read_bytes()) for path in paths)
        assert node.listener.counts["new"] == 30
        assert node.listener.counts["duplicate"] == 30


def test_a_whole_study_with_other_classes_is_no_error(tmp_path: Path) -> None:
    """A push with CT and captures in it ends with success for the sender."""
    images = [mr_image(), ct_image(), capture()]
    paths = write_all(images, tmp_path / "in")
    with listening(tmp_path) as node:
        result = dcmtk("dcmsend", "-v", "-aec", "LUMBAR", "127.0.0.1", node.port, *paths)
        assert result.returncode == 0, result.stderr
        assert node.datasets() == [dataset(part10(images[0]))]
        assert node.listener.counts == {"new": 1, "ignored": 2}


def test_dcmtk_compressed_images_are_kept_compressed(tmp_path: Path) -> None:
    """JPEG lossless, JPEG-LS and RLE made by DCMTK arrive as they are."""
    (plain,) = write_all([mr_image(size=128)], tmp_path / "in")
    ways = {"dcmcjpeg": "-xs", "dcmcjpls": "-xt", "dcmcrle": "-xr"}
    with listening(tmp_path) as node:
        for number, (tool, proposal) in enumerate(ways.items()):
            packed = tmp_path / f"{tool}.dcm"
            made = dcmtk(tool, plain, packed)
            assert made.returncode == 0, made.stderr
            unique = tmp_path / f"{tool}-{number}.dcm"
            unique.write_bytes(packed.read_bytes())
            changed = dcmtk("dcmodify", "-nb", "-gin", unique)
            assert changed.returncode == 0, changed.stderr
            result = storescu(node.port, [unique], proposal)
            assert result.returncode == 0, result.stderr
            assert dataset(unique.read_bytes()) in node.datasets()
        syntaxes = {row.transfer_syntax_uid for row in node.index.instances(uid("study", "1"))}
        assert syntaxes == {
            "1.2.840.10008.1.2.4.70",
            "1.2.840.10008.1.2.4.80",
            "1.2.840.10008.1.2.5",
        }


def test_a_full_disk_makes_the_sender_fail(tmp_path: Path) -> None:
    """DCMTK reports out of resources, so that its user knows to send again."""
    paths = write_all([mr_image()], tmp_path / "in")
    with listening(tmp_path, min_free_mb=10**9) as node:
        result = storescu(node.port, paths, "-v")
        assert "Refused: OutOfResources" in result.stdout + result.stderr
        assert node.datasets() == []


def test_a_wrong_called_title_is_rejected(tmp_path: Path) -> None:
    """A sender with the wrong AE title is told so and nothing is stored."""
    paths = write_all([mr_image()], tmp_path / "in")
    with listening(tmp_path) as node:
        result = storescu(node.port, paths, called="SOMEONE")
        assert result.returncode != 0
        assert "Called AE Title Not Recognized" in result.stdout + result.stderr
        assert node.datasets() == []


def test_a_sender_killed_half_way_leaves_whole_images_only(tmp_path: Path) -> None:
    """Kill -9 of storescu: what is in the archive is whole, nothing else is left."""
    paths = write_all(list(mr_study(slices=60, size=256)), tmp_path / "in")
    with listening(tmp_path) as node:
        command = [
            "/usr/bin/storescu",
            "-aec",
            "LUMBAR",
            "127.0.0.1",
            str(node.port),
            *map(str, paths),
        ]
        sender = subprocess.Popen(command, env=DCMTK_ENVIRONMENT)
        wait_for(lambda: len(node.datasets()) >= 20, every=0.01, what="20 images")
        sender.kill()
        sender.wait(timeout=20)
        study = uid("study", "1")
        wait_for(lambda: node.listener.open_associations(study) == 0, what="the connection to end")
        kept = node.datasets()
        assert 20 <= len(kept) < 180
        assert set(kept) <= {dataset(path.read_bytes()) for path in paths}
        assert node.unfinished() == []
        assert storescu(node.port, paths).returncode == 0
        assert len(node.datasets()) == 180


def test_after_kill_9_of_the_listener_everything_acknowledged_is_there(tmp_path: Path) -> None:
    """Storescu's own log says which images were acknowledged: each of them is on disk."""
    paths = write_all(list(mr_study(slices=60, size=256)), tmp_path / "in")
    archive_folder = tmp_path / "archive" / "objects"
    with listening_process(tmp_path) as (process, port):
        command = [
            "/usr/bin/storescu",
            "-v",
            "-aec",
            "LUMBAR",
            "127.0.0.1",
            str(port),
            *map(str, paths),
        ]
        sender = subprocess.Popen(
            command,
            env=DCMTK_ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_for(lambda: len(list(archive_folder.glob("??/*.dcm"))) >= 20, every=0.01, what="20")
        process.kill()
        log, _ = sender.communicate(timeout=60)
    acknowledged = log.count("Received Store Response (Success)")
    assert 15 <= acknowledged < 180
    with listening(tmp_path) as node:
        kept = set(node.datasets())
        assert {dataset(path.read_bytes()) for path in paths[:acknowledged]} <= kept
        assert node.unfinished() == []
        assert storescu(node.port, paths).returncode == 0
        assert node.datasets() == sorted(dataset(path.read_bytes()) for path in paths)


def test_the_index_is_rebuilt_from_the_archive(tmp_path: Path) -> None:
    """Without its database the node finds every image of every study again."""
    paths = write_all([*mr_study("1", slices=3), *mr_study("2", slices=2)], tmp_path / "in")
    with listening(tmp_path) as node:
        assert storescu(node.port, paths).returncode == 0
        before = {name: node.index.instances(uid("study", name)) for name in "12"}
        hashes = {name: node.index.input_hash(uid("study", name)) for name in "12"}
    archive = Archive(tmp_path / "archive", 10)
    index = Index(f"sqlite:///{tmp_path}/second.sqlite")
    assert index.rebuild(archive.iterate(), read_row) == 15
    assert index.rebuild(archive.iterate(), read_row) == 0
    for name in "12":
        again = index.instances(uid("study", name))
        assert [row.sha256 for row in again] == [row.sha256 for row in before[name]]
        assert {row.source for row in again} == {"archive"}
        assert index.input_hash(uid("study", name)) == hashes[name]
    index.close()


def test_orthanc_pushes_a_study(tmp_path: Path) -> None:
    """A study sent on by a real Orthanc arrives complete, other classes included without error."""
    images = [*mr_study(slices=5), capture()]
    with (
        listening(tmp_path) as node,
        OrthancServer(tmp_path / "orthanc", modalities={"node": ("LUMBAR", node.port)}) as pacs,
    ):
        studies = {pacs.upload(part10(image)) for image in images}
        (study,) = studies
        answer = requests.post(f"{pacs.url}/modalities/node/store", data=study, timeout=60)
        assert answer.status_code == 200, answer.text
        assert answer.json()["FailedInstancesCount"] == 0
        assert node.datasets() == sorted(dataset(part10(image)) for image in images[:-1])
        assert node.listener.counts == {"new": 15, "ignored": 1}
