"""What the Orthanc plugin makes of the node's answers, over real HTTP."""

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from node.loopback import free_port
from orthanc import plugin

Answer = tuple[int, bytes]


@pytest.fixture
def node() -> Iterator[Callable[[int, bytes], plugin.Settings]]:
    """Start nodes that give one answer; return the plugin's settings for each."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int, body: bytes) -> plugin.Settings:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                is_right = self.headers["Authorization"] == "Bearer token"
                self.send_response(status if is_right and self.path.endswith("/ab-1") else 418)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return settings(server.server_port)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def settings(port: int, timeout_s: float = 5.0) -> plugin.Settings:
    return plugin.Settings(
        node_url=f"http://127.0.0.1:{port}",
        peer="pacs",
        token="token",  # noqa: S106
        retry_s=1.0,
        timeout_s=timeout_s,
        stable_age_s=1.0,
    )


def test_an_accepting_node_is_told(node: Callable[[int, bytes], plugin.Settings]) -> None:
    """The request carries the token and names the study; 202 is a yes."""
    assert plugin.tell(node(202, b"{}"), "ab-1") == ""


def test_only_422_is_a_no_for_good(node: Callable[[int, bytes], plugin.Settings]) -> None:
    """The reason is the node's own sentence."""
    refusing = node(422, b'{"detail": "not a lumbar spine"}')

    assert plugin.tell(refusing, "ab-1") == "not a lumbar spine"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, b'{"detail": "no Orthanc is called that"}'), "404: no Orthanc is called that"),
        ((401, b'{"detail": "a bearer token is needed"}'), "401: a bearer token is needed"),
        ((503, b"<html>busy</html>"), "503: Service Unavailable"),
        ((500, b'["no object"]'), "500: Internal Server Error"),
    ],
)
def test_every_other_answer_is_tried_again(
    node: Callable[[int, bytes], plugin.Settings], answer: Answer, words: str
) -> None:
    """A wrong token or peer is a person's mistake: the study waits until it is mended."""
    with pytest.raises(plugin.NotTold, match=words) as caught:
        plugin.tell(node(*answer), "ab-1")
    assert not isinstance(caught.value, plugin.NodeSilent)


def test_nobody_there_is_silence() -> None:
    """A refused connection says so in words."""
    with pytest.raises(plugin.NodeSilent, match=r"does not answer: .*refused"):
        plugin.tell(settings(free_port()), "ab-1")


def test_a_node_that_accepts_and_then_says_nothing_is_silent() -> None:
    """The plugin's thread is never held longer than TimeoutSeconds."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        waiting = settings(mute.getsockname()[1], timeout_s=0.2)
        with pytest.raises(plugin.NodeSilent, match="timed out"):
            plugin.tell(waiting, "ab-1")


def test_a_node_that_breaks_off_is_silent() -> None:
    """A connection closed without an answer is no answer."""
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def hang_up() -> None:
            connection, _ = rude.accept()
            connection.recv(1024)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(plugin.NodeSilent):
            plugin.tell(settings(rude.getsockname()[1]), "ab-1")
        thread.join()


def test_a_peer_that_speaks_no_http_is_silent() -> None:
    """Some other service on the port does not stop the plugin's thread."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            connection, _ = other.accept()
            connection.recv(1024)
            connection.sendall(b"220 mail.example ESMTP\r\n")
            connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(plugin.NodeSilent):
            plugin.tell(settings(other.getsockname()[1]), "ab-1")
        thread.join()
