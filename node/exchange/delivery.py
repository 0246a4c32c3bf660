"""One result set to one destination: what it accepts decides what it gets."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydicom.uid import UID, SecondaryCaptureImageStorage

from node.config import Destination, DicomwebPeer, Tls
from node.dicom import sender
from node.dicom.dicomweb import stow
from node.dicom.reading.limits import check_file
from node.dicom.sent import Ladder, Sent
from node.errors import DeliveryRefused
from node.exchange.outbox import Delivered, Stored
from node.results import LADDER, downgrade

_LADDER = Ladder(LADDER, downgrade)


def deliver(
    files: Sequence[Path], destination: Destination, calling_ae: str, tls: Tls | None = None
) -> Delivered:
    """Send a result set, the report as the best class that the destination accepts.

    What it does not accept is left out: that is no failure as long as it has the captures or the
    report, since either shows every finding.

    Parameters
    ----------
    files : sequence of Path
        In delivery order.
    destination : config.Destination
    calling_ae : str
        This node's AE title.
    tls : config.Tls, optional
        The files for a destination that wants TLS.

    Returns
    -------
    Delivered
        Its message is for the destination's administrator, and empty when it got everything as
        it was made.

    Raises
    ------
    DestinationUnavailable
        When it does not answer: the same again later is right.
    DeliveryRefused
        When it takes neither captures nor report, or refused an object for good.
    """
    sent = sender.send(files, destination, calling_ae, ladder=_LADDER, tls=tls).sent
    return _judged(destination.name, files, sent)


def deliver_web(files: Sequence[Path], peer: DicomwebPeer) -> Delivered:
    """Store a result set in a DICOMweb archive as `deliver` does at a DICOM destination.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused
        As `deliver`.
    """
    return _judged(peer.name, files, stow.push(peer, files, _LADDER))


def _judged(name: str, files: Sequence[Path], sent: Sequence[Sent]) -> Delivered:
    """Say what a destination got differently; refuse when it got nothing that shows findings."""
    shown = {*LADDER, SecondaryCaptureImageStorage}
    if not any(one.is_stored and one.sop_class_uid in shown for one in sent):
        raise DeliveryRefused(
            f"{name} accepts neither key images nor report ({_left_out(sent)}): ask "
            "its administrator to accept Secondary Capture and Comprehensive 3D SR, then requeue "
            "the study"
        )
    message = "; ".join(filter(None, [_stepped_down(sent), _left_out(sent)]))
    series = {facts.sop_instance_uid: facts.series_uid for facts in map(check_file, files)}
    stored = [
        Stored(one.sent_as, one.sop_instance_uid, series[one.sop_instance_uid])
        for one in sent
        if one.is_stored
    ]
    return Delivered(message, stored)


def _stepped_down(sent: Iterable[Sent]) -> str:
    return "; ".join(
        f"report sent as {_name(one.sent_as)}, since {_name(one.sop_class_uid)} is not accepted"
        for one in sent
        if one.is_stored and one.sent_as != one.sop_class_uid
    )


def _left_out(sent: Iterable[Sent]) -> str:
    counts = Counter(_rungs(one.sop_class_uid) for one in sent if one.is_unknown)
    parts = [f"{names} ({n} object{'s' * (n > 1)})" for names, n in counts.items()]
    return f"left out, not accepted: {', '.join(parts)}" if parts else ""


def _rungs(sop_class_uid: str) -> str:
    """Name a class, and those below it that were not accepted either."""
    names = [_name(uid) for uid in (sop_class_uid, *_LADDER.below(sop_class_uid))]
    return " or ".join(names)


def _name(sop_class_uid: str) -> str:
    return str(UID(sop_class_uid).name).removesuffix(" Storage")
