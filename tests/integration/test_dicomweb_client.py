"""Studies out of a real DICOMweb archive and results into it, and what odd archives say."""

import json
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage

from node.config import DicomwebPeer
from node.dicom import dicomweb, statuses
from node.dicom.dicomweb import stow
from node.dicom.sent import Ladder
from node.errors import (
    DeliveryRefused,
    DestinationUnavailable,
    LumbarError,
    Misconfigured,
    NotAssessable,
    RetryLater,
)
from node.loopback import free_port
from tests import builders
from tests.dicomweb_parts import BOUNDARY, MULTIPART, message
from tests.orthanc_server import DICOMWEB_PLUGIN, OrthancServer


class File:
    """A part that is kept in memory."""

    def __init__(self, into: list[bytes]) -> None:
        self._into = into
        self._bytes = b""

    def write(self, chunk: bytes) -> None:
        self._bytes += chunk

    def end(self) -> None:
        self._into.append(self._bytes)

    def drop(self) -> None:
        self._bytes = b""


@pytest.fixture(scope="module")
def running_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """One Orthanc with its DICOMweb plugin for all tests here."""
    folder = tmp_path_factory.mktemp("orthanc")
    with OrthancServer(folder, plugins=[DICOMWEB_PLUGIN]) as server:
        yield server


@pytest.fixture
def peer(orthanc: OrthancServer) -> DicomwebPeer:
    return DicomwebPeer(name="pacs", url=f"{orthanc.url}/dicom-web")


def pull(peer: DicomwebPeer, study_uid: str, held: Sequence[str] = ()) -> list[bytes]:
    taken: list[bytes] = []
    count = dicomweb.pull(peer, study_uid, lambda: File(taken), held)
    assert count == len(taken)
    return taken


def uids(files: Sequence[bytes], folder: Path) -> set[str]:
    found = set()
    for number, part10 in enumerate(files):
        path = folder / f"{number}.dcm"
        path.write_bytes(part10)
        found.add(str(dcmread(path).SOPInstanceUID))
    return found


def test_the_mr_series_of_a_study_are_retrieved_as_they_are_stored(
    orthanc: OrthancServer, peer: DicomwebPeer
) -> None:
    """CT images and captures stay where they are; what comes is what was stored, byte for byte."""
    images = [builders.part10(image) for image in builders.mr_study(slices=2)]
    for part10 in [
        *images,
        builders.part10(builders.ct_image()),
        builders.part10(builders.capture()),
    ]:
        orthanc.upload(part10)

    assert sorted(pull(peer, builders.uid("study", "1"))) == sorted(images)
    assert dicomweb.search(peer, {"ModalitiesInStudy": "MR"}, 5) == [builders.uid("study", "1")]


def test_a_retrieval_goes_on_with_what_is_missing(
    orthanc: OrthancServer, peer: DicomwebPeer, tmp_path: Path
) -> None:
    """What an earlier try brought is not asked for again."""
    images = list(builders.mr_study(slices=2))
    for image in images:
        orthanc.upload(builders.part10(image))
    held = [image.SOPInstanceUID for image in images[:3]]

    came = uids(pull(peer, images[0].StudyInstanceUID, held), tmp_path)

    assert came == {image.SOPInstanceUID for image in images[3:]}


def test_a_study_that_is_not_there_or_holds_no_mr_is_not_assessable(
    orthanc: OrthancServer, peer: DicomwebPeer
) -> None:
    """Both are final: trying again changes nothing."""
    orthanc.upload(builders.part10(builders.ct_image()))
    for uid in (builders.uid("study", "1"), "1.2.3"):
        with pytest.raises(NotAssessable, match="no MR series"):
            pull(peer, uid)


def test_results_are_stored_once_however_often_they_are_pushed(
    orthanc: OrthancServer, peer: DicomwebPeer, tmp_path: Path
) -> None:
    """A second push sees by QIDO-RS that all of them are there."""
    files = builders.write_all([builders.capture(), builders.ct_image()], tmp_path)

    for _ in range(2):
        sent = stow.push(peer, files)
        assert [one.status for one in sent] == [statuses.SUCCESS] * 2
    assert set(orthanc.files()) == {dcmread(path).SOPInstanceUID for path in files}
    dicomweb.ping(peer)


