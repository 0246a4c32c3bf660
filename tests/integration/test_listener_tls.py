"""The listener over TLS against DCMTK's storescu: who gets in, and what is said of who does not."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config import Tls
from node.dicom.audit import Event
from node.errors import Misconfigured
from tests.builders import mr_study, write_all
from tests.certificates import Authority, Certificate
from tests.integration.test_listener import associate
from tests.receiving import Node, dcmtk, listening, storescu
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def files(authority: Authority) -> Tls:
    own = authority.issue("node")
    return Tls(
        listen=True,
        certificate_file=own.certificate,
        key_file=own.key,
        ca_file=authority.file,
    )


@pytest.fixture(scope="module")
def scanner(authority: Authority) -> Certificate:
    return authority.issue("scanner")


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def node(tmp_path: Path, files: Tls, events: list[Event]) -> Iterator[Node]:
    with listening(tmp_path, tls=files, note=lambda event, _: events.append(event)) as running:
        yield running


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return write_all(list(mr_study(slices=2, size=256)), tmp_path / "in")


def with_certificate(own: Certificate, authority: Authority, *more: str) -> list[object]:
    """Return storescu's options for TLS with a client certificate."""
    return ["+tls", own.key, own.certificate, "+cf", authority.file, *more]


@pytest.mark.parametrize("profile", ["+py", "+px", "+pz"])
def test_storescu_with_a_certificate_is_served(
    node: Node, images: list[Path], scanner: Certificate, authority: Authority, profile: str
) -> None:
    """BCP 195: non-downgrading, plain and extended; every image arrives."""
    sent = storescu(node.port, images, *with_certificate(scanner, authority, profile))
    assert sent.returncode == 0, sent.stderr
    assert len(node.datasets()) == 6


def test_acceptors_in_processes_of_their_own_speak_tls(
    tmp_path: Path, files: Tls, images: list[Path], scanner: Certificate, authority: Authority
) -> None:
    """The files reach every acceptor."""
    with listening(tmp_path, tls=files, processes=2) as node:
        sent = storescu(node.port, images, *with_certificate(scanner, authority))
        assert sent.returncode == 0, sent.stderr
        assert len(node.datasets()) == 6


@pytest.mark.parametrize("profile", ["+pa", "+pn"])
def test_retired_profiles_are_refused(
    node: Node, images: list[Path], scanner: Certificate, authority: Authority, profile: str
) -> None:
    """AES without forward secrecy, and TLS that does not encrypt."""
    sent = storescu(node.port, images, *with_certificate(scanner, authority, profile))
    assert sent.returncode != 0
    assert node.datasets() == []


def test_storescu_without_a_certificate_is_refused(
    node: Node, images: list[Path], authority: Authority, events: list[Event]
) -> None:
    """Anonymous TLS: nothing is stored, and the alert names the setting."""
    sent = storescu(node.port, images, "+tla", "+cf", authority.file)
    assert sent.returncode != 0
    wait_for(lambda: events, what="the alert")
    assert events[0].kind == "refused"
    assert "require_client_certificate" in events[0].failure
    assert node.datasets() == []


def test_a_stranger_s_certificate_is_refused(
    tmp_path: Path, node: Node, images: list[Path], authority: Authority, events: list[Event]
) -> None:
    """Signed by an authority that the node does not know."""
    stranger = Authority(tmp_path / "stranger").issue("scanner")
    sent = storescu(node.port, images, *with_certificate(stranger, authority))
    assert sent.returncode != 0
    wait_for(lambda: events, what="the alert")
    assert "not signed by tls.ca_file" in events[0].failure
    assert node.datasets() == []


def test_plain_dicom_is_refused(node: Node, images: list[Path], events: list[Event]) -> None:
    """A sender that does not speak TLS gets no association."""
    assert storescu(node.port, images).returncode != 0
    wait_for(lambda: events, what="the alert")
    assert "does not speak TLS" in events[0].failure
    assert dcmtk("echoscu", "-aec", "LUMBAR", "127.0.0.1", node.port).returncode != 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_1_1_and_weak_suites_are_refused(
    node: Node, scanner: Certificate, authority: Authority, events: list[Event]
) -> None:
    """No downgrade: TLS 1.1, and TLS 1.2 without forward secrecy, end in the handshake."""
    old = _client(scanner, authority)
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    weak = _client(scanner, authority)
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("AES256-SHA256:AES128-SHA:@SECLEVEL=0")
    for context in (old, weak):
        events.clear()
        with (
            socket.create_connection(("127.0.0.1", node.port), timeout=10) as plain,
            pytest.raises(ssl.SSLError),
        ):
            context.wrap_socket(plain, server_hostname="127.0.0.1")
        wait_for(lambda: events, what="the alert")
        assert events[0].kind == "refused"


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: str(v.name)
)
def test_tls_1_2_and_1_3_are_spoken(
    node: Node, scanner: Certificate, authority: Authority, version: ssl.TLSVersion
) -> None:
    """Either version, with a suite of BCP 195."""
    context = _client(scanner, authority)
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", node.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        assert secured.version() == version.name.replace("v1_", "v1.")
        name, _, bits = secured.cipher() or ("", "", 0)
        assert bits >= 128
        assert "GCM" in name or "POLY1305" in name


def test_a_handshake_that_hangs_keeps_nobody_waiting(
    node: Node, images: list[Path], scanner: Certificate, authority: Authority
) -> None:
    """Connections that say nothing, or half a hello, hold up no other sender."""
    silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(5)]
    silent[0].sendall(b"\x16\x03\x01\x02\x00\x01")
    started = time.monotonic()
    assert storescu(node.port, images, *with_certificate(scanner, authority)).returncode == 0
    assert time.monotonic() - started < 8
    for connection in silent:
        connection.close()


def test_client_certificates_may_be_left_out(
    tmp_path: Path, files: Tls, images: list[Path], authority: Authority
) -> None:
    """require_client_certificate = false: encrypted, but anybody."""
    open_to_all = files.model_copy(update={"require_client_certificate": False})
    with listening(tmp_path, tls=open_to_all) as node:
        assert storescu(node.port, images, "+tla", "+cf", authority.file).returncode == 0


def test_pynetdicom_is_served_too(node: Node, scanner: Certificate, authority: Authority) -> None:
    """Another implementation, in another language, with TLS 1.3."""
    from pynetdicom import AE
    from pynetdicom.sop_class import Verification

    ae = AE("SCANNER")
    ae.add_requested_context(Verification)
    arguments = (_client(scanner, authority), "127.0.0.1")
    association = ae.associate("127.0.0.1", node.port, ae_title="LUMBAR", tls_args=arguments)
    assert association.is_established
    assert association.send_c_echo().Status == 0
    association.release()
    assert not associate(node.port).is_established


def test_a_wrong_file_is_told_at_the_start(tmp_path: Path, files: Tls) -> None:
    """Before anything listens."""
    wrong = files.model_copy(update={"key_file": files.ca_file})
    with pytest.raises(Misconfigured, match="key_file"), listening(tmp_path, tls=wrong):
        pass


def _client(own: Certificate, authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(own.certificate, own.key)
    return context
