"""Put results and states into an Orthanc, and see that they are there."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from pydicom import dcmread

from node.config import Destination, OrthancPeer
from node.dicom import sender
from node.dicom.orthanc.session import Missing, Session, connected
from node.errors import DeliveryRefused, DestinationUnavailable

#: User-defined metadata of a study: its state in words, whose first words the plugin writes, and
#: the address of its review page.
STATE_METADATA, REVIEW_METADATA = 4200, 4202

log = structlog.get_logger()


def push(peer: OrthancPeer, files: Sequence[Path], calling_ae: str = "LUMBAR") -> int:
    """Hand results over and look each one up again; return how many arrived, which is all of them.

    By REST or, where ``peer.push`` says so, by C-STORE to the port and AE title that Orthanc
    itself names. Handing over an object that Orthanc has already is no error, so a push may be
    repeated.

    Raises
    ------
    DeliveryRefused
        Orthanc will not store an object, now or later.
    DestinationUnavailable
        Orthanc does not answer, has no room, or does not have what it just took.
    Misconfigured
        The password file cannot be read.
    """
    with connected(peer) as orthanc:
        if peer.push == "dicom":
            sender.send(files, _listener(orthanc, peer), calling_ae)
        else:
            for path in files:
                status = orthanc.store(path)
                if status not in {"Success", "AlreadyStored"}:
                    raise DeliveryRefused(
                        f"Orthanc {peer.name!r} does not keep {path.name}: {status}"
                    )
        for path in files:
            uid = str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
            if not orthanc.lookup(uid, "Instance"):
                raise DestinationUnavailable(
                    f"Orthanc {peer.name!r} took {path.name} but does not have it; it is sent again"
                )
    log.info("pushed", destination=peer.name, objects=len(files), by=peer.push)
    return len(files)


def note(peer: OrthancPeer, study_uid: str, state: str, review: str = "") -> None:
    """Write a study's state, in words, where a user of Orthanc sees it.

    Parameters
    ----------
    peer : OrthancPeer
    study_uid : str
        Study Instance UID; a study that Orthanc does not have (any more) is no error.
    state : str
        Such as ``done`` or ``rejected: not a lumbar spine``.
    review : str
        The address of its review page, when there is one.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    with connected(peer) as orthanc:
        texts = {STATE_METADATA: state} | ({REVIEW_METADATA: review} if review else {})
        for study_id in orthanc.lookup(study_uid, "Study"):
            _write(orthanc, study_id, texts)


def say(peer: OrthancPeer, study_id: str, state: str) -> None:
    """Write the state of a study that only Orthanc's own identifier names; else as `note`."""
    with connected(peer) as orthanc:
        _write(orthanc, study_id, {STATE_METADATA: state})


def _write(orthanc: Session, study_id: str, texts: Mapping[int, str]) -> None:
    with suppress(Missing):  # deleted in this moment
        for number, text in texts.items():
            orthanc.write(f"studies/{study_id}/metadata/{number}", text)


def _listener(orthanc: Session, peer: OrthancPeer) -> Destination:
    system = orthanc.read("system")
    return Destination(
        name=peer.name,
        host=urlsplit(peer.url).hostname or "",
        port=system["DicomPort"],
        ae_title=system["DicomAet"],
    )