Answer = Callable[[str, bytes], tuple[int, bytes]]


@pytest.fixture
def archive() -> Iterator[Callable[[Answer], DicomwebPeer]]:
    """Start archives that answer as a function says; return them as peers."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> DicomwebPeer:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                body = b""
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self._answer(body)

            def _answer(self, body: bytes) -> None:
                status, told = answer(f"{self.command} {self.path}", body)
                kind = "application/dicom+json"
                if told.lstrip().startswith(f"--{BOUNDARY}".encode()):
                    kind = MULTIPART["Content-Type"]
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        return DicomwebPeer(name="odd", url=f"http://127.0.0.1:{server.server_port}/dicom-web")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Picky:
    """An archive that stores what it wants to, and remembers."""

    def __init__(self, verdict: Callable[[Dataset], int]) -> None:
        self.verdict = verdict
        self.stored: dict[str, str] = {}
        self.offered: list[str] = []

    def __call__(self, request: str, body: bytes) -> tuple[int, bytes]:
        if request.startswith("GET"):
            told = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in self.stored]
            return 200, json.dumps(told).encode()
        answer = Dataset()
        answer.ReferencedSOPSequence, answer.FailedSOPSequence = [], []
        marker = body.split(b"\r\n")[1]
        for part in body.split(marker)[1:-1]:
            image = _read(part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
            self.offered.append(image.SOPInstanceUID)
            item = Dataset()
            item.ReferencedSOPInstanceUID = image.SOPInstanceUID
            item.ReferencedSOPClassUID = image.SOPClassUID
            status = self.verdict(image)
            if status:
                item.FailureReason = status
                answer.FailedSOPSequence.append(item)
            else:
                self.stored[image.SOPInstanceUID] = image.SOPClassUID
                answer.ReferencedSOPSequence.append(item)
        is_any = bool(answer.ReferencedSOPSequence)
        code = 200 if not answer.FailedSOPSequence else 202 if is_any else 409
        return code, json.dumps(answer.to_json_dict()).encode()


def _read(part10: bytes) -> Dataset:
    from io import BytesIO

    return dcmread(BytesIO(part10))


def captures(folder: Path, count: int) -> list[Path]:
    images = []
    for number in range(count):
        image = builders.capture()
        image.SOPInstanceUID = builders.uid("capture", number)
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        images.append(image)
    return builders.write_all(images, folder)


def test_after_a_partial_failure_only_the_failed_instances_are_sent_again(
    archive: Callable[[Answer], DicomwebPeer], tmp_path: Path
) -> None:
    """202 with some out of resources: those are for later, and later they alone are offered."""
    late = builders.uid("capture", 1)
    picky = Picky(lambda image: 0xA700 if image.SOPInstanceUID == late else 0)
    peer, files = archive(picky), captures(tmp_path, 3)

    with pytest.raises(DestinationUnavailable, match="1 of 3 objects now"):
        stow.push(peer, files)
    assert len(picky.stored) == 2
    picky.verdict, picky.offered = (lambda _: 0), []
    stow.push(peer, files)

    assert picky.offered == [late]
    assert len(picky.stored) == 3


def test_an_instance_that_is_refused_for_good_is_named_with_its_reason(
    archive: Callable[[Answer], DicomwebPeer], tmp_path: Path
) -> None:
    """The others are stored, and nothing is tried again."""
    bad = builders.uid("capture", 2)
    picky = Picky(lambda image: 0xC000 if image.SOPInstanceUID == bad else 0)

    with pytest.raises(DeliveryRefused, match=rf"refused 1 of 3 .*{bad}: .*cannot understand"):
        stow.push(archive(picky), captures(tmp_path, 3))
    assert len(picky.stored) == 2


def test_a_report_of_an_unknown_class_is_stored_as_the_next_one(
    archive: Callable[[Answer], DicomwebPeer], tmp_path: Path
) -> None:
    """409 with 0122 (class not supported) leads down the ladder; what is on none is left out."""
    report = builders.capture()
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = Comprehensive3DSRStorage
    files = builders.write_all([report], tmp_path)
    picky = Picky(lambda image: 0 if image.SOPClassUID == ComprehensiveSRStorage else 0x0122)

    def lower(image: Dataset, sop_class: str) -> Dataset:
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = sop_class
        return image

    ladder = Ladder((Comprehensive3DSRStorage, ComprehensiveSRStorage), lower)
    peer = archive(picky)

    (sent,) = stow.push(peer, files, ladder)
    assert (sent.is_stored, sent.sent_as) == (True, ComprehensiveSRStorage)
    (sent,) = stow.push(peer, captures(tmp_path / "other", 1), ladder)
    assert (sent.is_stored, sent.is_unknown) == (False, True)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (400, DeliveryRefused, "does not take this request"),
        (401, DestinationUnavailable, "does not let this node in"),
        (403, DestinationUnavailable, "does not let this node in"),
        (404, DestinationUnavailable, "check the address"),
        (409, DeliveryRefused, "does not take this request"),
        (413, DeliveryRefused, "does not take this request"),
        (415, DeliveryRefused, "does not take this request"),
        (429, DestinationUnavailable, "tried again"),
        (500, DestinationUnavailable, "tried again"),
        (503, DestinationUnavailable, "tried again"),
    ],
)
def test_what_an_http_status_means(
    archive: Callable[[Answer], DicomwebPeer],
    tmp_path: Path,
    status: int,
    kind: type[LumbarError],
    words: str,
) -> None:
    """What would be the same next time is refused; everything else is tried again."""

    def answer(request: str, _: bytes) -> tuple[int, bytes]:
        return (200, b"[]") if request.startswith("GET") else (status, b"")

    with pytest.raises(kind, match=words):
        stow.push(archive(answer), captures(tmp_path, 1))


def test_a_batch_that_is_too_large_goes_one_by_one(
    archive: Callable[[Answer], DicomwebPeer], tmp_path: Path
) -> None:
    """A proxy's limit on the size of a request does not stop small objects."""
    picky = Picky(lambda _: 0)

    def answer(request: str, body: bytes) -> tuple[int, bytes]:
        return (413, b"") if len(body) > 20_000 else picky(request, body)

    stow.push(archive(answer), captures(tmp_path, 4))

    assert len(picky.stored) == 4


