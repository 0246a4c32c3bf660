"""Studies out of a DICOMweb archive: QIDO-RS and WADO-RS; `stow` stores results in one.

The only file that knows ``dicomweb-client``. It holds whole messages in memory, so instances are
retrieved on its session and parsed here as they come.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
import structlog
from dicomweb_client import DICOMwebClient
from pydicom import Dataset

from node.config import DicomwebPeer
from node.dicom.dicomweb.http_peer import CONNECT_S, speaking
from node.dicom.dicomweb.multipart import MultipartReader, Part
from node.errors import (
    NotAssessable,
    RetryLater,
)

log = structlog.get_logger()

CHUNK = 256 << 10
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def ping(peer: DicomwebPeer) -> None:
    """Ask a peer for one study.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
        When it does not answer as DICOMweb does.
    """
    with connected(peer) as service:
        service.client.search_for_studies(limit=1)


def search(peer: DicomwebPeer, filters: dict[str, str], limit: int) -> list[str]:
    """Return the Study Instance UIDs that match, in the order of the peer.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    return [uid for uid, _ in described(peer, filters, limit, 0)]


def described(
    peer: DicomwebPeer, filters: dict[str, str], limit: int, offset: int
) -> list[tuple[str, str | None]]:
    """Return Study Instance UIDs with their descriptions, None where the peer tells none.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    with connected(peer) as service:
        found = service.client.search_for_studies(
            limit=limit, offset=offset, fields=["StudyDescription"], search_filters=filters
        )
        told = [(_value(study, "0020000D"), study.get("00081030")) for study in found]
    return [(uid, None if d is None else _value({"d": d}, "d") or "") for uid, d in told if uid]


def images(peer: DicomwebPeer, study_uid: str) -> frozenset[str]:
    """Return the SOP Instance UIDs of the MR images that a peer holds of a study.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    with connected(peer) as service:
        return frozenset().union(*service.mr_images(study_uid).values())


def count_images(peer: DicomwebPeer, study_uid: str) -> dict[str, int | None]:
    """Return the MR series a peer holds of a study, as `node.dicom.counting.count_images` does.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    with connected(peer) as service:
        found = service.client.search_for_series(
            study_uid,
            fields=["NumberOfSeriesRelatedInstances"],
            search_filters={"Modality": "MR"},
        )
        return {uid: _value(s, "00201209") for s in found if (uid := _value(s, "0020000E"))}


def instances_of(peer: DicomwebPeer, study_uid: str) -> frozenset[str]:
    """Return the SOP Instance UIDs that a peer names of a study (QIDO-RS).

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    with connected(peer) as service:
        return service.instances(study_uid)


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
    with connected(peer) as service:
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


@dataclass(frozen=True)
class Service:
    """The few requests used here and in `stow`."""

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
def connected(peer: DicomwebPeer) -> Iterator[Service]:
    """Open a session with an archive; errors leave it as `http_peer.speaking` says."""
    with speaking(peer, "DICOMweb") as session:
        client = DICOMwebClient(peer.url, session=session, timeout=(CONNECT_S, peer.timeout_s))
        client.set_http_retry_params(retry=False)  # whoever called knows when to try again
        yield Service(peer, session, client)


def _value(told: Any, tag: str) -> Any:
    if not isinstance(told, dict):
        raise ValueError("a match that is no DICOM JSON")
    values = told.get(tag, {}).get("Value") or [None]
    return values[0]
