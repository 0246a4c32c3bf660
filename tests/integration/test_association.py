"""The upper layer on real sockets: every cut of PDUs, every message, every way to end."""

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import EnhancedMRImageStorage

from tests.builders import mr_image, part10
from tests.raw_sender import (
    ABORTED,
    COMMAND,
    DATA,
    ECHO,
    ENHANCED_MR,
    EXPLICIT,
    IMPLICIT,
    LAST,
    MR,
    RJ,
    RawSender,
    chunks,
    command,
    cut,
    data,
    fragment,
    pdu,
    request,
    value,
)
from tests.receiving import Node, dataset, listening
from tests.waiting import wait_for

C_STORE, C_ECHO, C_FIND, C_CANCEL, N_ACTION = 0x0001, 0x0030, 0x0020, 0x0FFF, 0x0130


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One listener for the whole file: no test may spoil it for the next."""
    with listening(tmp_path_factory.mktemp("upper"), max_associations=20) as running:
        yield running


def image(number: int, size: int = 8) -> tuple[str, bytes]:
    """Return UID and data set of an MR image."""
    made = mr_image("upper", number=number, size=size)
    return str(made.SOPInstanceUID), dataset(part10(made))


def store_request(uid: str) -> bytes:
    return command(C_STORE, MR, uid, with_data=True)


def kept(node: Node, body: bytes) -> bool:
    return body in node.datasets()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 1000, 100_000])
def test_fragments_of_any_size_make_the_same_image(node: Node, size: int) -> None:
    """Command and data set may be cut anywhere, one byte in each PDU included."""
    uid, body = image(size)
    with RawSender(node.port) as sender:
        sender.associate()
        sender.send(cut(1, COMMAND, store_request(uid), size) + cut(1, 0, body, size))
        assert sender.status() == 0
        sender.release()
    assert kept(node, body)


@pytest.mark.parametrize("size", [1, 4, 5, 6, 7, 11, 12, 13, 4095, 4096, 4097])
def test_packets_of_any_size_make_the_same_image(node: Node, size: int) -> None:
    """TCP may cut the stream anywhere, in the middle of any header included."""
    uid, body = image(200_000 + size)
    stream = data(1, COMMAND | LAST, store_request(uid)) + cut(1, 0, body, 700)
    with RawSender(node.port) as sender:
        for piece in chunks(request((1, MR, EXPLICIT)), size):
            sender.send(piece)
        sender.receive()
        for piece in chunks(stream + pdu(5, bytes(4)), size):
            sender.send(piece)
        assert sender.status() == 0
    assert kept(node, body)


def test_command_and_data_set_in_one_pdu(node: Node) -> None:
    """Several fragments may share a PDU, and any of them may be empty."""
    uid, body = image(300_001)
    said = store_request(uid)
    pieces = (
        fragment(1, COMMAND, b"") + fragment(1, COMMAND, said[:9]),
        fragment(1, COMMAND | LAST, said[9:]) + fragment(1, 0, body[:1]) + fragment(1, 0, b""),
        fragment(1, 0, body[1:]) + fragment(1, LAST, b""),
    )
    with RawSender(node.port) as sender:
        sender.associate()
        sender.send(b"".join(pdu(DATA, piece) for piece in pieces))
        assert sender.status() == 0
        sender.release()
    assert kept(node, body)


def test_a_pdu_larger_than_asked_for_is_taken_up_to_a_limit(node: Node) -> None:
    """A peer that ignores our maximum of 128 KiB is served up to 1 MiB, then aborted."""
    uid, body = image(300_002, size=600)
    with RawSender(node.port) as sender:
        sender.associate()
        assert sender.store(uid, body) == 0
        sender.send(struct.pack(">BxI", DATA, (1 << 20) + 1))
        assert sender.receive()[0] == ABORTED
    assert kept(node, body)


def test_messages_of_several_contexts_take_turns(node: Node) -> None:
    """Each context keeps its own class and syntax; echoes may come between images."""
    one, first = image(300_003)
    other = mr_image("upper", number=300_004, size=8)
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    second = dataset(part10(other))
    with RawSender(node.port) as sender:
        sender.associate((1, MR, EXPLICIT), (3, ECHO, IMPLICIT), (5, ENHANCED_MR, EXPLICIT))
        for _ in range(2):
            assert sender.store(one, first) == 0
            sender.send(data(3, COMMAND | LAST, command(C_ECHO, ECHO, with_data=False)))
            assert sender.status() == 0
            assert sender.store(other.SOPInstanceUID, second, 5, ENHANCED_MR) == 0
        sender.release()
    assert kept(node, first)
    assert kept(node, second)


def test_an_answer_names_its_request(node: Node) -> None:
    """The response has the request's field with bit 15, its message id, class and instance."""
    uid, body = image(300_005)
    with RawSender(node.port) as sender:
        sender.associate()
        sender.send(data(1, COMMAND | LAST, store_request(uid)) + data(1, LAST, body))
        kind, answer = sender.receive()
        sender.release()
    assert (kind, answer[4], answer[5]) == (DATA, 1, COMMAND | LAST)
    said = answer[6:]
    assert value(said, 0x0100) == struct.pack("<H", C_STORE | 0x8000)
    assert value(said, 0x0120) == struct.pack("<H", 7)
    assert value(said, 0x0800) == struct.pack("<H", 0x0101)
    assert value(said, 0x0002).rstrip(b"\0").decode() == MR
    assert value(said, 0x1000).rstrip(b"\0").decode() == uid
    assert int.from_bytes(value(said, 0x0000), "little") == len(said) - 12


