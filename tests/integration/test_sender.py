"""The sender against a receiving PACS, a real Orthanc, and peers that say no."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification

from node.config import Destination
from node.dicom.receiver import Receiver
from node.dicom.sender import associated, echo, send
from node.errors import DeliveryRefused, DestinationUnavailable, InvalidInstance
from node.loopback import free_port
from tests.builders import capture, ct_image, mr_image, mr_study, part10, write_all
from tests.orthanc_server import OrthancServer
from tests.receiving import dataset
from tests.waiting import wait_for

EXPLICIT, IMPLICIT = str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)


def destination(port: int, ae_title: str = "PACS", timeout_s: float = 30.0) -> Destination:
    return Destination(
        name="pacs", host="127.0.0.1", port=port, ae_title=ae_title, timeout_s=timeout_s
    )


@contextmanager
def peer(
    answer: Callable[[Any], int],
    syntaxes: tuple[str, ...] = (EXPLICIT,),
    classes: tuple[str, ...] = (str(MRImageStorage),),
    **settings: Any,
) -> Iterator[int]:
    """Run a storage SCP that answers as it is told; yield its port."""
    ae = AE(ae_title="PACS")
    for sop_class in classes:
        ae.add_supported_context(sop_class, list(syntaxes))
    for name, value in settings.items():
        setattr(ae, name, value)
    handlers = [(evt.EVT_C_STORE, answer)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield server.server_address[1]
    finally:
        ae.shutdown()


def no_association_is_open() -> bool:
    return not [t for t in threading.enumerate() if "RequestorThread" in t.name]


def test_files_arrive_as_they_are_and_in_order(tmp_path: Path) -> None:
    """Every data set arrives byte for byte, in the order given, with a status each."""
    paths = write_all(list(mr_study(slices=3)), tmp_path / "out")
    arrived: list[bytes] = []
    progress: list[tuple[int, int]] = []

    def keep(event: Any) -> int:
        arrived.append(event.encoded_dataset(include_meta=False))
        return 0

    with peer(keep) as port:
        report = send(paths, destination(port), "NODE", lambda *step: progress.append(step))
    assert arrived == [dataset(path.read_bytes()) for path in paths]
    assert [one.status for one in report.sent] == [0] * 9
    assert report.stored == 9
    assert progress == [(n, 9) for n in range(1, 10)]
    wait_for(no_association_is_open, what="the association to end")


def test_datasets_of_several_classes_arrive(receiver: Receiver) -> None:
    """Objects in memory of different classes go over one association."""
    images = [mr_image(), capture(), ct_image()]
    report = send(images, destination(receiver.port, receiver.ae_title), "NODE")
    assert report.stored == 3
    names = {path.stem for path in receiver.files()}
    assert names == {str(image.SOPInstanceUID) for image in images}


def test_compressed_files_stay_compressed(tmp_path: Path, receiver: Receiver) -> None:
    """A compressed file is proposed in its own syntax, beside uncompressed ones."""
    packed = mr_image(number=1)
    packed.file_meta.TransferSyntaxUID = JPEG2000Lossless
    packed.PixelData = encapsulate([b"\xff\x4f" * 100])
    paths = write_all([packed, mr_image(number=2)], tmp_path / "out")
    report = send(paths, destination(receiver.port, receiver.ae_title), "NODE")
    assert report.stored == 2
    received = {path.stem: path.read_bytes() for path in receiver.files()}
    sent = paths[0].read_bytes()
    assert dataset(received[packed.SOPInstanceUID]) == dataset(sent)


def test_an_uncompressed_file_is_converted_when_it_has_to_be(tmp_path: Path) -> None:
    """A destination that takes implicit VR only gets implicit VR, with the same pixels."""
    paths = write_all([mr_image()], tmp_path / "out")
    arrived: list[Dataset] = []

    def keep(event: Any) -> int:
        arrived.append(event.dataset)
        return 0

    with peer(keep, (IMPLICIT,)) as port:
        assert send(paths, destination(port), "NODE").stored == 1
    assert arrived[0].PixelData == mr_image().PixelData
    assert arrived[0].SOPInstanceUID == mr_image().SOPInstanceUID


def test_an_object_nobody_takes_is_refused_and_the_others_go(tmp_path: Path) -> None:
    """A class the destination does not know is named; everything else has arrived."""
    arrived: list[str] = []

    def keep(event: Any) -> int:
        arrived.append(event.request.AffectedSOPInstanceUID)
        return 0

    images = [mr_image(number=1), capture(), mr_image(number=2)]
    paths = write_all(images, tmp_path / "out")
    with peer(keep) as port, pytest.raises(DeliveryRefused) as caught:
        send(paths, destination(port), "NODE")
    assert arrived == [images[0].SOPInstanceUID, images[2].SOPInstanceUID]
    assert "pacs refused 1 of 3 objects" in str(caught.value)
    assert str(images[1].SOPInstanceUID) in str(caught.value)
    assert "not accepted" in str(caught.value)


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB006, 0xB007, 0x0107])
def test_success_and_warnings_count_as_delivered(status: int) -> None:
    """A warning means that the object is stored."""
    with peer(lambda _: status) as port:
        report = send([mr_image()], destination(port), "NODE")
    assert report.stored == 1
    assert report.sent[0].status == status


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0xA900, "0xA900, data set does not match SOP class"),
        (0xC000, "0xC000, cannot understand"),
        (0xC123, "0xC123, cannot understand"),
        (0xA901, "0xA901, data set does not match SOP class"),
        (0xCFFF, "0xCFFF, cannot understand"),
        (0x0122, "0x0122, SOP class not supported"),
        (0x0124, "0x0124, not authorised"),
        (0x0110, "0x0110, processing failure"),
    ],
)
def test_a_refusal_names_its_status(status: int, words: str) -> None:
    """A failure is a `DeliveryRefused` with the status and its meaning."""
    with peer(lambda _: status) as port, pytest.raises(DeliveryRefused, match=words):
        send([mr_image()], destination(port), "NODE")


@pytest.mark.parametrize("status", [0xA700, 0xA701, 0xA7FF])
def test_out_of_resources_is_for_later(status: int) -> None:
    """A7xx stops at once: the same objects may be taken later."""
    asked = []

    def answer(_: Any) -> int:
        asked.append(1)
        return status

    with peer(answer) as port, pytest.raises(DestinationUnavailable, match="out of resources"):
        send([mr_image(number=n) for n in range(3)], destination(port), "NODE")
    assert asked == [1]
    wait_for(no_association_is_open, what="the association to end")


def test_too_little_of_something_is_for_later() -> None:
    """The general status of a resource limitation (PS3.7 annex C) means the same as A7xx."""
    with (
        peer(lambda _: 0x0213) as port,
        pytest.raises(DestinationUnavailable, match="0x0213, resource limitation"),
    ):
        send([mr_image()], destination(port), "NODE")


def test_a_dead_destination_is_unavailable() -> None:
    """Nobody listens: the message names the place and what to look at."""
    port = free_port()
    for attempt in (
        lambda: echo(destination(port), "NODE"),
        lambda: send([mr_image()], destination(port), "NODE"),
    ):
        with pytest.raises(DestinationUnavailable, match=f"127.0.0.1:{port}.*is it running"):
            attempt()


def test_a_silent_destination_is_unavailable() -> None:
    """A port that accepts connections and says nothing does not hold the sender for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = destination(server.getsockname()[1], timeout_s=1.0)
        with pytest.raises(DestinationUnavailable):
            send([mr_image()], there, "NODE")


