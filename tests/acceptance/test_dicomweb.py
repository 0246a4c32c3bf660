"""Studies come and go by DICOMweb: stored on the node, or fetched from an archive by the node."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom import dcmread

from node.phantom import PhantomStudy
from tests import builders
from tests.dicomweb_parts import MULTIPART, first, message
from tests.node_process import NodeProcess
from tests.orthanc_server import DICOMWEB_PLUGIN, OrthancServer
from tests.waiting import wait_for

CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
REPORT = "1.2.840.10008.5.1.4.1.1.88.34"


def test_a_foreign_client_stores_a_study_and_reads_it_with_its_results(
    tmp_path: Path, phantom: PhantomStudy, phantom_folder: Path
) -> None:
    """dicomweb-client puts the study in, finds it, and gets images, report and pages out."""
    images = [dcmread(path) for path in sorted(phantom_folder.rglob("*.dcm"))]
    uid = phantom.study_uid
    with NodeProcess(tmp_path / "node") as node:
        client = DICOMwebClient(f"{node.url}/dicom-web")
        answer = client.store_instances(images)
        assert len(answer.ReferencedSOPSequence) == len(images)
        assert "FailedSOPSequence" not in answer
        node.wait_until(uid, "done", seconds=120)

        (study,) = client.search_for_studies(search_filters={"PatientID": images[0].PatientID})
        assert first(study, "0020000D") == uid
        assert {"MR", "SR", "OT", "PR"} == set(study["00080061"]["Value"])
        series = client.search_for_series(uid, search_filters={"Modality": "SR"})
        (report,) = client.retrieve_series(uid, first(series[0], "0020000E"))
        assert report.SOPClassUID == REPORT

        everything = {d.SOPInstanceUID: d for d in client.iter_study(uid)}
        assert len(everything) == first(study, "00201208")
        for image in images:
            assert everything[image.SOPInstanceUID].PixelData == image.PixelData

        image = images[0]
        place = (uid, image.SeriesInstanceUID, image.SOPInstanceUID)
        (frame,) = client.retrieve_instance_frames(*place, [1])
        assert frame == image.PixelData
        (told,) = client.search_for_instances(
            uid, search_filters={"SOPInstanceUID": image.SOPInstanceUID}
        )
        assert first(told, "00280010") == image.Rows
        told = client.retrieve_instance_metadata(*place)
        (pixels,) = client.retrieve_bulkdata(told["7FE00010"]["BulkDataURI"])
        assert pixels == image.PixelData
        capture = next(d for d in everything.values() if d.SOPClassUID == CAPTURES)
        place = (uid, capture.SeriesInstanceUID, capture.SOPInstanceUID)
        png = client.retrieve_instance_rendered(*place, media_types=("image/png",))
        assert png.startswith(b"\x89PNG")
        assert len(client.retrieve_study_metadata(uid)) == len(everything)
        assert str(image.PatientName) not in node.log
        assert image.PatientID not in node.log


def told(node: NodeProcess, uid: str, what: str) -> list[str]:
    """Return what is said of each delivery of a study; none is there until the outbox is filled."""
    return [delivery[what] for delivery in node.study(uid)["deliveries"]]


def test_a_study_of_an_archive_is_fetched_and_its_results_go_back_over_two_outages(
    tmp_path: Path, phantom: PhantomStudy, phantom_folder: Path
) -> None:
    """The archive is away when the results are ready, and the node dies while they wait."""
    uid = phantom.study_uid
    orthanc = OrthancServer(tmp_path / "orthanc", plugins=[DICOMWEB_PLUGIN])
    peer = f'[[dicomweb]]\nname = "pacs"\nurl = "{orthanc.url}/dicom-web"\n'
    with orthanc, NodeProcess(tmp_path / "node", extra=peer, quiet_s=600, incomplete_s=600) as node:
        files = sorted(phantom_folder.rglob("*.dcm"))
        for path in files:
            orthanc.upload(path.read_bytes())
        asked = requests.post(f"{node.url}/api/dicomweb/pacs/studies/{uid}", timeout=10)
        assert asked.status_code == 202
        node.wait_until(uid, "running", seconds=60)
        orthanc.stop()
        waiting = node.wait_until(uid, "delivering", seconds=120)
        assert waiting["source"] == "dicomweb:pacs"
        assert waiting["instances"] == len(files)
        wait_for(lambda: told(node, uid, "state") == ["waiting"], seconds=30)
        node.kill()
        orthanc.start()
        node.start()
        node.wait_until(uid, "done", seconds=60)
        wait_for(lambda: told(node, uid, "proof") == ["query"], seconds=30)

        classes = [dcmread(BytesIO(part10)).SOPClassUID for part10 in orthanc.files().values()]
        assert classes.count(REPORT) == 1
        assert CAPTURES in classes
        assert len(orthanc.get("/studies")) == 1
        unknown = requests.post(f"{node.url}/api/dicomweb/other/studies/{uid}", timeout=10)
        assert unknown.status_code == 404


def test_what_was_stored_before_the_node_died_is_there_after(tmp_path: Path) -> None:
    """A power cut in the middle of a message: the instances before it are durable."""
    images = [builders.part10(builders.mr_image(number=n, size=512)) for n in range(1, 8)]
    uid = builders.uid("study", "1")
    with NodeProcess(tmp_path / "node", quiet_s=600, incomplete_s=600) as node:

        def body() -> Iterator[bytes]:
            chunks = list(message(images))
            yield from chunks[:-4]
            wait_for(lambda: node.study(uid).get("instances", 0) >= 3, what="three instances")
            node.kill()
            yield from chunks[-4:]

        with pytest.raises(requests.ConnectionError):
            requests.post(
                f"{node.url}/dicom-web/studies", data=body(), headers=MULTIPART, timeout=60
            )
        node.start()
        before = node.study(uid)["instances"]
        assert 3 <= before < 7
        assert not list((tmp_path / "node" / "data" / "archive" / "incoming").iterdir())

        again = requests.post(
            f"{node.url}/dicom-web/studies", data=message(images), headers=MULTIPART, timeout=60
        )
        assert again.status_code == 200
        assert node.study(uid)["instances"] == 7
