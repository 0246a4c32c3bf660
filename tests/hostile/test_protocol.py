"""Peers that break the protocol, stall, flood or hang up: theirs ends, everybody else's goes on."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import mr_image, part10
from tests.hostile import wire
from tests.hostile.test_fuzz import FUZZ, UNHURRIED
from tests.raw_sender import COMMAND, LAST, MR, command, data, pdu
from tests.receiving import Node, dataset, listening
from tests.waiting import wait_for

GOOD = mr_image("protocol", size=16)
BODY = dataset(part10(GOOD))
STORE = wire.store(str(GOOD.SOPInstanceUID), BODY)
SESSION = wire.request() + STORE + wire.RELEASE


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One listener for all of them, which is patient for two seconds."""
    with listening(tmp_path_factory.mktemp("wire"), network_timeout_s=2.0) as running:
        yield running


def assert_unharmed(node: Node) -> None:
    """A good image is taken, and nothing unfinished lies around."""
    assert wire.statuses(wire.say(node.port, SESSION, wait_s=20)) == [0]
    wait_for(lambda: node.unfinished() == [], what="the removal of what was begun")
    assert node.listener.counts.get("failed", 0) == 0


def test_the_session_by_hand_is_a_good_one(node: Node) -> None:
    """What the other tests break is whole: accepted, stored, released."""
    answer = wire.say(node.port, SESSION)
    assert answer[0] == 2
    assert wire.statuses(answer) == [0]
    assert answer[-10:-9] == b"\x06"


@pytest.mark.parametrize("at", [*range(0, 400, 23), *range(400, len(SESSION), 97)])
def test_a_session_cut_off_anywhere_leaves_nothing(node: Node, at: int) -> None:
    """A peer that hangs up in the middle of a PDU, a command or a data set costs only itself."""
    wire.say(node.port, SESSION[:at], hang_up=True)
    if at % 5 == 0:
        assert_unharmed(node)


@pytest.mark.parametrize("end", [wire.ABORT, wire.RELEASE, wire.request(), b"\xff" * 64])
def test_an_abort_in_the_middle_of_a_data_set_leaves_nothing(node: Node, end: bytes) -> None:
    """Half an image, then an abort, a release, another request or rubbish."""
    half = data(1, COMMAND | LAST, command(1, MR, "1.2.3", with_data=True))
    half += data(1, 0, BODY[:300])
    assert wire.statuses(wire.say(node.port, wire.request() + half, end)) == []
    assert_unharmed(node)


@pytest.mark.parametrize(
    "noise",
    [
        b"",
        b"\0" * 1000,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(range(255, -1, -1)) * 16,
        pdu(9, b"x" * 100),
        pdu(1, b"", 0xFFFFFFFF),
        pdu(1, b"x" * 20),
        pdu(4, b"x" * 20),
        wire.request() + pdu(4, b"\0" * 20, 0xFFFFFFFF),
        wire.request() + pdu(4, b""),
        wire.request() + pdu(4, b"\xff\xff\xff\xff\x01\x03"),
        wire.request() + pdu(4, b"\0\0\0\0\x01\x03"),
        wire.request() + data(1, COMMAND | LAST, b""),
        wire.request() + data(1, COMMAND | LAST, bytes(range(200))),
        wire.request() + data(1, COMMAND, b"\0" * 8000) * 50,
        wire.request() + data(1, LAST, BODY),
        wire.request() + data(7, LAST, BODY),
        wire.request(version=0),
        wire.request(contexts=200),
        wire.request(called="", calling=""),
        wire.request(called="../../etc", calling="\x1b[31m\r\nx"),
    ],
    ids=range(21),
)
def test_what_is_no_protocol_ends_its_connection(node: Node, noise: bytes) -> None:
    """Rubbish, lengths that lie and messages out of order: the connection ends, soon."""
    started = time.monotonic()
    wire.say(node.port, noise, wait_s=20)
    assert time.monotonic() - started < 15
    assert_unharmed(node)


def test_128_contexts_are_negotiated(node: Node) -> None:
    """The most that a request can hold are answered one by one."""
    answer = wire.say(node.port, wire.request(contexts=128), wire.RELEASE)
    assert answer.count(b"\x21\x00\x00") >= 128


