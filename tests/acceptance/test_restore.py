"""A node that lost its disk goes on from its backup."""

import shutil
from pathlib import Path

import requests

from node.phantom import PhantomStudy
from tests.node_process import NodeProcess, cli, storescu
from tests.orthanc_server import OrthancServer


def test_after_a_loss_of_everything_the_backup_goes_on(
    tmp_path: Path, phantom: PhantomStudy, phantom_folder: Path
) -> None:
    """Copied while it runs and waits for a PACS; destroyed; restored: the results arrive there."""
    pacs = OrthancServer(tmp_path / "pacs", ae_title="PACS")
    uid = phantom.study_uid
    node = NodeProcess(tmp_path / "node", [("pacs", "PACS", pacs.dicom_port)])
    data = node.folder / "data"
    with node:
        storescu(node.dicom_port, phantom_folder)
        told = node.wait_until(uid, "delivering")
        findings = requests.get(f"{node.url}/studies/{uid}/findings.json", timeout=10).json()

        done = cli("backup", tmp_path / "copies", "--config", node.config)

        assert done.returncode == 0, done.stderr
        (copy,) = (tmp_path / "copies").iterdir()
        node.kill()
        shutil.rmtree(data)
        shutil.copytree(copy, data)
        node.start()

        restored = node.study(uid)
        again = requests.get(f"{node.url}/studies/{uid}/findings.json", timeout=10).json()
        assert (restored["job_id"], restored["instances"]) == (told["job_id"], told["instances"])
        assert again == findings
        with pacs:
            node.wait_until(uid, "done")
            assert len(pacs.files()) > 0
