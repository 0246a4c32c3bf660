"""A study that cannot be run answers all the same: a report that says why, in the same place."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, JPEG2000Lossless

from node.config import Config, Report
from node.inference.runtime import ModelStore
from node.phantom import PhantomStudy
from node.result_folder import ending
from node.results import read_report
from node.study import StudyStory
from tests.conformance.test_results import run, unexplained


def as_ct(image: Dataset) -> None:
    image.Modality = "CT"
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = CTImageStorage


def as_derived(image: Dataset) -> None:
    image.ImageType = ["DERIVED", "SECONDARY", "MPR"]


def without_pixels(image: Dataset) -> None:
    del image.PixelData


def with_rubbish_for_pixels(image: Dataset) -> None:
    image.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(200)])
    image.file_meta.TransferSyntaxUID = JPEG2000Lossless


def as_it_is(_: Dataset) -> None:
    pass


#: What is done to every image, what is cut off each file, the reason, and how the study ends.
REFUSALS: dict[str, tuple[Callable[[Dataset], None], int, str, str]] = {
    "not MR": (as_ct, 0, "only MR can be assessed", "rejected"),
    "no usable series": (as_derived, 0, "derived image", "rejected"),
    "no pixels": (without_pixels, 0, "no pixel data", "rejected"),
    "cut off": (as_it_is, 1000, "1000 bytes of the pixels are missing", "rejected"),
    "pixels not decodable": (with_rubbish_for_pixels, 0, "series can be decoded: ", "rejected"),
    "a fault of our own": (as_it_is, 0, "internal error (AttributeError)", "failed"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_whatever_stops_a_study_its_report_says_so(
    kind: str, phantom: PhantomStudy, tmp_path: Path
) -> None:
    """No error in any object; 25 findings not assessed, each with the reason; the state fits."""
    change, cut, reason, state = REFUSALS[kind]
    files = []
    for number, image in enumerate(phantom.datasets()):
        change(image)
        files.append(tmp_path / f"in{number}.dcm")
        image.save_as(files[-1], enforce_file_format=True)
        files[-1].write_bytes(files[-1].read_bytes()[: -cut or None])
    folder = tmp_path / "out"
    noted: list[str] = []
    story = StudyStory(
        # Without models every attempt to run one is a fault.
        store=cast("ModelStore", None) if state == "failed" else ModelStore(Config().models_dir),
        settings=Report(),
        files_of=lambda _: files,
        folder_of=lambda _: folder,
        earlier_of=lambda *_: [],
        note=lambda _uid, _job, state, _reasons: noted.append(state),
        deliver=lambda *_: noted.append(ending(folder)),
        again=lambda *_: None,
    )
    story(lambda _name, chapter, *told: chapter(*told), "job", phantom.study_uid, [])
    made = [*folder.glob("capture/*.dcm"), folder / "sr.dcm"]
    report = pydicom.dcmread(folder / "sr.dcm")
    found = read_report(report)

    assert noted == ["running", "delivering", state]
    assert (folder / "capture/01.dcm").is_file()
    assert unexplained(made) == []
    assert run("/usr/bin/dsrdump", folder / "sr.dcm").returncode == 0
    assert report.StudyInstanceUID == phantom.study_uid
    assert report.PatientID == "PHANTOM-7"
    assert report.CompletionFlag == "PARTIAL"
    assert len(found) == 25
    assert all(f.grade is None and reason in (f.reason or "") for f in found), found[0].reason
