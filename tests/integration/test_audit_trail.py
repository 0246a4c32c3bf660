"""The audit trail on a real disk, and to a real TLS collector that may be away."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from node.config import Audit, Tls
from node.dicom.audit import Event
from node.loopback import free_port
from node.trust import syslog
from node.trust.audit import Trail
from node.trust.syslog import Forwarder
from tests.certificates import Authority
from tests.waiting import wait_for

MR = "1.2.840.10008.5.1.4.1.1.4"


def lines(folder: Path) -> list[str]:
    """Return every line of the trail."""
    return [n for p in sorted(folder.glob("*.log")) for n in p.read_text("utf-8").splitlines()]


@contextmanager
def recording(folder: Path, **settings: object) -> Iterator[Trail]:
    """Run a trail."""
    trail = Trail(folder, Audit.model_validate(settings), "LUMBAR")
    trail.start()
    try:
        yield trail
    finally:
        trail.stop()


def test_repeated_events_are_one_line_with_a_count(tmp_path: Path) -> None:
    """A thousand images of one study in a moment are one message; start and stop frame it."""
    with recording(tmp_path) as trail:
        for _ in range(1000):
            trail.note(Event("received", "MR1", "10.0.0.7", "1.2.3"), MR)
        trail.note(Event("received", "MR1", "10.0.0.7", "1.2.4"), MR)
    started, first, second, stopped = lines(tmp_path)
    assert "Application Start" in started
    assert 'NumberOfInstances="1000"' in first
    assert 'ParticipantObjectID="1.2.4"' in second
    assert "Application Stop" in stopped
    (file,) = tmp_path.glob("*.log")
    assert file.stat().st_mode & 0o777 == 0o600


def test_several_writers_share_a_day_and_old_days_go(tmp_path: Path) -> None:
    """Lines of two processes' trails never mix; files older than keep_days are deleted."""
    for age in (400, 10):
        day = datetime.now(UTC) - timedelta(days=age)
        (tmp_path / f"audit-{day:%Y-%m-%d}.log").write_text("old\n")
    with recording(tmp_path, keep_days=30) as one, recording(tmp_path, keep_days=30) as two:
        for number in range(50):
            one.note(Event("refused", f"A{number}", "10.0.0.7", failure="no"))
            two.note(Event("refused", f"B{number}", "10.0.0.7", failure="no"))
    told = lines(tmp_path)
    assert len(told) == 1 + 4 + 100
    assert all(line.endswith("</AuditMessage>") for line in told[1:])
    assert told[0] == "old"


class Collector:
    """A syslog collector over TLS, for as long as it runs."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.messages: list[bytes] = []
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", port))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
                connection = self._context.wrap_socket(plain, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: ssl.SSLSocket) -> None:
        stream = connection.makefile("rb")
        while length := b"".join(iter(lambda: stream.read(1).strip(b" "), b"")):
            self.messages.append(stream.read(int(length)))
        connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def server(authority: Authority) -> ssl.SSLContext:
    """What the collector speaks."""
    own = authority.issue("collector")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)
    return context


def test_the_collector_gets_every_line_also_after_it_was_away(
    tmp_path: Path, authority: Authority, server: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first line on, once each, through two lives of the collector and of the node."""
    monkeypatch.setattr(syslog, "_AGAIN_S", 0.2)
    monkeypatch.setattr(syslog, "_POLL_S", 0.1)
    port = free_port()
    settings = Audit(syslog_host="127.0.0.1", syslog_port=port, syslog_ca_file=authority.file)
    with recording(tmp_path):
        pass
    told: list[bytes] = []
    for life in (1, 2):
        forwarder = Forwarder(tmp_path, settings, Tls())
        forwarder.start()
        collector = Collector(port, server)
        wait_for(lambda c=collector: len(c.messages) >= 2, what="the lines so far")  # type: ignore[misc]
        forwarder.stop()
        collector.close()
        told += collector.messages
        if life == 1:
            with recording(tmp_path):
                pass
    bodies = [raw.partition(b"\xef\xbb\xbf")[2].decode() for raw in told]
    assert bodies == lines(tmp_path)
    assert all(raw.startswith(b"<85>1 2") for raw in told)


def test_a_collector_that_is_not_the_one_is_told_nothing(
    tmp_path: Path, server: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Its certificate is of another authority: no message leaves, and the log says why."""
    monkeypatch.setattr(syslog, "_AGAIN_S", 0.2)
    stranger = Authority(tmp_path / "stranger")
    port = free_port()
    settings = Audit(syslog_host="127.0.0.1", syslog_port=port, syslog_ca_file=stranger.file)
    with recording(tmp_path / "audit"):
        pass
    collector = Collector(port, server)
    forwarder = Forwarder(tmp_path / "audit", settings, Tls())
    forwarder.start()
    wait_for(lambda: "not signed by" in capsys.readouterr().out, what="the warning")
    forwarder.stop()
    collector.close()
    assert collector.messages == []


def test_two_processes_do_not_both_send(
    tmp_path: Path, authority: Authority, server: ssl.SSLContext
) -> None:
    """Of two forwarders of one trail one sends; the collector gets each line once."""
    port = free_port()
    settings = Audit(syslog_host="127.0.0.1", syslog_port=port, syslog_ca_file=authority.file)
    collector = Collector(port, server)
    forwarders = [Forwarder(tmp_path, settings, Tls()) for _ in range(2)]
    for forwarder in forwarders:
        forwarder.start()
    for _ in range(3):
        with recording(tmp_path):
            pass
    for forwarder in forwarders:
        forwarder.stop()
    wait_for(lambda: len(collector.messages) >= 6, what="all lines")
    collector.close()
    assert len(collector.messages) == 6
