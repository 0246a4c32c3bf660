"""A real node that asks a real PACS (Orthanc) whether a study is all there, by C-FIND."""

from pathlib import Path

from pydicom.dataset import FileDataset

from tests.builders import mr_image, part10, uid, write_all
from tests.node_process import NodeProcess, storescu
from tests.orthanc_server import OrthancServer
from tests.waiting import wait_for

STUDY = uid("study", "1")
#: What covers L1 to S1, 4 mm a slice.
COUNTS = {"sagittal_t1": 15, "sagittal_t2": 15, "axial_t2": 32}


def localizer(name: str) -> list[FileDataset]:
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return [mr_image(series=name, number=n, ImageType=kind) for n in (1, 2, 3)]


def test_a_study_starts_when_the_pacs_has_no_more_and_late_images_change_nothing(
    tmp_path: Path,
) -> None:
    """With a quiet time of ten minutes: what starts the run is the proof, and the PACS's count."""
    series = [mr_image(series=s, number=n) for s, c in COUNTS.items() for n in range(1, c + 1)]
    first, late = localizer("localizer"), localizer("late localizer")
    settings = {"DicomAlwaysAllowFind": True}
    with OrthancServer(tmp_path / "pacs", ae_title="PACS", settings=settings) as pacs:
        for image in [*series, *first]:
            pacs.upload(part10(image))
        rule = f'[[sources]]\nae_title = "*"\nask = "PACS@127.0.0.1:{pacs.dicom_port}"\n'
        with NodeProcess(tmp_path / "node", extra=rule, quiet_s=600, incomplete_s=900) as node:
            send(node, series, tmp_path / "series")
            wait_for(
                lambda: "3 more image(s), in 1 MR series" in why(node), seconds=60, what="the count"
            )
            assert node.study(STUDY)["state"] == "receiving"

            send(node, first, tmp_path / "first")
            told = node.wait_until(STUDY, "done", "rejected")
            assert told["started"][0] == "proven complete"
            assert told["started"][-1].endswith("holds no image that is not here")

            send(node, late, tmp_path / "late")
            wait_for(lambda: "change no chosen series" in why(node), seconds=60, what="the look")
            again = node.study(STUDY)
            assert (again["state"], again["job_id"]) == (told["state"], told["job_id"])
            assert again["instances"] == len(series) + 6


def send(node: NodeProcess, images: list[FileDataset], folder: Path) -> None:
    write_all(images, folder)
    storescu(node.dicom_port, folder)


def why(node: NodeProcess) -> str:
    return "; ".join(node.study(STUDY).get("reasons", []))
