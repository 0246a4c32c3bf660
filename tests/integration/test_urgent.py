"""An urgent study, from what its sender says on the wire to the turn of its job."""

from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, build_context

from node.jobs import Desk, Queue, Step, Worker
from node.received import Received
from node.runs import Runs
from tests.builders import mr_image
from tests.receiving import Node, listening
from tests.waiting import wait_for

MEDIUM, HIGH, LOW = 0, 1, 2  # of C-STORE-RQ Priority (0000,0700)


def send(port: int, study: str, *priorities: int, **attributes: Any) -> str:
    """Send images of a study, each with its Priority; return the study's UID."""
    wanted = [build_context(MRImageStorage, ExplicitVRLittleEndian)]
    association = AE(ae_title="SCANNER").associate("127.0.0.1", port, wanted, ae_title="LUMBAR")
    assert association.is_established
    images = [mr_image(study, number=n, **attributes) for n, _ in enumerate(priorities, 1)]
    for image, priority in zip(images, priorities, strict=True):
        assert association.send_c_store(image, priority=priority).Status == 0x0000
    association.release()
    return str(images[0].StudyInstanceUID)


def urgent(node: Node, *studies: str) -> list[bool]:
    """Return what the rows of studies say, once they are there."""
    wait_for(lambda: all(node.index.study(uid) for uid in studies), what="the rows")
    return [row.urgent for uid in studies if (row := node.index.study(uid))]


@pytest.mark.parametrize("processes", [0, 1])
def test_a_study_is_urgent_when_one_image_was_sent_so(tmp_path: Path, processes: int) -> None:
    """Priority HIGH of any image; MEDIUM and LOW are routine. Also across an acceptor's line."""
    with listening(tmp_path, processes=processes) as node:
        high = send(node.port, "high", MEDIUM, HIGH, MEDIUM)
        wait_for(lambda: urgent(node, high) == [True], what="the urgent row")
        others = [send(node.port, "medium", MEDIUM, MEDIUM), send(node.port, "low", LOW)]

        assert urgent(node, *others, high) == [False, False, True]


def test_an_urgent_study_has_its_turn_before_those_that_came_earlier(tmp_path: Path) -> None:
    """Sent with Priority HIGH, or requested as STAT: before routine, whoever waits longer."""
    seen: list[str] = []

    def story(_step: Step, _job_id: str, study_uid: str, _hashes: list[str]) -> None:
        seen.append(study_uid)

    url = f"sqlite:///{tmp_path}/index.sqlite"
    with listening(tmp_path) as node:
        routine = [send(node.port, name, MEDIUM) for name in ("one", "two")]
        sent = send(node.port, "sent", HIGH)
        asked = send(node.port, "asked", MEDIUM, RequestedProcedurePriority="STAT")
        wait_for(lambda: urgent(node, sent) == [True], what="the urgent row")
        desk = Desk(url)
        runs = Runs(node.index, desk, Received(node.archive.path))
        for study_uid in (*routine, sent, asked):
            runs.enqueue(study_uid, ["complete"])
        worker = Worker(url, (Queue("study", story, 1),))
        worker.start()
        try:
            wait_for(lambda: len(seen) == 4, what="the studies")
        finally:
            worker.stop(patience_s=1)
            desk.close()

    assert seen == [sent, asked, *routine]
