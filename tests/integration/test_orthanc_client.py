"""Pull and push against a real Orthanc, and what other servers make of them."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from node.config import OrthancPeer
from node.dicom import orthanc as client
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
from tests.orthanc_server import OrthancServer

SECURED = {"AuthenticationEnabled": True, "RegisteredUsers": {"lumbar": "right"}}


class SecuredOrthanc(OrthancServer):
    """An Orthanc that asks for a password, also when the test looks whether it is up."""

    def get(self, path: str) -> object:
        answer = requests.get(f"{self.url}{path}", auth=("lumbar", "right"), timeout=20)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture
def peer(orthanc: OrthancServer) -> OrthancPeer:
    return OrthancPeer(name="pacs", url=orthanc.url)


@pytest.fixture
def answering() -> Iterator[Callable[[int, bytes], OrthancPeer]]:
    """Start servers that say the same to every request; return them as peers."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int, body: bytes) -> OrthancPeer:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return OrthancPeer(name="odd", url=f"http://127.0.0.1:{server.server_port}")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_only_mr_images_are_fetched_byte_for_byte(
    orthanc: OrthancServer, peer: OrthancPeer
) -> None:
    """CT images, captures, and captures that say MR stay where they are."""
    images = [builders.part10(image) for image in builders.mr_study(slices=2)]
    posing = builders.capture()
    posing.Modality = "MR"
    others = [builders.part10(o) for o in (builders.ct_image(), posing)]
    for part10 in images + others:
        study = orthanc.upload(part10)
    taken: list[bytes] = []

    assert client.pull(peer, study, taken.append).images == 6

    assert sorted(taken) == sorted(images)


def test_a_study_that_is_not_there_or_holds_no_mr_is_not_assessable(
    orthanc: OrthancServer, peer: OrthancPeer
) -> None:
    """Both are final: trying again changes nothing."""
    ct = orthanc.upload(builders.part10(builders.ct_image()))

    with pytest.raises(NotAssessable, match="no MR image"):
        client.pull(peer, ct, lambda _: None)
    with pytest.raises(NotAssessable, match="has no study"):
        client.pull(peer, "0" * 8 + ("-" + "0" * 8) * 4, lambda _: None)


def test_a_study_that_grows_while_it_is_read_is_read_again(
    orthanc: OrthancServer, peer: OrthancPeer
) -> None:
    """The count is compared with the study's own at the end."""
    study = orthanc.upload(builders.part10(builders.mr_image(number=1)))

    def another_arrives(_: bytes) -> None:
        orthanc.upload(builders.part10(builders.mr_image(number=2)))

    with pytest.raises(RetryLater, match="changed while it was read"):
        client.pull(peer, study, another_arrives)


def test_a_push_may_be_repeated_and_is_looked_up(
    orthanc: OrthancServer, peer: OrthancPeer, tmp_path: Path
) -> None:
    """The second push stores nothing new; both report what is there."""
    result = tmp_path / "capture.dcm"
    result.write_bytes(builders.part10(builders.capture()))

    assert client.push(peer, [result]) == 1
    assert client.push(peer, [result]) == 1

    assert list(orthanc.files().values()) == [result.read_bytes()]


def test_what_is_not_dicom_is_refused_for_good(peer: OrthancPeer, tmp_path: Path) -> None:
    """Orthanc answers 400, which no repetition mends."""
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"not DICOM")

    with pytest.raises(DeliveryRefused, match="400"):
        client.push(peer, [broken])


def test_an_orthanc_that_filters_results_out_refuses_them(tmp_path: Path) -> None:
    """Orthanc answers 200 to an object that a site's filter throws away."""
    lua = tmp_path / "filter.lua"
    lua.write_text("function ReceivedInstanceFilter(dicom, origin) return false end")
    result = tmp_path / "capture.dcm"
    result.write_bytes(builders.part10(builders.capture()))
    with OrthancServer(tmp_path / "orthanc", lua_scripts=[lua]) as orthanc:
        strict = OrthancPeer(name="strict", url=orthanc.url)

        with pytest.raises(DeliveryRefused, match=r"capture\.dcm: FilteredOut"):
            client.push(strict, [result])


def test_the_password_comes_from_its_file(tmp_path: Path) -> None:
    """The right one opens, a wrong one waits for a person, a missing file is said at once."""
    password = tmp_path / "password"
    with SecuredOrthanc(tmp_path / "orthanc", settings=SECURED) as orthanc:
        peer = OrthancPeer(name="pacs", url=orthanc.url, user="lumbar", password_file=password)
        with pytest.raises(Misconfigured, match="cannot read password_file"):
            client.ping(peer)
        password.write_text("wrong\n")
        with pytest.raises(DestinationUnavailable, match="does not let user 'lumbar' in"):
            client.ping(peer)
        password.write_text("right\n")
        assert client.ping(peer).startswith("1.")


def test_the_state_is_written_into_the_study(orthanc: OrthancServer, peer: OrthancPeer) -> None:
    """A user of Orthanc reads it there; a study deleted meanwhile is no error."""
    study = orthanc.upload(builders.part10(builders.mr_image()))

    client.note(peer, builders.uid("study", "1"), "done")
    client.note(peer, "1.2.3", "done")

    assert orthanc.get(f"/studies/{study}/metadata?expand")["4200"] == "done"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (507, b'{"Message": "Insufficient storage"}'),
        (503, b"maintenance"),
        (409, b"not JSON"),
        (404, b"nothing here"),
        (200, b"<html>please log in</html>"),
    ],
)
def test_every_other_answer_is_tried_again(
    answering: Callable[[int, bytes], OrthancPeer], status: int, body: bytes, tmp_path: Path
) -> None:
    """Whatever a person or time can mend waits; the message names the Orthanc."""
    odd = answering(status, body)
    result = tmp_path / "capture.dcm"
    result.write_bytes(builders.part10(builders.capture()))

    for call in (lambda: client.ping(odd), lambda: client.push(odd, [result])):
        with pytest.raises(LumbarError, match="'odd'") as caught:
            call()
        assert isinstance(caught.value, DestinationUnavailable)


def test_nobody_at_the_address_is_tried_again() -> None:
    """A refused connection names the Orthanc and its address."""
    nobody = OrthancPeer(name="gone", url=f"http://127.0.0.1:{free_port()}")

    with pytest.raises(DestinationUnavailable, match=r"'gone' at http.* does not answer"):
        client.ping(nobody)
