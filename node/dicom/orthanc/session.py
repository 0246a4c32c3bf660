"""One conversation with an Orthanc: a time limit for each request, our errors for its answers.

Short interruptions are retried by the client itself, longer ones by whoever called.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orthanc_api_client import OrthancApiClient
from orthanc_api_client import exceptions as refused

from node.config import OrthancPeer
from node.errors import DeliveryRefused, DestinationUnavailable, Misconfigured

#: Seconds to connect, and between two pieces of an answer.
TIMEOUT_S = (5.0, 60.0)
#: The same for a search: Orthanc answers when it has looked at every study.
SEARCH_S = (5.0, 1800.0)
#: HTTP answers that will be the same next time: not DICOM, too large, not a type it takes.
REFUSALS = frozenset({400, 413, 415})

Missing = refused.ResourceNotFound


def ping(peer: OrthancPeer) -> str:
    """Return the version of a peer's Orthanc.

    Raises
    ------
    DestinationUnavailable, Misconfigured
    """
    with connected(peer) as orthanc:
        return str(orthanc.read("system")["Version"])


class Session:
    """The few requests used here, each with a time limit and a checked answer.

    All of them raise `Missing` for what Orthanc does not have.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def bytes(self, path: str) -> bytes:
        """Return the answer to a GET."""
        return bytes(_answered(self._client.get(path, timeout=TIMEOUT_S)).content)

    def read(self, path: str) -> Any:
        """Return the JSON answer to a GET."""
        return _parsed(self.bytes(path))

    def write(self, path: str, text: str) -> None:
        """PUT a text."""
        _answered(self._client.put(path, data=text.encode("utf-8"), timeout=TIMEOUT_S))

    def lookup(self, uid: str, kind: str) -> list[str]:
        """Return Orthanc's identifiers of what has a UID; ``kind`` is ``Study``, ``Instance``...

        One Study Instance UID under two patients is two studies.
        """
        answer = self._client.post("tools/lookup", data=uid, timeout=TIMEOUT_S)
        return [r["ID"] for r in _parsed(_answered(answer).content) if r["Type"] == kind]

    def find(self, level: str, query: Mapping[str, str]) -> list[Any]:
        """Return Orthanc's identifiers of what matches, all at once: a page could miss one."""
        asked = {"Level": level, "Query": dict(query)}
        answer = self._client.post("tools/find", json=asked, timeout=SEARCH_S)
        return list(_parsed(_answered(answer).content))

    def store(self, path: Path) -> str:
        """Upload a file and return Orthanc's verdict on it."""
        answer = self._client.post("instances", data=path.read_bytes(), timeout=TIMEOUT_S)
        return str(_parsed(_answered(answer).content)["Status"])


@contextmanager
def connected(peer: OrthancPeer) -> Iterator[Session]:
    """Open a session; what goes wrong in it leaves as one of our errors."""
    client = OrthancApiClient(peer.url.rstrip("/") + "/", user=peer.user, pwd=_password(peer))
    where = f"Orthanc {peer.name!r} at {peer.url}"
    try:
        yield Session(client)
    except refused.NotAuthorized as error:
        raise DestinationUnavailable(
            f"{where} does not let user {peer.user!r} in: check orthanc.user and password_file"
        ) from error
    except (refused.ConnectionError, refused.TimeoutError) as error:
        raise DestinationUnavailable(f"{where} does not answer; it is tried again") from error
    except refused.ResourceNotFound as error:
        raise DestinationUnavailable(f"{where} has no {error.url}: check the address") from error
    except refused.HttpError as error:
        message = f"{where} answers {error.http_status_code}: {error.msg}"
        if error.http_status_code in REFUSALS:
            raise DeliveryRefused(message) from error
        raise DestinationUnavailable(message) from error
    finally:
        client.close()


def _answered(answer: Any) -> Any:
    # The client returns None for the failures of requests that it does not know, such as a
    # connection cut in the middle of an answer.
    if answer is None:
        raise refused.ConnectionError
    return answer


def _parsed(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError as error:  # a proxy's login page, some other server
        raise refused.HttpError(200, "what is no answer of an Orthanc") from error


def _password(peer: OrthancPeer) -> str:
    if peer.password_file is None:
        return ""
    try:
        return peer.password_file.read_text("utf-8").strip()
    except OSError as error:
        raise Misconfigured(
            f"orthanc {peer.name!r}: cannot read password_file {peer.password_file}: "
            f"{error.strerror}"
        ) from error
