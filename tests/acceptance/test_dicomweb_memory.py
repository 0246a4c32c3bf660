"""A study of 500 instances passes by DICOMweb in a memory that does not know how large it is."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from node.dicom.reading.limits import check_file
from tests import builders
from tests.dicomweb_parts import MULTIPART, message
from tests.node_process import NodeProcess

COUNT = 500
SIDE = 384  # 140 MiB in all
ALLOWED = 64 << 20

#: Fetches the study into an archive of its own, or stores it; prints the growth of its peak memory.
CLIENT = """
import sys
from pathlib import Path
from node.config import DicomwebPeer
from node.dicom.dicomweb import stow
from node.dicom.intake import Intake
from node.exchange.pull import from_dicomweb
from node.storage.archive import Archive
from node.storage.index import Index

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(l.split()[1]) << 10 for l in lines if l.startswith("VmHWM"))

what, url, folder, uid = sys.argv[1:]
peer, folder = DicomwebPeer(name="node", url=url), Path(folder)
before = peak()
if what == "pull":
    index = Index(f"sqlite:///{folder}/index.sqlite")
    from_dicomweb(peer, uid, Intake(Archive(folder, 50), index, 512), lambda _: ())
    assert len(index.instances(uid)) == 500
else:
    assert all(s.is_stored for s in stow.push(peer, sorted(folder.glob("objects/*/*.dcm"))))
print(peak() - before)
"""


def images() -> Iterator[bytes]:
    image = builders.mr_image(size=SIDE)
    noise = np.random.default_rng(1)
    for number in range(COUNT):
        image.InstanceNumber = number
        image.SOPInstanceUID = builders.uid("many", number)
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.PixelData = noise.bytes(SIDE * SIDE * 2)
        yield builders.part10(image)


def run_client(*arguments: str) -> int:
    command = [sys.executable, "-c", CLIENT, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return int(ended.stdout.splitlines()[-1])


@pytest.mark.timeout(600)
def test_memory_is_flat_in_both_directions(tmp_path: Path) -> None:
    """Stored on the node, retrieved from it, fetched by our client and stored by our client."""
    uid = str(builders.mr_image().StudyInstanceUID)
    with NodeProcess(tmp_path / "node", quiet_s=600, incomplete_s=600) as node:
        url = f"{node.url}/dicom-web"
        # What is loaded at the first request is no part of the study.
        requests.post(f"{url}/studies", data=message([]), headers=MULTIPART, timeout=10)
        before = node.peak_memory()
        stored = requests.post(
            f"{url}/studies", data=message(images()), headers=MULTIPART, timeout=240
        )
        assert stored.status_code == 200
        accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        with requests.get(f"{url}/studies/{uid}", headers=accept, stream=True, timeout=60) as study:
            size = sum(len(chunk) for chunk in study.iter_content(1 << 20))
        assert size > COUNT * SIDE * SIDE * 2
        assert node.peak_memory() - before < ALLOWED

        copy = tmp_path / "copy"
        copy.mkdir()
        assert run_client("pull", url, str(copy), uid) < ALLOWED
    files = list(copy.glob("objects/*/*.dcm"))
    assert {check_file(path).study_uid for path in files} == {uid}
    with NodeProcess(tmp_path / "other", quiet_s=600, incomplete_s=600) as other:
        assert run_client("push", f"{other.url}/dicom-web", str(copy), uid) < ALLOWED
        assert other.study(uid)["instances"] == COUNT
