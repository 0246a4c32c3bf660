"""Read back what a PACS holds of a delivery: C-FIND for the instances of each series."""

from collections.abc import Iterable

from pydicom import Dataset
from pynetdicom import build_context

from node.config import Destination, Tls
from node.dicom import statuses
from node.dicom.counting import FIND, PENDING
from node.dicom.reading.attributes import Attributes
from node.dicom.sender import associated
from node.errors import DeliveryRefused, DestinationUnavailable


def instances_of(
    study_uid: str,
    series_uids: Iterable[str],
    destination: Destination,
    calling_ae: str,
    tls: Tls | None = None,
) -> frozenset[str]:
    """Return the SOP Instance UIDs that a PACS names of some series (PS3.4 C.6.2, level IMAGE).

    Raises
    ------
    DestinationUnavailable
        When it does not answer: the same again later is right.
    DeliveryRefused
        When it answers no queries, or not these.
    """
    found: set[str] = set()
    contexts = [build_context(FIND)]
    with associated(destination, calling_ae, contexts, tls) as pacs:
        if not pacs.accepted_contexts:
            raise DeliveryRefused(f"{destination.name} answers no queries")
        for series_uid in series_uids:
            for status, answer in pacs.send_c_find(_query(study_uid, series_uid), FIND):
                if "Status" not in status:
                    raise DestinationUnavailable(f"{destination.name} broke off a query")
                if status.Status in PENDING and answer is not None:
                    found.add(Attributes(answer).text("SOPInstanceUID"))
                elif status.Status not in PENDING | {statuses.SUCCESS}:
                    _raise_for(destination, int(status.Status))
    return frozenset(found)


def _raise_for(destination: Destination, status: int) -> None:
    words = f"{destination.name} does not answer a query ({statuses.in_words(status)})"
    raise DestinationUnavailable(words) if statuses.is_temporary(status) else DeliveryRefused(words)


def _query(study_uid: str, series_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = series_uid
    query.SOPInstanceUID = ""
    return query
