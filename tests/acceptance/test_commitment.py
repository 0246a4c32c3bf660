"""Storage commitment with foreign peers: a real Orthanc asks a real node, which may be killed."""

import threading
from pathlib import Path
from typing import Any

import requests
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from node.loopback import free_port
from tests.builders import mr_study, part10
from tests.integration.test_commitment import action
from tests.node_process import NodeProcess
from tests.orthanc_server import OrthancServer
from tests.waiting import wait_for

MR = "1.2.840.10008.5.1.4.1.1.4"


def test_orthanc_asks_and_is_told(tmp_path: Path) -> None:
    """What Orthanc sent is committed; what it never sent is not, and it shows which."""
    pacs = OrthancServer(tmp_path / "pacs", ae_title="PACS")
    commit_to = f'[[sources]]\nae_title = "PACS"\ncommit_to = "PACS@127.0.0.1:{pacs.dicom_port}"\n'
    with NodeProcess(tmp_path / "node", extra=commit_to, quiet_s=600, incomplete_s=900) as node:
        pacs.configuration["DicomModalities"] = {
            "node": {"AET": "LUMBAR", "Host": "127.0.0.1", "Port": node.dicom_port}
        }
        with pacs:
            images = list(mr_study(slices=2))
            (study,) = {pacs.upload(part10(image)) for image in images}
            sent = requests.post(f"{pacs.url}/modalities/node/store", data=study, timeout=60)
            assert sent.json()["FailedInstancesCount"] == 0
            known = [[MR, str(image.SOPInstanceUID)] for image in images]

            whole = commitment_of(pacs, known)
            assert whole["Status"] == "Success"
            assert len(whole["Success"]) == 6

            part = commitment_of(pacs, [*known, [MR, "1.2.3.4"]])
            assert part["Status"] == "Failure"
            assert [f["SOPInstanceUID"] for f in part["Failures"]] == ["1.2.3.4"]


def commitment_of(pacs: OrthancServer, instances: list[list[str]]) -> dict[str, Any]:
    """Let Orthanc ask the node about instances, and return its report."""
    url = f"{pacs.url}/modalities/node/storage-commitment"
    asked = requests.post(url, json={"DicomInstances": instances}, timeout=30)
    assert asked.status_code == 200, asked.text
    report = f"{pacs.url}/storage-commitment/{asked.json()['ID']}"

    def told() -> dict[str, Any] | None:
        answer: dict[str, Any] = requests.get(report, timeout=10).json()
        return None if answer["Status"] == "Pending" else answer

    found = wait_for(told, seconds=60, what="the report in Orthanc")
    assert found is not None
    return found


def test_a_node_that_was_killed_still_answers(tmp_path: Path) -> None:
    """The request was accepted, then kill -9; after a restart the peer, back too, is told."""
    port = free_port()
    commit_to = f'[[sources]]\nae_title = "MR1"\ncommit_to = "MR1@127.0.0.1:{port}"\n'
    node = NodeProcess(tmp_path / "node", extra=commit_to)
    with node:
        ae = AE("MR1")
        ae.add_requested_context(StorageCommitmentPushModel)
        association = ae.associate("127.0.0.1", node.dicom_port, ae_title="LUMBAR")
        status, _ = association.send_n_action(
            action("1.2.3.4.5", (MR, "1.2.3.9")),
            1,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
        assert status.Status == 0
        node.kill()
        association.abort()
        node.start()
        told: list[Any] = []
        arrived = threading.Event()

        def on_report(event: Any) -> tuple[int, None]:
            told.append((event.event_type, event.event_information.TransactionUID))
            arrived.set()
            return 0, None

        scanner = AE("MR1")
        scanner.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        server = scanner.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_report)]
        )
        try:
            assert arrived.wait(90), node.log[-3000:]
        finally:
            server.shutdown()
        assert told == [(2, "1.2.3.4.5")]
