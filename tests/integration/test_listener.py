"""The listener on a real socket, with a real archive and index behind it."""

import logging
import os
import signal
import socket
import threading
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import (
    MPEG2MPML,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import AE, build_context, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification

from node.dicom.reading.limits import check_file
from node.dicom.upper_layer.transport import as_requestor
from node.errors import Misconfigured
from tests.builders import (
    PATIENT_ID,
    PATIENT_NAME,
    capture,
    ct_image,
    mr_image,
    mr_study,
    part10,
    uid,
)
from tests.receiving import dataset, listening, listening_process, store_raw
from tests.waiting import wait_for

EXPLICIT = str(ExplicitVRLittleEndian)


def associate(port: int, *contexts: Any, calling: str = "SCANNER", called: str = "LUMBAR") -> Any:
    """Open an association; without contexts, for MR images in explicit VR."""
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.dimse_timeout = 20
    wanted = list(contexts) or [build_context(MRImageStorage, EXPLICIT)]
    handlers = [(evt.EVT_CONN_OPEN, as_requestor)]
    return ae.associate("127.0.0.1", port, contexts=wanted, ae_title=called, evt_handlers=handlers)


def send(port: int, *images: Dataset, syntax: str = EXPLICIT) -> list[int]:
    """Send images over one association and return the statuses."""
    classes = {str(image.SOPClassUID) for image in images}
    association = associate(port, *(build_context(c, syntax) for c in classes))
    assert association.is_established
    statuses = [association.send_c_store(image).Status for image in images]
    association.release()
    return statuses


def has_a_place(port: int) -> bool:
    """Tell whether another association is taken now."""
    association = associate(port)
    established = bool(association.is_established)
    if established:
        association.release()
    return established


def test_an_acknowledged_image_is_in_archive_and_index(tmp_path: Path) -> None:
    """After Success the bytes are in the archive as they were sent, and the row in the index."""
    images = list(mr_study(slices=3))
    with listening(tmp_path) as node:
        assert send(node.port, *images) == [0] * 9
        assert node.datasets() == sorted(dataset(part10(image)) for image in images)
        rows = node.index.instances(uid("study", "1"))
        assert {r.sop_instance_uid for r in rows} == {i.SOPInstanceUID for i in images}
        assert {r.source for r in rows} == {"SCANNER"}
        for row in rows:
            facts = check_file(node.archive.path(row.sha256))
            assert facts.sop_instance_uid == row.sop_instance_uid
            assert facts.transfer_syntax_uid == row.transfer_syntax_uid == EXPLICIT
        assert node.unfinished() == []


def test_sending_again_changes_nothing(tmp_path: Path) -> None:
    """The same images from another sender are answered with Success and kept once."""
    image = mr_image()
    with listening(tmp_path) as node:
        assert send(node.port, image, image) == [0, 0]
        assert len(node.datasets()) == 1
        assert node.listener.counts == {"new": 1, "duplicate": 1}


def test_other_contents_under_a_known_uid_do_not_replace_the_first(tmp_path: Path) -> None:
    """A conflict is acknowledged, both files are kept, the first is the one that is used."""
    first, second = mr_image(), mr_image(EchoTime=1.0)
    with listening(tmp_path) as node:
        assert send(node.port, first, second) == [0, 0]
        (row,) = node.index.instances(uid("study", "1"))
        assert dataset(node.archive.path(row.sha256).read_bytes()) == dataset(part10(first))
        assert len(node.index.conflicts(uid("study", "1"))) == 1
        assert len(node.datasets()) == 2


def test_other_classes_are_accepted_and_not_kept(tmp_path: Path) -> None:
    """A whole-study push succeeds; CT and captures are counted and forgotten."""
    with listening(tmp_path) as node:
        assert send(node.port, ct_image(), mr_image(), capture()) == [0, 0, 0]
        assert node.listener.counts == {"new": 1, "ignored": 2}
        assert len(node.datasets()) == 1
        assert len(node.index.studies()) == 1


def test_other_classes_are_refused_when_configured(tmp_path: Path) -> None:
    """Without accept_and_ignore a CT is refused at negotiation, MR still works."""
    with listening(tmp_path, accept_and_ignore=False) as node:
        wanted = [build_context(c, EXPLICIT) for c in (CTImageStorage, MRImageStorage)]
        association = associate(node.port, *wanted)
        accepted = [str(c.abstract_syntax) for c in association.accepted_contexts]
        association.release()
        assert accepted == [str(MRImageStorage)]


@pytest.mark.parametrize(
    ("syntax", "is_accepted"),
    [
        (ImplicitVRLittleEndian, True),
        (ExplicitVRLittleEndian, True),
        (RLELossless, True),
        ("1.2.840.10008.1.2.4.57", True),
        (JPEGLosslessSV1, True),
        ("1.2.840.10008.1.2.4.80", True),
        (JPEG2000Lossless, True),
        ("1.2.840.10008.1.2.4.201", True),
        ("1.2.840.10008.1.2.4.202", True),
        (DeflatedExplicitVRLittleEndian, False),
        (ExplicitVRBigEndian, False),
        (JPEGBaseline8Bit, False),
        ("1.2.840.10008.1.2.4.81", False),
        ("1.2.840.10008.1.2.4.91", False),
        ("1.2.840.10008.1.2.4.94", False),
        ("1.2.840.10008.1.2.4.203", False),
        (MPEG2MPML, False),
        ("1.2.3.4.5.6", False),
    ],
)
def test_syntaxes_are_negotiated_by_the_table(
    tmp_path: Path, syntax: str, *, is_accepted: bool
) -> None:
    """Lossless syntaxes of MR images are accepted, everything else is not."""
    with listening(tmp_path) as node:
        association = associate(
            node.port, build_context(Verification), build_context(MRImageStorage, syntax)
        )
        accepted = [str(c.abstract_syntax) for c in association.accepted_contexts]
        association.release()
    assert (str(MRImageStorage) in accepted) == is_accepted


def test_implicit_vr_keeps_its_bytes(tmp_path: Path) -> None:
    """An image in implicit VR is stored in implicit VR."""
    image = mr_image()
    image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    with listening(tmp_path) as node:
        assert send(node.port, image, syntax=ImplicitVRLittleEndian) == [0]
        assert node.datasets() == [dataset(part10(image))]


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({"StudyInstanceUID": "../../../tmp/x"}, 0xC000),
        ({"StudyInstanceUID": None}, 0xC000),
        ({"Rows": 5000}, 0xC000),
        ({"PixelData": b"\0" * 100}, 0xC000),
        ({"Rows": 65}, 0xC000),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_bad_image_is_refused_and_the_next_one_is_taken(
    tmp_path: Path, attributes: dict[str, Any], status: int
) -> None:
    """A refusal has its status, leaves no file, and the association goes on."""
    with listening(tmp_path) as node:
        assert send(node.port, mr_image(number=1, **attributes), mr_image(number=2)) == [status, 0]
        assert len(node.datasets()) == 1
        assert node.unfinished() == []
        assert node.listener.counts == {"refused": 1, "new": 1}


def test_a_data_set_of_another_class_has_its_own_status(tmp_path: Path) -> None:
    """A CT that is announced as MR is answered with 0xA900."""
    with listening(tmp_path) as node:
        association = associate(node.port)
        liar = ct_image()
        liar.SOPClassUID = MRImageStorage
        request = mr_image()
        request.update(liar)
        request.SOPInstanceUID = liar.SOPInstanceUID
        body = part10(ct_image())
        status = store_raw(association, str(MRImageStorage), liar.SOPInstanceUID, dataset(body))
        association.release()
        assert status == 0xA900
        assert node.datasets() == []


def test_a_class_that_was_not_negotiated_has_its_own_status(tmp_path: Path) -> None:
    """A CT sent in the MR context is answered with 0x0122."""
    with listening(tmp_path) as node:
        association = associate(node.port)
        image = ct_image()
        status = store_raw(
            association, str(CTImageStorage), image.SOPInstanceUID, dataset(part10(image))
        )
        association.release()
        assert status == 0x0122


def test_a_full_disk_is_answered_out_of_resources(tmp_path: Path) -> None:
    """Below the watermark the answer is 0xA700 and nothing is written; echo still works."""
    with listening(tmp_path, min_free_mb=10**9) as node:
        assert send(node.port, mr_image()) == [0xA700]
        assert node.datasets() == []
        assert node.unfinished() == []
        association = associate(node.port, build_context(Verification))
        assert association.send_c_echo().Status == 0
        association.release()


def test_an_object_beyond_the_limit_is_refused_while_it_arrives(tmp_path: Path) -> None:
    """More than max_object_mb is refused, and its file is gone before the last byte has come."""
    with listening(tmp_path, max_object_mb=1) as node:
        big = mr_image(size=1024)
        assert send(node.port, big, mr_image(number=2)) == [0xC000, 0]
        assert node.unfinished() == []
        assert len(node.datasets()) == 1


def test_only_known_callers_may_enter(tmp_path: Path) -> None:
    """With a list of callers, others are rejected; so is a wrong called title."""
    with listening(tmp_path, calling_ae=("SCANNER",)) as node:
        stranger = associate(node.port, calling="STRANGER")
        assert stranger.is_rejected
        lost = associate(node.port, called="SOMEONE")
        assert lost.is_rejected
        known = associate(node.port)
        assert known.is_established
        known.release()


def test_any_called_title_is_taken_when_configured(tmp_path: Path) -> None:
    """require_called_ae = false takes associations for any title."""
    with listening(tmp_path, require_called_ae=False) as node:
        association = associate(node.port, called="SOMEONE")
        assert association.is_established
        association.release()


def test_the_number_of_associations_is_limited(tmp_path: Path) -> None:
    """One association too many is rejected, and taken again when another has ended."""
    with listening(tmp_path, max_associations=2) as node:
        first, second, third = (associate(node.port) for _ in range(3))
        assert [a.is_established for a in (first, second, third)] == [True, True, False]
        assert third.is_rejected
        first.release()
        wait_for(lambda: has_a_place(node.port), what="a free place")
        second.release()


def test_open_associations_are_counted_by_study(tmp_path: Path) -> None:
    """An association counts for the studies it has sent, until it ends."""
    one, two = uid("study", "1"), uid("study", "2")
    with listening(tmp_path) as node:
        count = node.listener.open_associations
        association = associate(node.port)
        assert count(one) == 0
        association.send_c_store(mr_image("1"))
        assert (count(one), count(two)) == (1, 0)
        other = associate(node.port)
        other.send_c_store(mr_image("1", number=2))
        other.send_c_store(mr_image("2"))
        assert (count(one), count(two)) == (2, 1)
        association.release()
        wait_for(lambda: count(one) == 1, what="the release")
        other.abort()
        wait_for(lambda: count(one) == 0 and count(two) == 0, what="the abort")


def test_a_transfer_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """An abort in the middle of an image leaves no file and no row."""
    with listening(tmp_path) as node:
        association = associate(node.port)
        connection = association.dul.socket.socket
        body = dataset(part10(mr_image(size=1024)))
        command_then_half(association, body)
        wait_for(lambda: len(node.unfinished()) == 1, what="the first half")
        connection.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: node.unfinished() == [], what="the part to be removed")
        association.abort()
        assert node.datasets() == []
        assert node.index.studies() == ()
        assert send(node.port, mr_image()) == [0]


