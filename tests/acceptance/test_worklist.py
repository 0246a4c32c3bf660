"""A workflow manager asks for an analysis; the node performs it and reports (IHE AIW-I)."""

from io import BytesIO
from pathlib import Path

from pydicom import dcmread

from node.phantom import PhantomStudy
from tests.node_process import NodeProcess
from tests.orthanc_server import DICOMWEB_PLUGIN, OrthancServer
from tests.ups_manager import Manager, workitem
from tests.waiting import wait_for

MINE, OTHER, EMPTY, AGAIN = "1.2.1001", "1.2.1002", "1.2.1003", "1.2.1004"


def test_an_item_is_performed_over_the_node_s_death_and_the_manager_s_absence(
    tmp_path: Path, phantom: PhantomStudy, phantom_folder: Path
) -> None:
    """Claimed, retrieved, analysed, completed with its output; what cannot be done is cancelled."""
    uid = phantom.study_uid
    orthanc = OrthancServer(tmp_path / "orthanc", plugins=[DICOMWEB_PLUGIN])
    with orthanc, Manager() as manager:
        archive = f"{orthanc.url}/dicom-web"
        extra = (
            f'[[dicomweb]]\nname = "pacs"\nurl = "{archive}"\n'
            f'[[worklist]]\nname = "manager"\nurl = "{manager.url}"\npoll_s = 1.0\n'
            'source = "pacs"\ncodes = ["LUMBAR^99SITE"]\n'
        )
        for path in sorted(phantom_folder.rglob("*.dcm")):
            orthanc.upload(path.read_bytes())
        manager.schedule(workitem(MINE, uid, retrieve_url=f"{archive}/studies/{uid}"))
        manager.schedule(workitem(OTHER, uid, code="KNEE"))
        manager.schedule(workitem(EMPTY, "1.2.3.4"))
        with NodeProcess(tmp_path / "node", extra=extra, quiet_s=600, incomplete_s=600) as node:
            wait_for(lambda: manager.state(MINE) == "IN PROGRESS", seconds=30)
            node.kill()
            node.start()
            node.wait_until(uid, "running", "delivering", "done", seconds=60)
            manager.is_away = True
            node.wait_until(uid, "done", seconds=120)
            manager.is_away = False
            wait_for(lambda: manager.state(MINE) == "COMPLETED", seconds=60)
            wait_for(lambda: manager.state(EMPTY) == "CANCELED", seconds=60)
            manager.schedule(workitem(AGAIN, uid))
            wait_for(lambda: manager.state(AGAIN) == "COMPLETED", seconds=60)

        assert manager.state(OTHER) == "SCHEDULED"
        changes = [what for item, what in manager.history if item == MINE and what != "update"]
        assert changes == ["IN PROGRESS", "COMPLETED"]
        (why,) = manager.item(EMPTY).ProcedureStepProgressInformationSequence
        assert "no MR series of study 1.2.3.4" in why.ReasonForCancellation
        (done,) = manager.item(MINE).UnifiedProcedureStepPerformedProcedureSequence
        assert done.PerformedWorkitemCodeSequence[0].CodeValue == "LUMBAR"
        told = {
            (ref.ReferencedSOPClassUID, ref.ReferencedSOPInstanceUID)
            for output in done.OutputInformationSequence
            for ref in output.ReferencedSOPSequence
        }
        there = [dcmread(BytesIO(part10)) for part10 in orthanc.files().values()]
        assert told
        assert told <= {(d.SOPClassUID, d.SOPInstanceUID) for d in there}
        assert len(told) + len(list(phantom_folder.rglob("*.dcm"))) == len(there)