def test_a_rejected_association_says_why() -> None:
    """A destination that does not know our name is unavailable, with its reason."""
    with (
        peer(lambda _: 0, require_calling_aet=["SOMEONE"]) as port,
        pytest.raises(DestinationUnavailable, match="calling ae title not recognised"),
    ):
        send([mr_image()], destination(port), "NODE")


def test_an_abort_half_way_is_for_later() -> None:
    """A destination that aborts is unavailable."""

    def abort(event: Any) -> int:
        event.assoc.abort()
        return 0

    with peer(abort) as port, pytest.raises(DestinationUnavailable, match="broke off"):
        send([mr_image()], destination(port), "NODE")
    wait_for(no_association_is_open, what="the association to end")


def test_a_slow_answer_is_for_later() -> None:
    """No answer within the timeout ends the association."""
    go_on = threading.Event()

    def sleep(_: Any) -> int:
        go_on.wait(20)
        return 0

    with peer(sleep) as port:
        try:
            with pytest.raises(DestinationUnavailable, match="within 1 s"):
                send([mr_image()], destination(port, timeout_s=1.0), "NODE")
        finally:
            go_on.set()


def test_more_than_128_contexts_take_more_associations() -> None:
    """70 classes in two syntaxes each are sent, in order, over two associations."""
    classes = [str(c.abstract_syntax) for c in AllStoragePresentationContexts[:70]]
    images = []
    for number, sop_class in enumerate(classes):
        image = mr_image(number=number)
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = sop_class
        images.append(image)
    arrived: list[tuple[Any, str]] = []

    def keep(event: Any) -> int:
        arrived.append((event.assoc, event.request.AffectedSOPInstanceUID))
        return 0

    with peer(keep, (EXPLICIT, IMPLICIT), tuple(classes)) as port:
        assert send(images, destination(port), "NODE").stored == 70
    assert [name for _, name in arrived] == [image.SOPInstanceUID for image in images]
    assert len({association for association, _ in arrived}) == 2


