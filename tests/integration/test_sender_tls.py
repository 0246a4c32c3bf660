"""Our sender to DCMTK's storescp over TLS: who is believed, and what an administrator is told."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.config import Destination, Tls
from node.dicom import sender
from node.errors import DestinationUnavailable, Misconfigured
from node.loopback import free_port
from tests.builders import mr_image
from tests.certificates import Authority, Certificate
from tests.receiving import DCMTK_ENVIRONMENT
from tests.waiting import answers, wait_for


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Tls:
    """A node with a certificate of the hospital."""
    own = authority.issue("node")
    return Tls(certificate_file=own.certificate, key_file=own.key, ca_file=authority.file)


@contextmanager
def storescp(
    folder: Path, own: Certificate, authority: Authority, *options: str
) -> Iterator[Destination]:
    """Run DCMTK's receiver, which asks for a certificate."""
    port = free_port()
    folder.mkdir()
    tls = ["+tls", own.key, own.certificate, "+cf", authority.file, *options]
    command = ["/usr/bin/storescp", "-od", folder, *tls, port]
    process = subprocess.Popen([str(part) for part in command], env=DCMTK_ENVIRONMENT)
    try:
        wait_for(lambda: answers(port), what="storescp")
        yield Destination(
            name="pacs", host="127.0.0.1", port=port, ae_title="PACS", timeout_s=10, tls=True
        )
    finally:
        process.kill()
        process.wait(timeout=10)


def test_storescp_gets_an_image_over_tls(tmp_path: Path, authority: Authority, ours: Tls) -> None:
    """Both show a certificate of the hospital: the image arrives."""
    with storescp(tmp_path / "in", authority.issue("pacs"), authority) as pacs:
        sender.echo(pacs, "LUMBAR", ours)
        assert sender.send([mr_image()], pacs, "LUMBAR", tls=ours).stored == 1
        assert len(list((tmp_path / "in").iterdir())) == 1


def test_a_peer_that_is_not_believed_gets_nothing(
    tmp_path: Path, authority: Authority, ours: Tls
) -> None:
    """A certificate of a stranger, or one that bears another name: the reason says so."""
    stranger = Authority(tmp_path / "stranger")
    with (
        storescp(tmp_path / "in", stranger.issue("pacs"), authority) as pacs,
        pytest.raises(DestinationUnavailable, match=r"not signed by tls\.ca_file"),
    ):
        sender.echo(pacs, "LUMBAR", ours)
    other = authority.issue("other", alternative="DNS:pacs.hospital")
    with storescp(tmp_path / "in2", other, authority) as pacs:
        with pytest.raises(DestinationUnavailable, match="does not bear its name"):
            sender.echo(pacs, "LUMBAR", ours)
        named = pacs.model_copy(update={"tls_name": "pacs.hospital"})
        sender.echo(named, "LUMBAR", ours)


def test_plain_and_tls_do_not_meet(tmp_path: Path, authority: Authority, ours: Tls) -> None:
    """A destination without TLS, asked for it, and the other way round: both fail in words."""
    with storescp(tmp_path / "in", authority.issue("pacs"), authority) as pacs:
        plain = pacs.model_copy(update={"tls": False})
        with pytest.raises(DestinationUnavailable):
            sender.echo(plain, "LUMBAR")
        nameless = Tls(ca_file=authority.file)
        with pytest.raises(DestinationUnavailable):
            sender.echo(pacs, "LUMBAR", nameless)


@pytest.mark.parametrize("broken", ["certificate_file", "key_file", "ca_file"])
def test_a_file_that_is_missing_or_wrong_is_named(
    tmp_path: Path, authority: Authority, ours: Tls, broken: str
) -> None:
    """Each mistake with files is told with the file's setting, before anything is sent."""
    pacs = Destination(name="p", host="127.0.0.1", port=free_port(), ae_title="P", tls=True)
    empty = tmp_path / "empty"
    empty.touch()
    for wrong in (tmp_path / "none", empty):
        settings = ours.model_copy(update={broken: wrong})
        with pytest.raises(Misconfigured, match=re.escape(str(wrong))):
            sender.echo(pacs, "LUMBAR", settings)