@pytest.mark.parametrize("field", [C_FIND, N_ACTION, 0x0777])
def test_a_message_of_another_service_is_answered(node: Node, field: int) -> None:
    """What this node does not offer is answered with 0x0211, and the association goes on."""
    uid, body = image(300_100 + field)
    with RawSender(node.port) as sender:
        sender.associate()
        sender.send(data(1, COMMAND | LAST, command(field, with_data=True)))
        sender.send(data(1, LAST, b"whatever this is"))
        assert sender.status() == 0x0211
        assert sender.store(uid, body) == 0
        sender.release()


@pytest.mark.parametrize("field", [C_CANCEL, C_STORE | 0x8000])
def test_what_asks_nothing_gets_no_answer(node: Node, field: int) -> None:
    """A C-CANCEL or a stray response is passed over."""
    uid, body = image(310_000 + field)
    with RawSender(node.port) as sender:
        sender.associate()
        sender.send(data(1, COMMAND | LAST, command(field, with_data=False)))
        assert sender.store(uid, body) == 0
        sender.release()


SAID = store_request("1.2.3")
BROKEN = {
    "a data set without a command": data(1, LAST, b"x"),
    "a command inside a data set": data(1, COMMAND | LAST, SAID) * 2,
    "a context that was not accepted": data(3, COMMAND | LAST, SAID),
    "a data set in another context": data(1, COMMAND | LAST, SAID) + data(5, 0, b"x"),
    "a command in two contexts": data(1, COMMAND, SAID[:9]) + data(5, COMMAND | LAST, SAID[9:]),
    "a fragment beyond its PDU": pdu(DATA, struct.pack(">IBB", 99, 1, 3) + b"x"),
    "a fragment of no bytes": pdu(DATA, struct.pack(">IBB", 0, 1, 3)),
    "a PDU that is cut off": pdu(DATA, b"xyz"),
    "a PDU of no known type": pdu(9, b"x"),
    "a second request": request((1, MR, EXPLICIT)),
    "an acceptance": pdu(2, b"x"),
    "a command of 20 KiB": data(1, COMMAND, bytes(20 << 10)),
    "a command that is no command": data(1, COMMAND | LAST, b"\xff" * 40),
    "an empty command": data(1, COMMAND | LAST, b""),
    "a command without a field": data(1, COMMAND | LAST, struct.pack("<HHIH", 0, 0x0800, 2, 257)),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_protocol_is_aborted(node: Node, name: str) -> None:
    """Each ends in an A-ABORT of the provider, leaves nothing, and the next peer is served."""
    with RawSender(node.port) as sender:
        sender.associate((1, MR, EXPLICIT), (5, MR, IMPLICIT))
        sender.send(BROKEN[name])
        kind, body = sender.receive()
        assert (kind, body[2]) == (ABORTED, 2)
        assert sender.receive() == (0, b"")
    uid, image_body = image(320_000)
    with RawSender(node.port) as sender:
        sender.associate()
        assert sender.store(uid, image_body) == 0
        sender.release()
    assert node.unfinished() == []


@pytest.mark.parametrize(
    "noise",
    [
        pdu(1, b""),
        pdu(1, bytes(68) + b"\x20\x00\xff\xff"),
        pdu(1, bytes(68) + b"\x20\x00\x00\x04\x02\0\0\0"),
        pdu(4, fragment(1, 3, SAID)),
        pdu(5, bytes(4)),
    ],
)
def test_a_first_pdu_that_asks_for_no_association_is_aborted(node: Node, noise: bytes) -> None:
    """Nothing but a well-formed A-ASSOCIATE-RQ opens an association."""
    with RawSender(node.port) as sender:
        sender.send(noise)
        assert sender.receive()[0] == ABORTED


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (request((1, MR, EXPLICIT), version=2), (1, 2, 2)),
        (request((1, MR, EXPLICIT), application="1.2.3"), (1, 1, 2)),
        (request((1, MR, EXPLICIT), called="SOMEONE"), (1, 1, 7)),
    ],
)
def test_a_rejection_says_why(node: Node, asked: bytes, answer: tuple[int, int, int]) -> None:
    """Result, source and reason are those of PS3.8 table 9-21."""
    with RawSender(node.port) as sender:
        sender.send(asked)
        kind, body = sender.receive()
    assert (kind, tuple(body[1:4])) == (RJ, answer)