def test_a_file_that_is_no_dicom_stops_before_anything_is_sent(tmp_path: Path) -> None:
    """A broken file among others is named, and nothing was sent."""
    paths = write_all([mr_image()], tmp_path / "out")
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no")
    with pytest.raises(InvalidInstance, match=r"broken\.dcm"):
        send([*paths, broken], destination(free_port()), "NODE")


def test_an_echo_is_answered(receiver: Receiver) -> None:
    """C-ECHO returns when the destination is there."""
    echo(destination(receiver.port, receiver.ae_title), "NODE")


def test_a_destination_without_echo_says_so() -> None:
    """A peer that takes associations and no C-ECHO is told apart."""
    with peer(lambda _: 0) as port, pytest.raises(DestinationUnavailable, match="pacs"):
        echo(destination(port), "NODE")


def test_orthanc_has_what_was_sent(tmp_path: Path, orthanc: OrthancServer) -> None:
    """A real Orthanc gives back by REST every data set that was sent, byte for byte."""
    images = [*mr_study(slices=3), capture()]
    packed = mr_image("packed")
    packed.compress(RLELossless)
    paths = write_all([*images, packed], tmp_path / "out")
    there = destination(orthanc.dicom_port, orthanc.ae_title)
    echo(there, "NODE")
    assert send(paths, there, "NODE").stored == 11
    back = {uid: dataset(data) for uid, data in orthanc.files().items()}
    sent = {str(i.SOPInstanceUID): dataset(part10(i)) for i in [*images, packed]}
    assert back == sent


class SlowToWakeUp(Association):  # type: ignore[misc]  # it has no types
    """An association whose reactor, on a busy machine, is held up as its pause ends."""

    _paused = True

    @property
    def _is_paused(self) -> bool:
        return self._paused

    @_is_paused.setter
    def _is_paused(self, value: bool) -> None:
        if not value:
            time.sleep(0.05)
        self._paused = value


def test_an_answer_is_not_lost_to_the_association_s_own_reactor(receiver: Receiver) -> None:
    """An answer that pynetdicom's reactor takes is dropped: it must not get that far."""

    def hold_up(event: Any) -> None:
        event.assoc.__class__ = SlowToWakeUp
        get_msg = event.assoc.dimse.get_msg

        def come_late(block: bool = False) -> Any:
            if block:
                time.sleep(0.1)  # the answer is there before anybody waits for it
            return get_msg(block)

        event.assoc.dimse.get_msg = come_late

    place = destination(receiver.port, timeout_s=3)
    held_up = [(evt.EVT_CONN_OPEN, hold_up)]
    with associated(place, "NODE", [build_context(Verification)], handlers=held_up) as association:
        answers = [association.send_c_echo() for _ in range(5)]

    assert [answer.get("Status") for answer in answers] == [0] * 5


def test_a_report_that_is_served_meanwhile_does_not_hold_up_the_sender(receiver: Receiver) -> None:
    """The thread that serves it says that the reactor runs, which waits; nobody waits for that."""
    place = destination(receiver.port, timeout_s=3)
    with associated(place, "NODE", [build_context(Verification)]) as association:
        association._reactor_checkpoint.clear()
        wait_for(lambda: association._is_paused)
        association._is_paused = False  # as pynetdicom does behind an N-EVENT-REPORT

        assert association.send_c_echo().Status == 0
