"""Studies out of a DICOMweb archive and results into it: QIDO-RS, WADO-RS, STOW-RS.

The only file that knows ``dicomweb-client``. It holds whole messages in memory, so instances are
retrieved on its session and parsed here as they come, and stored a few at a time.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import structlog
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread

from node.config import DicomwebPeer
from node.dicom import statuses
from node.dicom.http_peer import CONNECT_S, speaking
from node.dicom.limits import InstanceFacts, check_file
from node.dicom.multipart import MultipartReader, Part
from node.dicom.sent import Ladder, Sent
from node.errors import (
    DeliveryRefused,
    DestinationUnavailable,
    NotAssessable,
    RetryLater,
)

log = structlog.get_logger()

#: Bytes of files in one STOW-RS request; one file may have more.
BATCH = 8 << 20
CHUNK = 256 << 10
TOO_LARGE = 413
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def ping(peer: DicomwebPeer) -> None:
    """Ask a peer for one study.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
        When it does not answer as DICOMweb does.
    """
    with _connected(peer) as service:
        service.client.search_for_studies(limit=1)


def search(peer: DicomwebPeer, filters: dict[str, str], limit: int) -> list[str]:
    """Return the Study Instance UIDs that match, in the order of the peer.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    with _connected(peer) as service:
        found = service.client.search_for_studies(search_filters=filters, limit=limit)
        return [uid for study in found if (uid := _value(study, "0020000D"))]


def pull(
    peer: DicomwebPeer,
    study_uid: str,
    open_part: Callable[[], Part],
    held: Collection[str] = (),
) -> int:
    """Retrieve the MR series of a study, each file as the peer stores it.

    Parameters
    ----------
    peer : DicomwebPeer
    study_uid : str
    open_part : callable
        Called for each file; gets its bytes as they come.
    held : collection of str
        SOP Instance UIDs that are not retrieved again.

    Returns
    -------
    int
        How many files came.

    Raises
    ------
    NotAssessable
        The peer does not have the study, or it holds no MR series.
    RetryLater
        The study changed while it was read.
    DestinationUnavailable
        The peer does not answer, or broke off.
    Misconfigured
        A secret cannot be read.
    """
    with _connected(peer) as service:
        before = service.mr_images(study_uid)
        if not before:
            raise NotAssessable(f"{peer.name!r} has no MR series of study {study_uid}")
        count = expected = 0
        for series_uid, images in before.items():
            missing = sorted(images - set(held))
            expected += len(missing)
            # Whole, or, where an earlier try was cut off, what it did not get.
            wanted = [f"/instances/{i}" for i in missing] if len(missing) < len(images) else [""]
            for image in wanted:
                count += service.retrieve(f"{study_uid}/series/{series_uid}{image}", open_part)
        if count != expected or service.mr_images(study_uid) != before:
            raise RetryLater(
                f"study {study_uid} in {peer.name!r} changed while it was read; it is read again"
            )
    log.info("pulled", dicomweb=peer.name, study_uid=study_uid, instances=count)
    return count


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
    with _connected(peer) as service:
        there = service.instances(objects[0][1].study_uid) if objects else frozenset()
        sent = [_sent(facts, statuses.SUCCESS) for _, facts in objects if _is_in(facts, there)]
        missing = [o for o in objects if not _is_in(o[1], there)]
        for batch in _batches(missing):
            sent += service.store_all(batch)
        if ladder is not None:
            sent = [_stepped_down(service, objects, one, ladder) for one in sent]
    _raise_for(peer, sent, len(files), may_leave_out=ladder is not None)
    log.info("pushed", dicomweb=peer.name, objects=sum(one.is_stored for one in sent))
    return sent


@dataclass(frozen=True)
class _Service:
    """The few requests used here."""

    peer: DicomwebPeer
    session: requests.Session
    client: Any

    def mr_images(self, study_uid: str) -> dict[str, frozenset[str]]:
        """Return the instances of each MR series of a study."""
        found = self.client.search_for_series(study_uid, search_filters={"Modality": "MR"})
        # Some servers do not match on what they are asked to.
        series = [s for s in found if _value(s, "00080060") in {None, "MR"}]
        uids = [str(_value(s, "0020000E")) for s in series]
        return {uid: self.instances(study_uid, uid) for uid in uids}

    def instances(self, study_uid: str, series_uid: str | None = None) -> frozenset[str]:
        """Return the instances of a study, or of a series, that the peer has."""
        found = self.client.search_for_instances(study_uid, series_uid)
        return frozenset(str(_value(one, "00080018")) for one in found)

    def retrieve(self, what: str, open_part: Callable[[], Part]) -> int:
        """Retrieve a part of a study as it is stored; return how many files there were."""
        count = 0

        def counted() -> Part:
            nonlocal count
            count += 1
            return open_part()

        url = f"{self.peer.url.rstrip('/')}/studies/{what}"
        times = (CONNECT_S, self.peer.timeout_s)
        with self.session.get(
            url, headers={"Accept": _ACCEPT}, stream=True, timeout=times
        ) as answer:
            answer.raise_for_status()
            reader = MultipartReader(answer.headers.get("Content-Type", ""), counted)
            try:
                for chunk in answer.iter_content(CHUNK):
                    reader.feed(chunk)
                reader.close()
            finally:
                reader.drop()
        return count

    def store_all(self, batch: Sequence[tuple[Path, InstanceFacts]]) -> list[Sent]:
        """Store a few objects; a batch that is too large for the peer goes one by one."""
        try:
            answer = self.store([dcmread(path) for path, _ in batch])
        except requests.HTTPError as error:
            if len(batch) == 1 or error.response.status_code != TOO_LARGE:
                raise
            return [sent for one in batch for sent in self.store_all([one])]
        told = _verdicts(answer)
        silent = [facts for _, facts in batch if facts.sop_instance_uid not in told]
        if silent:
            # It said yes without saying to what.
            there = self.instances(silent[0].study_uid)
            told |= {f.sop_instance_uid: statuses.SUCCESS for f in silent if _is_in(f, there)}
        busy = statuses.OUT_OF_RESOURCES  # what it does not have and does not name: again later
        return [_sent(facts, told.get(facts.sop_instance_uid, busy)) for _, facts in batch]

    def store(self, objects: Sequence[Dataset]) -> Dataset:
        """Return the Store Instances Response (PS3.18 annex I.2), of a conflict (409) too."""
        try:
            answer: Dataset = self.client.store_instances(objects)
        except requests.HTTPError as error:
            if error.response.status_code != requests.codes.conflict or not error.response.content:
                raise
            return Dataset.from_json(error.response.json())
        return answer


@contextmanager
def _connected(peer: DicomwebPeer) -> Iterator[_Service]:
    with speaking(peer, "DICOMweb") as session:
        client = DICOMwebClient(peer.url, session=session, timeout=(CONNECT_S, peer.timeout_s))
        client.set_http_retry_params(retry=False)  # whoever called knows when to try again
        yield _Service(peer, session, client)


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
    service: _Service,
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


def _value(told: Any, tag: str) -> Any:
    if not isinstance(told, dict):
        raise ValueError("a match that is no DICOM JSON")
    values = told.get(tag, {}).get("Value") or [None]
    return values[0]