def command_then_half(association: Any, body: bytes) -> None:
    """Send a C-STORE command and only the first half of its data set."""
    image = mr_image(size=1024)
    request = C_STORE()
    request.MessageID = 1
    request.Priority = 2
    request.AffectedSOPClassUID = image.SOPClassUID
    request.AffectedSOPInstanceUID = image.SOPInstanceUID
    request.DataSet = BytesIO(body)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    context = association.accepted_contexts[0].context_id
    pieces = list(message.encode_msg(context, 16382))
    for piece in pieces[: len(pieces) // 2]:
        association.dul.send_pdu(piece)


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x04\x00\x00\x00\x00\x10" + b"\xff" * 16,
        b"\x01\x00\xff\xff\xff\xff",
        b"",
    ],
)
def test_noise_on_the_port_disturbs_nobody(tmp_path: Path, noise: bytes) -> None:
    """Bytes that are no DICOM end their own connection; the next sender is served."""
    with listening(tmp_path) as node:
        with socket.create_connection(("127.0.0.1", node.port)) as connection:
            connection.sendall(noise)
        assert send(node.port, mr_image()) == [0]


def test_probes_of_the_port_take_no_place(tmp_path: Path) -> None:
    """Connections that close without a word leave all associations to real senders."""
    with listening(tmp_path, max_associations=2) as node:
        for _ in range(6):
            socket.create_connection(("127.0.0.1", node.port)).close()
        started = time.monotonic()
        wait_for(lambda: has_a_place(node.port), seconds=5, what="a place")
        assert time.monotonic() - started < 2


