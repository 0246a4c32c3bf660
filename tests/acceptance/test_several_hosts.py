"""Listeners, workers and pages on hosts of their own: one PostgreSQL, one object store."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pydicom
import pytest
import requests
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE

from node.app import Node
from node.config import Config
from node.dicom.receiver import Receiver
from node.phantom import PhantomStudy
from node.storage.opening import unfinished_in
from tests.builders import mr_image, part10
from tests.node_process import NodeProcess, storescu
from tests.postgres_server import PostgresServer
from tests.s3_server import S3Server
from tests.waiting import wait_for

SR_3D = "1.2.840.10008.5.1.4.1.1.88.34"
MR = "1.2.840.10008.5.1.4.1.1.4"
QUIET_S = 2.0
ALONE = str(mr_image("alone").StudyInstanceUID)


class Site:
    """Hosts of one node: each has its own folder, all have the database and the store."""

    def __init__(self, root: Path, database_url: str, s3: S3Server, receiver: Receiver) -> None:
        self._root, self._database_url = root, database_url
        self._s3, self._receiver = s3, receiver
        self._stack = ExitStack()

    def host(self, name: str, command: str) -> NodeProcess:
        """Start one command on a host of its own."""
        process = NodeProcess(
            self._root / name,
            [("pacs", self._receiver.ae_title, self._receiver.port)],
            extra=self._s3.toml(self._root.name, timeout_s=6.0),
            quiet_s=QUIET_S,
            incomplete_s=600,
            commands=(command,),
            database_url=self._database_url,
        )
        return self._stack.enter_context(process)

    def close(self) -> None:
        """Stop every host."""
        self._stack.close()


@pytest.fixture
def site(
    tmp_path: Path, postgres: PostgresServer, s3: S3Server, receiver: Receiver
) -> Iterator[Site]:
    site = Site(tmp_path, postgres.database(), s3, receiver)
    yield site
    site.close()


def alone(data: Path) -> None:
    """Leave what a node leaves that had this folder to itself, and finished before the switch."""
    node = Node(Config(data_dir=data))
    node.intake.receive(part10(mr_image("alone")), "SCANNER")
    node.index.set_state(ALONE, "cancelled")
    node.stop()
    assert unfinished_in(data) == 0


def test_a_study_by_halves_over_two_listeners(
    site: Site, s3: S3Server, receiver: Receiver, phantom: PhantomStudy, tmp_path: Path
) -> None:
    """One result set, though a worker, a cache and the store go away meanwhile; pages elsewhere."""
    alone(tmp_path / "left" / "data")
    left, right = site.host("left", "listen"), site.host("right", "listen")
    web = site.host("web", "web")
    images = phantom.datasets()
    half = len(images) // 2

    ae = AE("SCANNER")
    ae.add_requested_context(MR, ImplicitVRLittleEndian)
    held = ae.associate("127.0.0.1", left.dicom_port, ae_title="LUMBAR")
    assert [held.send_c_store(image).Status for image in images[:half]] == [0] * half
    shutil.rmtree(tmp_path / "left" / "data" / "cache")

    rest = tmp_path / "rest"
    rest.mkdir()
    for number, image in enumerate(images[half:]):
        image.save_as(rest / f"{number}.dcm", enforce_file_format=True)
    s3.freeze()
    try:
        with pytest.raises(subprocess.CalledProcessError):
            storescu(right.dicom_port, rest)
    finally:
        s3.thaw()
    storescu(right.dicom_port, rest)

    time.sleep(QUIET_S + 2)  # long enough to be taken for complete by a listener that knows less
    assert web.study(phantom.study_uid)["state"] == "receiving"
    assert web.study(ALONE) == {}  # finished before the switch, it stays where it was
    held.release()

    first = site.host("first", "work")
    wait_for(lambda: web.study(phantom.study_uid)["state"] == "running", seconds=60)
    first.kill()
    site.host("second", "work")
    told = web.wait_until(phantom.study_uid, "done", seconds=200)
    assert told["instances"] == len(images)

    objects = [pydicom.dcmread(path, force=True) for path in receiver.files()]
    assert [o.SOPClassUID for o in objects].count(SR_3D) == 1
    page = requests.get(f"{web.url}/studies/{phantom.study_uid}/pages/summary.png", timeout=20)
    assert page.content.startswith(b"\x89PNG")
    findings = requests.get(f"{web.url}/studies/{phantom.study_uid}/findings.json", timeout=20)
    assert len(findings.json()["findings"]) == 25
    listed = requests.get(
        f"{web.url}/dicom-web/studies/{phantom.study_uid}/instances", timeout=60
    ).json()
    assert len(listed) == len(images) + len(objects)
