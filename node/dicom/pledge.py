"""Storage commitment, push model, as user: a destination is asked to vouch for what it took.

Its report may come on the association of the request, or later, also days later, on one that it
opens to the listener of this node (PS3.4 annex J): both end in `Keep`.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pydicom import Dataset
from pynetdicom import build_context, evt

from node.config import Destination, Tls
from node.dicom import commitment, statuses
from node.dicom.commitment import Reference
from node.dicom.reading.attributes import UNREADABLE
from node.dicom.reading.limits import uid
from node.dicom.sender import associated
from node.dicom.upper_layer import negotiation
from node.errors import DeliveryRefused, DestinationUnavailable, InvalidInstance

#: How long (s) an association stays open for the report, which most peers send on another.
SAME_ASSOCIATION_S = 3.0
_LOOK_S = 0.2


class Reported(NamedTuple):
    """What a report says.

    Attributes
    ----------
    transaction_uid : str
    committed : tuple of str
        SOP Instance UIDs that the destination vouches for.
    failed : tuple of (SOP Instance UID, failure reason)
        Reasons as in PS3.3 C.14.1.1.
    """

    transaction_uid: str
    committed: tuple[str, ...]
    failed: tuple[tuple[str, int], ...]


#: Keeps a report, durably; says whether this node has asked for it.
Keep = Callable[[Reported], bool]


def report_of(raw: bytes, syntax: str) -> Reported:
    """Read the event information of a report (PS3.4 table J.3-2); see `commitment.read`."""
    return commitment.read(raw, syntax, "report", _reported)


def _reported(said: Dataset) -> Reported:
    return Reported(
        uid(str(said.TransactionUID), "TransactionUID"),
        tuple(_named(item) for item in said.get("ReferencedSOPSequence") or ()),
        tuple(
            (_named(item), int(item.get("FailureReason") or commitment.PROCESSING_FAILURE))
            for item in said.get("FailedSOPSequence") or ()
        ),
    )


def _named(item: Dataset) -> str:
    return uid(str(item.ReferencedSOPInstanceUID), "ReferencedSOPInstanceUID")


def ask(
    references: Sequence[Reference],
    transaction_uid: str,
    destination: Destination,
    calling_ae: str,
    keep: Keep,
    *,
    is_told: Callable[[], bool] = lambda: False,
    tls: Tls | None = None,
) -> None:
    """Ask a destination to vouch for objects (N-ACTION), and wait a moment for its report.

    Parameters
    ----------
    references : sequence of Reference
    transaction_uid : str
        Never used before.
    destination : config.Destination
    calling_ae : str
        This node's AE title.
    keep : callable
        What a report that comes on this association is handed to, before it is confirmed.
    is_told : callable, optional
        Whether the report has come some other way, so that there is nothing to wait for.
    tls : config.Tls, optional
        The files for a destination that wants TLS.

    Raises
    ------
    DestinationUnavailable
        When it does not answer: the same again later is right.
    DeliveryRefused
        When it offers no storage commitment, or not for these objects.
    """
    kept: list[bool] = []

    def on_report(event: Any) -> tuple[int, None]:
        try:
            kept.append(keep(_reported(event.event_information)))
        except (*UNREADABLE, InvalidInstance):
            return statuses.INVALID_ARGUMENT, None
        return statuses.SUCCESS if kept[-1] else statuses.INVALID_ARGUMENT, None

    handlers = [(evt.EVT_N_EVENT_REPORT, on_report)]
    contexts = [build_context(negotiation.PUSH_MODEL)]
    with associated(destination, calling_ae, contexts, tls, handlers=handlers) as association:
        if not association.accepted_contexts:
            raise DeliveryRefused(f"{destination.name} offers no storage commitment")
        _act(association, _request(references, transaction_uid), destination)
        deadline = time.monotonic() + SAME_ASSOCIATION_S
        while association.is_established and time.monotonic() < deadline:
            if kept or is_told():
                return
            time.sleep(_LOOK_S)


def _act(association: Any, request: Dataset, destination: Destination) -> None:
    answer, _ = association.send_n_action(
        request, commitment.REQUEST, negotiation.PUSH_MODEL, commitment.INSTANCE
    )
    if "Status" not in answer:
        raise DestinationUnavailable(
            f"{destination.name} does not answer a request for storage commitment"
        )
    status = int(answer.Status)
    if statuses.is_temporary(status):
        raise DestinationUnavailable(
            f"{destination.name} takes no request for storage commitment now "
            f"({statuses.in_words(status)})"
        )
    if status != statuses.SUCCESS:
        raise DeliveryRefused(
            f"{destination.name} refuses storage commitment ({statuses.in_words(status)})"
        )


def _request(references: Sequence[Reference], transaction_uid: str) -> Dataset:
    """Return the action information (PS3.4 table J.3-1)."""
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = [commitment.item(one, None) for one in references]
    return request