def test_a_port_in_use_is_a_clear_mistake(tmp_path: Path) -> None:
    """Two listeners on one port: the second says which setting to change."""
    with (
        listening(tmp_path / "one") as node,
        pytest.raises(Misconfigured, match=r"listen\.port"),
        listening(tmp_path / "two", port=node.port),
    ):
        pass


def test_a_killed_listener_has_every_acknowledged_image(tmp_path: Path) -> None:
    """Kill -9 in the middle of sending: what was acknowledged is on disk, whole and indexable."""
    acknowledged: list[bytes] = []
    with listening_process(tmp_path) as (process, port):
        association = associate(port)
        for number in range(1, 1000):
            image = mr_image(number=number)
            answer = association.send_c_store(image)
            if "Status" not in answer:
                break
            assert answer.Status == 0
            acknowledged.append(dataset(part10(image)))
            if len(acknowledged) == 40:
                threading.Timer(0.05, os.kill, (process.pid, signal.SIGKILL)).start()
        association.abort()
    assert 40 <= len(acknowledged) < 999
    with listening(tmp_path) as node:
        assert set(acknowledged) <= set(node.datasets())
        assert node.unfinished() == []
        assert len(node.index.instances(uid("study", "1"))) >= len(acknowledged)


def test_a_stop_lets_a_sender_finish(tmp_path: Path) -> None:
    """Stopping refuses new associations at once and waits for one that is just ending."""
    with listening(tmp_path) as node:
        association = associate(node.port)
        timer = threading.Timer(0.5, association.release)
        timer.start()
        node.listener.stop()
        timer.join()
        assert association.is_released
        assert not association.is_aborted


def test_logs_hold_no_patient(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither name nor identifier of the patient is in any log line, refusals included."""
    caplog.set_level(logging.DEBUG)
    with listening(tmp_path) as node:
        send(node.port, mr_image(), mr_image(EchoTime=1.0), mr_image(number=2, Rows=5000))
    printed = capsys.readouterr()
    everything = printed.out + printed.err + caplog.text
    assert "instance refused" in everything
    assert PATIENT_NAME.split("^")[0] not in everything
    assert PATIENT_ID not in everything
