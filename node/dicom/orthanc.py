"""Studies out of an Orthanc and results back into it, over its REST API (orthanc-api-client).

The Orthanc side of the same conversation is ``orthanc/plugin.py``. Every request has a time limit;
short interruptions are retried by the client itself, longer ones by whoever called.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog
from orthanc_api_client import OrthancApiClient
from orthanc_api_client import exceptions as refused

from node.config import OrthancPeer
from node.dicom.negotiation import KEPT_CLASSES
from node.errors import (
    DeliveryRefused,
    DestinationUnavailable,
    Misconfigured,
    NotAssessable,
    RetryLater,
)

#: User-defined metadata in which a study's state stands; the plugin writes the first words of it.
STATE_METADATA = 4200
#: Seconds to connect, and between two pieces of an answer.
TIMEOUT_S = (5.0, 60.0)
#: HTTP answers that will be the same next time: not DICOM, too large, not a type it takes.
REFUSALS = frozenset({400, 413, 415})

log = structlog.get_logger()


def ping(peer: OrthancPeer) -> str:
    """Return the version of a peer's Orthanc.

    Raises
    ------
    DestinationUnavailable, Misconfigured
    """
    with _connected(peer) as orthanc:
        return str(orthanc.read("system")["Version"])


def pull(peer: OrthancPeer, study_id: str, sink: Callable[[bytes], None]) -> int:
    """Hand every MR image of a study to ``sink``, as the bytes that Orthanc stores.

    Parameters
    ----------
    peer : OrthancPeer
    study_id : str
        Orthanc's own identifier of the study.
    sink : callable
        Takes one DICOM file (PS3.10); called once for each image, one after the other.

    Returns
    -------
    int
        How many images.

    Raises
    ------
    NotAssessable
        Orthanc does not have the study, or it holds no MR image.
    RetryLater
        The study changed while it was read.
    DestinationUnavailable
        Orthanc does not answer.
    Misconfigured
        The password file cannot be read.
    """
    with _connected(peer) as orthanc:
        try:
            series = orthanc.read(f"studies/{study_id}/series")
        except refused.ResourceNotFound as error:
            raise NotAssessable(
                f"Orthanc {peer.name!r} has no study {study_id} (any more): nothing to assess"
            ) from error
        try:
            images = [i for s in series if orthanc.is_mr(s) for i in s["Instances"]]
            if not images:
                raise NotAssessable(f"study {study_id} in Orthanc {peer.name!r} holds no MR image")
            for image in images:
                sink(orthanc.bytes(f"instances/{image}/file"))
            count = orthanc.read(f"studies/{study_id}/statistics")["CountInstances"]
        except refused.ResourceNotFound as error:
            raise _changed(peer, study_id) from error
        if int(count) != sum(len(s["Instances"]) for s in series):
            raise _changed(peer, study_id)
    log.info("pulled", orthanc=peer.name, orthanc_study=study_id, instances=len(images))
    return len(images)


def push(peer: OrthancPeer, files: Sequence[Path]) -> int:
    """Upload results and look each one up again; return how many arrived, which is all of them.

    Uploading an object that Orthanc has already is no error, so a push may be repeated.

    Raises
    ------
    DeliveryRefused
        Orthanc will not store an object, now or later.
    DestinationUnavailable
        Orthanc does not answer, has no room, or does not have what it just took.
    Misconfigured
        The password file cannot be read.
    """
    with _connected(peer) as orthanc:
        for path in files:
            status, instance = orthanc.store(path)
            if status not in {"Success", "AlreadyStored"}:
                raise DeliveryRefused(f"Orthanc {peer.name!r} does not keep {path.name}: {status}")
            try:
                orthanc.read(f"instances/{instance}")
            except refused.ResourceNotFound as error:
                raise DestinationUnavailable(
                    f"Orthanc {peer.name!r} took {path.name} but does not have it; it is sent again"
                ) from error
    log.info("pushed", orthanc=peer.name, objects=len(files))
    return len(files)


def note(peer: OrthancPeer, study_uid: str, state: str) -> None:
    """Write a study's state, in words, where a user of Orthanc sees it.

    Parameters
    ----------
    peer : OrthancPeer
    study_uid : str
        Study Instance UID; a study that Orthanc does not have (any more) is no error.
    state : str
        Such as ``done`` or ``rejected: not a lumbar spine``.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    with _connected(peer) as orthanc:
        for study_id in orthanc.studies(study_uid):
            with suppress(refused.ResourceNotFound):  # deleted in this moment
                orthanc.write(f"studies/{study_id}/metadata/{STATE_METADATA}", state)


class _Orthanc:
    """The few requests used here, each with a time limit and a checked answer."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def bytes(self, path: str) -> bytes:
        return bytes(_answered(self._client.get(path, timeout=TIMEOUT_S)).content)

    def read(self, path: str) -> Any:
        return _parsed(self.bytes(path))

    def write(self, path: str, text: str) -> None:
        _answered(self._client.put(path, data=text.encode("utf-8"), timeout=TIMEOUT_S))

    def studies(self, study_uid: str) -> list[str]:
        """Return Orthanc's identifiers of a study; one UID under two patients is two studies."""
        answer = self._client.post("tools/lookup", data=study_uid, timeout=TIMEOUT_S)
        return [r["ID"] for r in _parsed(_answered(answer).content) if r["Type"] == "Study"]

    def store(self, path: Path) -> tuple[str, str]:
        """Return Orthanc's verdict on a file, and its identifier of the instance."""
        answer = self._client.post("instances", data=path.read_bytes(), timeout=TIMEOUT_S)
        stored = _parsed(_answered(answer).content)
        return stored["Status"], stored.get("ID", "")

    def is_mr(self, series: dict[str, Any]) -> bool:
        """Tell whether a series holds MR images; a capture may be configured to say MR as well."""
        if series["MainDicomTags"].get("Modality") != "MR":
            return False
        try:
            uid = self.bytes(f"instances/{series['Instances'][0]}/metadata/SopClassUid")
        except refused.ResourceNotFound:  # an image stored by a very old Orthanc
            return True
        return uid.decode("ascii").rstrip("\0 ") in KEPT_CLASSES


@contextmanager
def _connected(peer: OrthancPeer) -> Iterator[_Orthanc]:
    """Open a session; what goes wrong in it leaves as one of our errors."""
    client = OrthancApiClient(peer.url.rstrip("/") + "/", user=peer.user, pwd=_password(peer))
    where = f"Orthanc {peer.name!r} at {peer.url}"
    try:
        yield _Orthanc(client)
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


def _changed(peer: OrthancPeer, study_id: str) -> RetryLater:
    return RetryLater(
        f"study {study_id} in Orthanc {peer.name!r} changed while it was read; it is read again"
    )


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
