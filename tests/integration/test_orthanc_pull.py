"""Fetching from a real Orthanc: only what is needed, and nothing twice."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import requests
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.uid import generate_uid

from node.config import OrthancPeer
from node.dicom import orthanc as client
from node.dicom.orthanc.headers import dataset
from node.dicom.reading import reader
from node.errors import DestinationUnavailable, NotAssessable
from node.phantom import PhantomStudy
from node.spine.series import choose
from tests import builders
from tests.orthanc_server import OrthancServer, WatchedOrthanc


@pytest.fixture(scope="module")
def running_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedOrthanc]:
    """One that writes down what it is asked, for all tests here."""
    with WatchedOrthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


def uid_of(part10: bytes) -> str:
    return str(dcmread(DicomBytesIO(part10), stop_before_pixels=True).SOPInstanceUID)


def series_of(part10: bytes) -> str:
    return str(dcmread(DicomBytesIO(part10), stop_before_pixels=True).SeriesInstanceUID)


def store(orthanc: OrthancServer, paths: Sequence[Path]) -> str:
    return [orthanc.upload(path.read_bytes()) for path in paths][-1]


def repeated(paths: Sequence[Path], folder: Path) -> list[Path]:
    """A fourth series: a repeat that was broken off after a few slices."""
    series, written = generate_uid(), []
    for path in paths:
        image = dcmread(path)
        image.SeriesInstanceUID, image.SOPInstanceUID = series, generate_uid()
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        written.append(folder / f"{image.SOPInstanceUID}.dcm")
        image.save_as(written[-1])
    return written


def test_only_the_chosen_series_are_fetched_and_headers_choose_them(
    orthanc: WatchedOrthanc, phantom: PhantomStudy, phantom_folder: Path, tmp_path: Path
) -> None:
    """The choice is that of the analysis, and no other image leaves Orthanc."""
    paths = sorted(phantom_folder.rglob("*.dcm"))
    study = store(orthanc, paths + repeated(paths[:3], tmp_path))
    headers = [(p, reader.read_header(p)) for p in paths]
    chosen = {c.series_uid for c in choose(reader.facts(headers)).chosen.values()}
    assert len(chosen) == len(orthanc.get(f"/studies/{study}")["Series"]) - 1
    taken: list[bytes] = []

    peer = OrthancPeer(name="pacs", url=orthanc.url, pull="series")
    fetched = client.pull(peer, study, taken.append)

    assert {series_of(part10) for part10 in taken} == chosen
    assert fetched == client.Fetched(phantom.study_uid, len(paths), len(paths))
    assert len(orthanc.fetched) == len(paths)


def test_headers_by_rest_say_what_the_files_say(orthanc: WatchedOrthanc, shared_data: Path) -> None:
    """A real study, read through Orthanc's JSON and from its files, gives the same facts."""
    folder = shared_data / "real-study"
    paths = sorted(p for p in folder.rglob("*") if p.suffix in {".dcm", ".ima", ""} and p.is_file())
    study, by_rest = store(orthanc, paths), []
    for series in orthanc.get(f"/studies/{study}")["Series"]:
        tags = orthanc.get(f"/series/{series}/instances-tags")
        by_rest += [(Path(name), dataset(found)) for name, found in tags.items()]

    by_files = reader.facts((p, reader.read_header(p)) for p in paths)
    assert repr(reader.facts(by_rest)) == repr(by_files)  # a plane's arrays know no plain ==


def test_a_study_that_is_no_lumbar_spine_sends_no_image(orthanc: WatchedOrthanc) -> None:
    """Three MR images without usable geometry: refused by their headers, with the reason."""
    for number in (1, 2, 3):
        image = builders.mr_image(number=number)
        del image.ImageOrientationPatient
        study = orthanc.upload(builders.part10(image))

    peer = OrthancPeer(name="pacs", url=orthanc.url, pull="series")
    with pytest.raises(NotAssessable, match="no usable series"):
        client.pull(peer, study, lambda _: None)

    assert orthanc.fetched == []


def test_a_pull_that_orthanc_cut_off_goes_on_where_it_was(orthanc: WatchedOrthanc) -> None:
    """Orthanc is killed in the middle and started again: no image is fetched twice."""
    for image in builders.mr_study(slices=4):
        study = orthanc.upload(builders.part10(image))
    peer = OrthancPeer(name="pacs", url=orthanc.url)
    held: dict[str, bytes] = {}

    def take(part10: bytes) -> None:
        held[uid_of(part10)] = part10
        if len(held) == 5:
            orthanc.kill()

    with pytest.raises(DestinationUnavailable, match="does not answer"):
        client.pull(peer, study, take, lambda _: held)
    assert len(held) == 5
    orthanc.start()

    fetched = client.pull(peer, study, take, lambda _: held)

    assert (fetched.images, fetched.new) == (12, 7)
    assert sorted(held.values()) == sorted(orthanc.files().values())
    before_the_test_looked = orthanc.fetched[:12]
    assert len(set(before_the_test_looked)) == 12


def test_results_by_c_store_are_looked_up_by_rest(orthanc: WatchedOrthanc, tmp_path: Path) -> None:
    """They go to the port and title that Orthanc names itself, by none of its uploads."""
    result = tmp_path / "capture.dcm"
    result.write_bytes(builders.part10(builders.capture()))
    peer = OrthancPeer(name="pacs", url=orthanc.url, push="dicom")

    assert client.push(peer, [result]) == 1
    assert client.push(peer, [result]) == 1

    assert list(orthanc.files()) == [uid_of(result.read_bytes())]
    assert "POST /instances" not in orthanc.asked


def test_success_without_the_object_is_no_delivery(tmp_path: Path) -> None:
    """A filter of the site throws the result away; C-STORE says Success all the same."""
    lua = tmp_path / "filter.lua"
    lua.write_text("function ReceivedInstanceFilter(dicom, origin) return false end")
    result = tmp_path / "capture.dcm"
    result.write_bytes(builders.part10(builders.capture()))
    with OrthancServer(tmp_path / "orthanc", lua_scripts=[lua]) as strict:
        peer = OrthancPeer(name="strict", url=strict.url, push="dicom")

        with pytest.raises(DestinationUnavailable, match=r"took capture\.dcm but does not have it"):
            client.push(peer, [result])
        assert requests.get(f"{strict.url}/instances", timeout=10).json() == []