def test_a_wrong_title_is_rejected(node: Node) -> None:
    """Called AE title not recognised: A-ASSOCIATE-RJ with its reason (PS3.8 Table 9-21)."""
    answer = wire.say(node.port, wire.request(called="SOMEBODY"))
    assert answer[0] == 3
    assert answer[9] == 7


def test_tls_on_the_plain_port_is_refused(node: Node) -> None:
    """A TLS client learns at once that nobody here speaks it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", node.port), timeout=10)
    with plain, pytest.raises(OSError):
        context.wrap_socket(plain)
    assert_unharmed(node)


def test_silent_connections_do_not_shut_others_out(node: Node) -> None:
    """Twenty connections that never ask for anything: a sender still finds its way in."""
    with ExitStack() as silent:
        for _ in range(20):
            silent.enter_context(socket.create_connection(("127.0.0.1", node.port), timeout=5))
        assert_unharmed(node)


def test_a_request_that_drips_in_is_cut_off(node: Node) -> None:
    """Slow loris: a byte now and then does not hold a place for longer than the timeout."""
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as connection:
        started = time.monotonic()
        with suppress(OSError):
            for byte in SESSION:
                connection.sendall(bytes([byte]))
                time.sleep(0.2)
        assert time.monotonic() - started < 10
    assert_unharmed(node)


def test_a_flood_of_associations_is_turned_away(node: Node) -> None:
    """Fifty at once: those beyond the limit are told to come later, and places come free again."""
    with ExitStack() as crowd:
        answers = []
        for _ in range(50):
            with suppress(OSError):
                one = crowd.enter_context(
                    socket.create_connection(("127.0.0.1", node.port), timeout=5)
                )
                one.sendall(wire.request())
                answers.append(one.recv(1)[:1])
    assert answers.count(b"\x02") <= 10
    wait_for(lambda: wire.say(node.port, wire.request(), wire.RELEASE)[:1] == b"\x02")
    assert_unharmed(node)


def test_an_abort_storm_leaves_nothing(node: Node) -> None:
    """Two hundred associations that abort at once, one after the other."""
    for _ in range(200):
        wire.say(node.port, wire.request() + wire.ABORT, hang_up=True)
    wait_for(lambda: wire.say(node.port, wire.request(), wire.RELEASE)[:1] == b"\x02")
    assert_unharmed(node)


def test_other_contents_under_one_uid_do_not_replace_the_first(node: Node) -> None:
    """A second image under a known UID is answered, and the first stays the one that counts."""
    other = dataset(part10(mr_image("protocol", size=16, SeriesDescription="other")))
    assert_unharmed(node)
    answer = wire.say(
        node.port, wire.request() + wire.store(str(GOOD.SOPInstanceUID), other), wire.RELEASE
    )
    assert len(wire.statuses(answer)) == 1
    name = str(GOOD.StudyInstanceUID)
    (row,) = wait_for(lambda: node.index.instances(name))
    assert dataset(node.archive.path(row.sha256).read_bytes()) == BODY


@given(
    cuts=st.lists(
        st.tuples(st.integers(0, len(SESSION)), st.binary(max_size=8), st.integers(0, 4)),
        min_size=1,
        max_size=4,
    ),
    end=st.integers(0, len(SESSION)),
)
@settings(UNHURRIED, max_examples=150 * FUZZ)
def test_any_bytes_on_the_wire_are_survived(
    node: Node, cuts: list[tuple[int, bytes, int]], end: int
) -> None:
    """A session with bytes exchanged, put in, taken out and cut off anywhere."""
    raw = bytearray(SESSION)
    for at, new, removed in cuts:
        raw[at : at + removed] = new
    answer = wire.say(node.port, bytes(raw[: max(end, 300)]), wait_s=20)
    assert answer[:1] in {b"", b"\x02", b"\x03", b"\x07"}
    assert node.listener.counts.get("failed", 0) == 0


def test_nothing_was_written_outside(node: Node) -> None:
    """After all this the folder holds what it held before."""
    assert_unharmed(node)
    names = {path.name for path in node.root.iterdir()}
    index = {"index.sqlite", "index.sqlite-wal", "index.sqlite-shm"}
    assert names <= {"archive", "quarantine", *index}
    assert not Path("/tmp/x").exists()  # noqa: S108 - a name from the corpus
