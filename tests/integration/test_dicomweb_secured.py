"""Our client at our own service, over TLS, with what it asks for at the door."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.app import Node
from node.config import Config, DicomwebPeer, Listen, Web
from node.dicom import dicomweb
from node.dicom.dicomweb import stow
from node.errors import DestinationUnavailable
from node.exchange.pull import from_dicomweb
from node.loopback import free_port
from node.web.app import create_app
from tests import builders
from tests.certificates import Authority
from tests.serving import Served


@pytest.fixture(scope="module")
def door(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """A service that asks for a client certificate and a token; what opens it, as settings."""
    folder = tmp_path_factory.mktemp("node")
    token = folder / "token"
    token.write_text("secret")
    own, theirs, port = authority.issue("server"), authority.issue("client"), free_port()
    node = Node(Config(data_dir=folder / "data", listen=Listen(min_free_mb=1)))
    app = create_app(node, Web(token_file=token))
    with Served(
        app,
        port,
        ssl_certfile=own.certificate,
        ssl_keyfile=own.key,
        ssl_ca_certs=str(authority.file),
        ssl_cert_reqs=2,  # ssl.CERT_REQUIRED
    ):
        yield {
            "name": "own",
            "url": f"https://127.0.0.1:{port}/dicom-web",
            "token_file": token,
            "certificate_file": theirs.certificate,
            "key_file": theirs.key,
            "ca_file": authority.file,
        }
    node.stop()


def test_with_everything_shown_a_study_goes_in_and_out(
    door: dict[str, Any], tmp_path: Path
) -> None:
    """Stored by STOW-RS, found by QIDO-RS, fetched by WADO-RS into another node, byte for byte."""
    peer = DicomwebPeer(**door)
    files = builders.write_all(builders.mr_study(slices=3), tmp_path / "files")
    other = Node(Config(data_dir=tmp_path / "other", listen=Listen(min_free_mb=1)))

    assert all(sent.is_stored for sent in stow.push(peer, files))
    study_uid = builders.uid("study", "1")
    assert dicomweb.search(peer, {"PatientName": "nobody*"}, 5) == [study_uid]
    assert from_dicomweb(peer, study_uid, other.intake, other.held_instances) == study_uid
    assert from_dicomweb(peer, study_uid, other.intake, other.held_instances) == study_uid

    rows = other.index.instances(study_uid)
    other.stop()
    assert {row.source for row in rows} == {"dicomweb:own"}
    kept = sorted(other.archive.path(row.sha256).read_bytes() for row in rows)
    # The data sets; the file meta information is the node's own.
    assert [_dataset(part10) for part10 in kept] == sorted(_dataset(f.read_bytes()) for f in files)


def _dataset(part10: bytes) -> bytes:
    return part10[144 + int.from_bytes(part10[140:144], "little") :]


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ({"token_file"}, "does not let this node in"),
        ({"ca_file"}, "the TLS handshake failed"),
        ({"certificate_file", "key_file"}, "handshake failed|does not answer, or broke off"),
    ],
)
def test_with_one_thing_missing_the_door_stays_shut(
    door: dict[str, Any], without: set[str], words: str
) -> None:
    """The message says what to look at, and the delivery waits for a person to mend it."""
    peer = DicomwebPeer(**{key: value for key, value in door.items() if key not in without})

    with pytest.raises(DestinationUnavailable, match=words):
        dicomweb.ping(peer)


def test_a_secret_is_never_sent_in_the_open(tmp_path: Path) -> None:
    """A token for http:// is a mistake in the configuration, but to this machine itself."""
    with pytest.raises(ValueError, match="https only"):
        DicomwebPeer(name="a", url="http://pacs.example/dicom-web", token_file=tmp_path / "t")
    DicomwebPeer(name="a", url="http://127.0.0.1:8042/dicom-web", token_file=tmp_path / "t")
