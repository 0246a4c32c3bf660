"""Results into a DICOMweb archive by STOW-RS, a few at a time, each with its own verdict."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import requests
import structlog
from pydicom import Dataset, dcmread

from node.config import DicomwebPeer
from node.dicom import statuses
from node.dicom.dicomweb.archive import Service, connected
from node.dicom.reading.limits import InstanceFacts, check_file
from node.dicom.sent import Ladder, Sent
from node.errors import DeliveryRefused, DestinationUnavailable

log = structlog.get_logger()

#: Bytes of files in one request; one file may have more.
BATCH = 8 << 20
TOO_LARGE = 413


def push(peer: DicomwebPeer, files: Sequence[Path], ladder: Ladder | None = None) -> list[Sent]:
    """Store results that the peer does not have yet; return what became of each.

    A push that was cut off, or of which the peer could not take all, may be repeated: it goes on
    with what is missing.

    Parameters
    ----------
    peer : DicomwebPeer
    files : sequence of Path
        Of one study.
    ladder : Ladder, optional
        With it, an object whose class the peer does not know is stored as the first class below
        that it knows, or left out.

    Raises
    ------
    DestinationUnavailable
        The peer does not answer, or cannot take some of them now.
    DeliveryRefused
        It refused objects for good; the others are stored.
    Misconfigured
        A secret cannot be read.
    """
    objects = [(path, check_file(path)) for path in files]
    with connected(peer) as service:
        there = service.instances(objects[0][1].study_uid) if objects else frozenset()
        sent = [_sent(facts, statuses.SUCCESS) for _, facts in objects if _is_in(facts, there)]
        missing = [o for o in objects if not _is_in(o[1], there)]
        for batch in _batches(missing):
            sent += _store_all(service, batch)
        if ladder is not None:
            sent = [_stepped_down(service, objects, one, ladder) for one in sent]
    _raise_for(peer, sent, len(files), may_leave_out=ladder is not None)
    log.info("pushed", dicomweb=peer.name, objects=sum(one.is_stored for one in sent))
    return sent


def _store_all(service: Service, batch: Sequence[tuple[Path, InstanceFacts]]) -> list[Sent]:
    """Store a few objects; a batch that is too large for the peer goes one by one."""
    try:
        answer = service.store([dcmread(path) for path, _ in batch])
    except requests.HTTPError as error:
        if len(batch) == 1 or error.response.status_code != TOO_LARGE:
            raise
        return [sent for one in batch for sent in _store_all(service, [one])]
    told = _verdicts(answer)
    silent = [facts for _, facts in batch if facts.sop_instance_uid not in told]
    if silent:
        # It said yes without saying to what.
        there = service.instances(silent[0].study_uid)
        told |= {f.sop_instance_uid: statuses.SUCCESS for f in silent if _is_in(f, there)}
    busy = statuses.OUT_OF_RESOURCES  # what it does not have and does not name: again later
    return [_sent(facts, told.get(facts.sop_instance_uid, busy)) for _, facts in batch]


def _batches(
    objects: Iterable[tuple[Path, InstanceFacts]],
) -> Iterator[list[tuple[Path, InstanceFacts]]]:
    batch: list[tuple[Path, InstanceFacts]] = []
    size = 0
    for path, facts in objects:
        bytes_ = path.stat().st_size
        if batch and size + bytes_ > BATCH:
            yield batch
            batch, size = [], 0
        batch.append((path, facts))
        size += bytes_
    if batch:
        yield batch


def _verdicts(answer: Dataset) -> dict[str, int]:
    """Return the status of each instance that a Store Instances Response names."""
    stored = {
        str(item.ReferencedSOPInstanceUID): statuses.SUCCESS
        for item in answer.get("ReferencedSOPSequence") or ()
    }
    failed = {
        str(item.ReferencedSOPInstanceUID): int(
            item.get("FailureReason") or statuses.CANNOT_UNDERSTAND
        )
        for item in answer.get("FailedSOPSequence") or ()
        if "ReferencedSOPInstanceUID" in item
    }
    return stored | failed


def _stepped_down(
    service: Service,
    objects: Sequence[tuple[Path, InstanceFacts]],
    one: Sent,
    ladder: Ladder,
) -> Sent:
    """Store an object of an unknown class as the first class below it that is known."""
    if not one.is_unknown:
        return one
    path = next(p for p, facts in objects if facts.sop_instance_uid == one.sop_instance_uid)
    for sop_class in ladder.below(one.sop_class_uid):
        lower = ladder.lower(dcmread(path), sop_class)
        status = _verdicts(service.store([lower])).get(one.sop_instance_uid)
        if status != statuses.CLASS_NOT_SUPPORTED:
            return Sent(one.sop_instance_uid, status, one.sop_class_uid, sop_class)
    return one


def _raise_for(
    peer: DicomwebPeer, sent: Sequence[Sent], count: int, *, may_leave_out: bool
) -> None:
    late = [s for s in sent if s.status is not None and statuses.is_temporary(s.status)]
    refused = [
        s
        for s in sent
        if not s.is_stored and s not in late and not (may_leave_out and s.is_unknown)
    ]
    if late:
        raise DestinationUnavailable(
            f"{peer.name} cannot take {len(late)} of {count} objects now ({late[0].meaning}): "
            "they will be tried again"
        )
    if refused:
        lines = "; ".join(f"{s.sop_instance_uid}: {s.meaning}" for s in refused[:5])
        raise DeliveryRefused(
            f"{peer.name} refused {len(refused)} of {count} objects ({lines}): ask its "
            "administrator to accept them, then requeue the study"
        )


def _sent(facts: InstanceFacts, status: int) -> Sent:
    return Sent(facts.sop_instance_uid, status, facts.sop_class_uid, facts.sop_class_uid)


def _is_in(facts: InstanceFacts, there: frozenset[str]) -> bool:
    return facts.sop_instance_uid in there