def test_an_abort_in_the_middle_leaves_nothing(node: Node) -> None:
    """A-ABORT between two fragments: no file, no row, no open association."""
    uid, body = image(300_006, size=600)
    before = len(node.datasets())
    with RawSender(node.port) as sender:
        sender.associate()
        sender.send(data(1, COMMAND | LAST, store_request(uid)) + data(1, 0, body[:400_000]))
        wait_for(lambda: len(node.unfinished()) == 1, what="the first half")
        sender.send(pdu(7, bytes(4)))
        wait_for(lambda: node.unfinished() == [], what="the part to be removed")
    assert len(node.datasets()) == before


def test_a_silent_peer_is_given_up(tmp_path: Path) -> None:
    """After network_timeout_s without a byte the association is aborted and its place free."""
    with listening(tmp_path, network_timeout_s=0.5, max_associations=1) as node:
        with RawSender(node.port) as sender:
            sender.associate()
            sender.send(data(1, COMMAND | LAST, SAID)[:20])
            assert sender.receive()[0] == ABORTED
        with RawSender(node.port) as sender:
            sender.associate()
            sender.release()


def test_a_request_that_drips_is_given_up(tmp_path: Path) -> None:
    """Bytes that keep coming do not keep a request alive beyond the time for all of it."""
    with listening(tmp_path, network_timeout_s=0.6) as node, RawSender(node.port) as sender:
        ends = time.monotonic() + 10
        try:
            for octet in request((1, MR, EXPLICIT)):
                sender.send(bytes([octet]))
                time.sleep(0.1)
                assert time.monotonic() < ends
        except (BrokenPipeError, ConnectionResetError):
            return
        pytest.fail("the whole request was waited for")
