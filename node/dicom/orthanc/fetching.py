"""Fetch the MR images of a study, all of them or the chosen series only, and none of them twice."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from node.config import OrthancPeer
from node.dicom.orthanc.headers import chosen_series
from node.dicom.orthanc.session import Missing, Session, connected
from node.dicom.upper_layer.negotiation import KEPT_CLASSES
from node.errors import NotAssessable, RetryLater

log = structlog.get_logger()


@dataclass(frozen=True)
class Fetched:
    """What a pull brought.

    Attributes
    ----------
    study_uid : str
        Study Instance UID.
    images : int
        How many images were wanted; all of them were handed over, now or before.
    new : int
        How many of them were fetched now.
    """

    study_uid: str
    images: int
    new: int


def pull(
    peer: OrthancPeer,
    study_id: str,
    sink: Callable[[bytes], None],
    held: Callable[[str], Collection[str]] = lambda _: (),
) -> Fetched:
    """Hand MR images of a study to ``sink``, as the bytes that Orthanc stores.

    Which images depends on ``peer.pull``: those of the whole study, or only those of the series
    that can be sagittal T1, sagittal T2 and axial T2, chosen from headers alone.

    Parameters
    ----------
    peer : OrthancPeer
    study_id : str
        Orthanc's own identifier of the study.
    sink : callable
        Takes one DICOM file (PS3.10); called once for each image, one after the other.
    held : callable
        A Study Instance UID to the SOP Instance UIDs that need not be fetched, because an
        earlier pull that was cut off has brought them.

    Raises
    ------
    NotAssessable
        Orthanc does not have the study, it holds no MR image, or none of its series is usable.
    RetryLater
        The study changed while it was read.
    DestinationUnavailable
        Orthanc does not answer.
    Misconfigured
        The password file cannot be read.
    """
    with connected(peer) as orthanc:
        try:
            series = orthanc.read(f"studies/{study_id}/series")
            study_uid = orthanc.read(f"studies/{study_id}")["MainDicomTags"]["StudyInstanceUID"]
        except Missing as error:
            raise NotAssessable(
                f"Orthanc {peer.name!r} has no study {study_id} (any more): nothing to assess"
            ) from error
        try:
            wanted = _wanted(orthanc, peer, study_id, series)
            there = held(study_uid)
            missing = [i for i, uid in wanted.items() if uid not in there]
            for image in missing:
                sink(orthanc.bytes(f"instances/{image}/file"))
            count = orthanc.read(f"studies/{study_id}/statistics")["CountInstances"]
        except Missing as error:
            raise _changed(peer, study_id) from error
        if int(count) != sum(len(s["Instances"]) for s in series):
            raise _changed(peer, study_id)
    log.info(
        "pulled",
        study_uid=study_uid,
        source=peer.name,
        images=len(wanted),
        new=len(missing),
    )
    return Fetched(study_uid, len(wanted), len(missing))


def search(peer: OrthancPeer, query: Mapping[str, str]) -> list[str]:
    """Return Orthanc's identifiers of the studies that match DICOM keywords and their values.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    with connected(peer) as orthanc:
        return [str(found) for found in orthanc.find("Study", query)]


def images(peer: OrthancPeer, study_id: str) -> tuple[str, frozenset[str]]:
    """Return the UID of a study, and of the images that `pull` would hand over.

    Raises
    ------
    LumbarError
        As `pull`.
    """
    with connected(peer) as orthanc:
        try:
            series = orthanc.read(f"studies/{study_id}/series")
            study_uid = orthanc.read(f"studies/{study_id}")["MainDicomTags"]["StudyInstanceUID"]
            return study_uid, frozenset(_wanted(orthanc, peer, study_id, series).values())
        except Missing as error:
            raise _changed(peer, study_id) from error


def _wanted(
    orthanc: Session, peer: OrthancPeer, study_id: str, series: Sequence[Any]
) -> dict[str, str]:
    """Return Orthanc's identifier and the SOP Instance UID of every image to fetch."""
    mr = [s for s in series if _is_mr(orthanc, s)]
    if not mr:
        raise NotAssessable(f"study {study_id} in Orthanc {peer.name!r} holds no MR image")
    if peer.pull == "series":
        mr = chosen_series(orthanc, mr)
    return {
        image["ID"]: image["MainDicomTags"]["SOPInstanceUID"]
        for s in mr
        for image in orthanc.read(f"series/{s['ID']}/instances")
    }


def _is_mr(orthanc: Session, series: dict[str, Any]) -> bool:
    """Tell whether a series holds MR images; a capture may be configured to say MR as well."""
    if series["MainDicomTags"].get("Modality") != "MR":
        return False
    try:
        uid = orthanc.bytes(f"instances/{series['Instances'][0]}/metadata/SopClassUid")
    except Missing:  # an image stored by a very old Orthanc
        return True
    return uid.decode("ascii").rstrip("\0 ") in KEPT_CLASSES


def _changed(peer: OrthancPeer, study_id: str) -> RetryLater:
    return RetryLater(
        f"study {study_id} in Orthanc {peer.name!r} changed while it was read; it is read again"
    )