@pytest.mark.parametrize("told", [b"<html>log in</html>", b'{"error": 1}', b'["x"]'])
def test_what_does_not_speak_dicomweb_is_told_so(
    archive: Callable[[Answer], DicomwebPeer], told: bytes
) -> None:
    """A proxy's login page is no answer and ends nothing for good."""
    with pytest.raises(DestinationUnavailable, match="does not answer as DICOMweb does"):
        dicomweb.pull(archive(lambda *_: (200, told)), "1.2.3", lambda: File([]))


def test_a_retrieval_that_is_cut_off_or_short_is_tried_again(
    archive: Callable[[Answer], DicomwebPeer],
) -> None:
    """Without the closing boundary, or with fewer files than the archive says it has."""
    images = [builders.part10(i) for i in builders.mr_study(slices=1)]
    told: dict[str, Any] = {
        "00080060": {"vr": "CS", "Value": ["MR"]},
        "0020000E": {"Value": ["1.2"]},
    }
    both = [{"00080018": {"Value": [f"1.2.{n}"]}} for n in range(3)]
    whole = b"".join(message(images))
    taken: list[bytes] = []

    def answer(body: bytes) -> Answer:
        def say(request: str, _: bytes) -> tuple[int, bytes]:
            if "/instances" in request:
                return 200, json.dumps(both).encode()
            return (200, json.dumps([told]).encode()) if "/series?" in request else (200, body)

        return say

    with pytest.raises(RetryLater, match="does not answer as DICOMweb does"):
        dicomweb.pull(archive(answer(whole[: len(whole) // 2])), "1.2", lambda: File(taken))
    assert len(taken) == 1
    short = b"".join(message(images[:2]))
    with pytest.raises(RetryLater, match="changed while it was read"):
        dicomweb.pull(archive(answer(short)), "1.2", lambda: File(taken))


def test_nobody_there_and_no_secret_are_told_apart(tmp_path: Path) -> None:
    """The one is waited for, the other is a person's to mend."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(DestinationUnavailable, match="does not answer"):
        dicomweb.ping(DicomwebPeer(name="gone", url=url))
    with pytest.raises(Misconfigured, match="cannot read"):
        dicomweb.ping(DicomwebPeer(name="gone", url=url, token_file=tmp_path / "token"))
