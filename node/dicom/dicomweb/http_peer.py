"""Sessions with the peers of PS3.18: what they ask for at the door, and what their answers mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from node.config import WebPeer
from node.dicom.dicomweb.multipart import BrokenMessage
from node.errors import DeliveryRefused, DestinationUnavailable, Misconfigured

#: Seconds to connect.
CONNECT_S = 5.0
#: HTTP answers that will be the same next time: not understood, too large, not a type it takes.
REFUSALS = frozenset({400, 406, 409, 410, 413, 415, 422})


@contextmanager
def speaking(peer: WebPeer, kind: str) -> Iterator[requests.Session]:
    """Open a session; what goes wrong in it leaves as one of our errors.

    Raises
    ------
    DestinationUnavailable
        The peer does not answer, breaks off, or does not let this node in.
    DeliveryRefused
        It will never take this request.
    Misconfigured
        A secret cannot be read.
    """
    where = f"{kind} {peer.name!r} at {peer.url}"
    with _session(peer) as session:
        try:
            yield session
        except requests.HTTPError as error:
            raise _refusal(where, error.response) from error
        except requests.exceptions.SSLError as error:
            raise DestinationUnavailable(
                f"{where}: the TLS handshake failed: check ca_file, certificate_file and key_file"
            ) from error
        except (BrokenMessage, ValueError) as error:
            raise DestinationUnavailable(
                f"{where} does not answer as {kind} does: check the address"
            ) from error
        except requests.RequestException as error:
            raise DestinationUnavailable(
                f"{where} does not answer, or broke off; it is tried again"
            ) from error


def _session(peer: WebPeer) -> requests.Session:
    """Return a session that shows token, password or certificate."""
    session = requests.Session()
    session.trust_env = False  # a proxy or a .netrc of whoever started the node is no setting
    if peer.token_file:
        session.headers["Authorization"] = f"Bearer {_secret(peer, peer.token_file)}"
    if peer.password_file:
        session.auth = (peer.user, _secret(peer, peer.password_file))
    if peer.certificate_file and peer.key_file:
        session.cert = (str(peer.certificate_file), str(peer.key_file))
    if peer.ca_file:
        session.verify = str(peer.ca_file)
    return session


def _secret(peer: WebPeer, path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise Misconfigured(f"{peer.name!r}: cannot read {path}: {error.strerror}") from error


def _refusal(where: str, answer: requests.Response) -> DeliveryRefused | DestinationUnavailable:
    status = answer.status_code
    if status in {401, 403}:
        return DestinationUnavailable(
            f"{where} does not let this node in ({status}): check token_file, user and "
            "password_file, or certificate_file"
        )
    if status in {404, 405}:
        return DestinationUnavailable(f"{where} answers {status}: check the address")
    if status in REFUSALS:
        return DeliveryRefused(f"{where} answers {status}: it does not take this request")
    return DestinationUnavailable(f"{where} answers {status}; it is tried again")
