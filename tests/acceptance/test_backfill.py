"""``lumbar-node backfill`` beside a running node: last in the queue, killed, and gone on with."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom
from pydicom.filebase import DicomBytesIO

from tests import builders
from tests.node_process import ENVIRONMENT, NodeProcess, cli, storescu
from tests.orthanc_server import OrthancServer
from tests.waiting import wait_for

SR_3D = "1.2.840.10008.5.1.4.1.1.88.34"
STUDIES = ["a", "b", "c", "d"]


def summary(told: str) -> dict[str, Any]:
    last: dict[str, Any] = json.loads(told.splitlines()[-1])
    assert last["event"] == "summary"
    return last


def reports(pacs: OrthancServer) -> Counter[str]:
    """How many reports the PACS has of each study."""
    objects = [pydicom.dcmread(DicomBytesIO(raw)) for raw in pacs.files().values()]
    return Counter(str(o.StudyInstanceUID) for o in objects if o.SOPClassUID == SR_3D)


def test_live_work_goes_first_and_a_kill_costs_nothing(tmp_path: Path) -> None:
    """Two studies at once wait for a worker; the walk is killed; a live study comes and is first.

    In the end each study has one report at the PACS, and a walk through the same archive finds
    nothing new.
    """
    tree = tmp_path / "archive"
    tree.mkdir()
    for study in STUDIES:  # all in one folder
        for image in builders.mr_study(study):
            (tree / f"{image.SOPInstanceUID}").write_bytes(builders.part10(image))
    builders.write_all(builders.mr_study("live"), tmp_path / "live")
    live = builders.uid("study", "live")
    uids = {builders.uid("study", study) for study in STUDIES}

    with (
        OrthancServer(tmp_path / "pacs", ae_title="PACS") as pacs,
        NodeProcess(
            tmp_path / "node", [("pacs", "PACS", pacs.dicom_port)], commands=("listen", "web")
        ) as node,
    ):
        backfill = ["backfill", str(tree), "--at-once", "2", "--json", "--config", str(node.config)]
        first = subprocess.Popen(
            [sys.executable, "-m", "node.cli", *backfill],
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        assert first.stdout is not None
        told = [json.loads(first.stdout.readline()) for _ in range(2)]
        assert told[0] == {"event": "listed", "studies": 4, "resumed": False}
        assert "no worker is alive" in told[1]["reason"]
        begun = {uid for uid in uids if node.study(uid)}
        assert len(begun) == 2
        first.kill()
        first.wait(timeout=10)

        storescu(node.dicom_port, tmp_path / "live")
        node.wait_until(live, "queued")
        with (tmp_path / "work.log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "node.cli", "work", "--config", str(node.config)],
                stderr=log,
                env=ENVIRONMENT,
            )
        try:
            second = cli(*backfill)
            wait_for(lambda: node.study(live)["state"] == "rejected", what="the live study")
        finally:
            worker.terminate()
            worker.wait(timeout=30)

        assert second.returncode == 3, second.stderr
        assert json.loads(second.stdout.splitlines()[0])["resumed"]
        assert summary(second.stdout)["not_assessable"] == 4
        assert all(node.study(uid)["source"] == "backfill:folder" for uid in uids)
        lines = [json.loads(line) for line in (tmp_path / "work.log").read_text().splitlines()]
        order = [line["study_uid"] for line in lines if line["event"] == "findings made"]
        assert order[0] == live
        assert sorted(order) == sorted({live, *uids})
        assert reports(pacs) == dict.fromkeys({live, *uids}, 1)

        third = cli(*backfill)
        assert third.returncode == 0, third.stderr
        assert summary(third.stdout)["known"] == 4
