"""The worklist of a workflow manager, as a task performer sees it: UPS-RS.

Sources: PS3.18 chapter 11 (resources), PS3.4 annex CC (states and what each of them needs), IHE
AIW-I (who performs what, and with which inputs).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import requests
from pydicom import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.sr.codedict import codes

from node.config import WorklistPeer
from node.dicom.dicomweb.http_peer import CONNECT_S, speaking
from node.dicom.reading.limits import InstanceFacts

JSON = "application/dicom+json"
CONFLICT = 409
#: The item is somebody else's, at its end, or not there (PS3.18 tables 11.6.3-1 and 11.7.3-1).
_NOT_YOURS = frozenset({404, CONFLICT, 410})
#: The longest text of ReasonForCancellation (LT) and of a progress description (ST).
_LONGEST = 1000


@dataclass(frozen=True)
class Task:
    """What an item asks for.

    Attributes
    ----------
    state : str
        SCHEDULED, IN PROGRESS, COMPLETED or CANCELED.
    study_uids : tuple of str
        Of its input.
    addresses : tuple of str
        Where its input may be retrieved by WADO-RS.
    code : Dataset or None
        The scheduled workitem code.
    """

    state: str
    study_uids: tuple[str, ...]
    addresses: tuple[str, ...]
    code: Dataset | None


@dataclass(frozen=True)
class Performed:
    """What was done for an item.

    Attributes
    ----------
    station : str
        The AE title of this node.
    code : Dataset or None
        What was performed: what was scheduled.
    begun, ended : datetime
    results : sequence of InstanceFacts
        The objects that came of it.
    archive : str
        The address of the DICOMweb service that holds them.
    """

    station: str
    code: Dataset | None
    begun: datetime
    ended: datetime
    results: Sequence[InstanceFacts]
    archive: str


def scheduled(peer: WorklistPeer) -> list[str]:
    """Return the UIDs of the scheduled items that are this node's kind of work.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    found: dict[str, None] = {}
    with _worklist(peer) as worklist:
        for wanted in peer.codes:
            asked = {
                "ProcedureStepState": "SCHEDULED",
                "ScheduledWorkitemCodeSequence.CodeValue": wanted.partition("^")[0],
                "includefield": "ScheduledWorkitemCodeSequence",
            }
            for told in worklist.get("/workitems", asked):
                item = Dataset.from_json(told)
                if _is_ours(item, peer.codes):
                    found[str(item.SOPInstanceUID)] = None
    return list(found)


def read(peer: WorklistPeer, uid: str) -> Task:
    """Return what an item asks for.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    with _worklist(peer) as worklist:
        (told,) = worklist.get(f"/workitems/{uid}", {})
    item = Dataset.from_json(told)
    inputs = item.get("InputInformationSequence") or []
    addresses = [
        str(place.RetrieveURL)
        for one in inputs
        for place in one.get("WADORSRetrievalSequence") or []
        if place.get("RetrieveURL")
    ]
    studies = [str(one.StudyInstanceUID) for one in inputs if one.get("StudyInstanceUID")]
    scheduled_codes = item.get("ScheduledWorkitemCodeSequence") or []
    return Task(
        str(item.get("ProcedureStepState", "")),
        tuple(dict.fromkeys(studies)),
        tuple(dict.fromkeys(addresses)),
        next(iter(scheduled_codes), None),
    )


def claim(peer: WorklistPeer, uid: str, transaction: str) -> bool:
    """Take an item on; False when it is somebody else's already, or gone.

    A claim that was made and whose answer was lost may be repeated: only its owner can tell the
    manager its transaction UID.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    with _worklist(peer) as worklist:
        status = worklist.change(uid, transaction, "IN PROGRESS")
        if status == CONFLICT:
            status = worklist.update(uid, transaction, _progress(0, "claimed"))
        return status not in _NOT_YOURS


def progress(peer: WorklistPeer, uid: str, transaction: str, percent: int, words: str) -> None:
    """Say how far the work is; what the manager makes of it changes nothing.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    with _worklist(peer) as worklist:
        worklist.update(uid, transaction, _progress(percent, words))


def complete(peer: WorklistPeer, uid: str, transaction: str, done: Performed) -> bool:
    """End an item as COMPLETED, with references to its output; False when it was at its end.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    told = _progress(100, "done")
    told.UnifiedProcedureStepPerformedProcedureSequence = Items([_performed(done)])
    return _end(peer, uid, transaction, "COMPLETED", told)


def cancel(peer: WorklistPeer, uid: str, transaction: str, reason: str, when: datetime) -> bool:
    """End an item as CANCELED, with the reason; False when it was at its end.

    Raises
    ------
    DestinationUnavailable, DeliveryRefused, Misconfigured
    """
    told = _progress(0, reason)
    information = told.ProcedureStepProgressInformationSequence[0]
    information.ProcedureStepCancellationDateTime = _moment(when)
    information.ReasonForCancellation = reason[:_LONGEST]
    unspecified = codes.DCM.DiscontinuedForUnspecifiedReason
    information.ProcedureStepDiscontinuationReasonCodeSequence = Items(
        [_code(unspecified.value, unspecified.scheme_designator, unspecified.meaning)]
    )
    return _end(peer, uid, transaction, "CANCELED", told)


State = Literal["IN PROGRESS", "COMPLETED", "CANCELED"]


@dataclass(frozen=True)
class _Worklist:
    peer: WorklistPeer
    session: requests.Session

    def get(self, path: str, parameters: dict[str, str]) -> list[dict[str, Any]]:
        answer = self._send("GET", path, params=parameters, headers={"Accept": JSON})
        answer.raise_for_status()
        told = answer.json() if answer.content else []
        return told if isinstance(told, list) else [told]

    def update(self, uid: str, transaction: str, told: Dataset) -> int:
        # The transaction UID is the whole query, without a name (PS3.18 11.6.1).
        path = f"/workitems/{uid}?{transaction}"
        return self._state_of(self._send("POST", path, json=told.to_json_dict(), headers=_TYPE))

    def change(self, uid: str, transaction: str, state: State) -> int:
        told = Dataset()
        told.TransactionUID, told.ProcedureStepState = transaction, state
        path = f"/workitems/{uid}/state"
        return self._state_of(self._send("PUT", path, json=told.to_json_dict(), headers=_TYPE))

    def _send(self, method: str, path: str, **more: Any) -> requests.Response:
        url = self.peer.url.rstrip("/") + path
        return self.session.request(method, url, timeout=(CONNECT_S, self.peer.timeout_s), **more)

    def _state_of(self, answer: requests.Response) -> int:
        """Return the status, where it is an answer to the question and no failure."""
        if answer.status_code not in _NOT_YOURS:
            answer.raise_for_status()
        return answer.status_code


_TYPE = {"Content-Type": JSON, "Accept": JSON}


@contextmanager
def _worklist(peer: WorklistPeer) -> Iterator[_Worklist]:
    with speaking(peer, "UPS-RS") as session:
        yield _Worklist(peer, session)


def _end(peer: WorklistPeer, uid: str, transaction: str, state: State, told: Dataset) -> bool:
    """Update an item and end it; an end that was reached before, and told again, is one."""
    with _worklist(peer) as worklist:
        worklist.update(uid, transaction, told)
        return worklist.change(uid, transaction, state) not in _NOT_YOURS


def _is_ours(item: Dataset, wanted: Iterable[str]) -> bool:
    found = {
        f"{code.get('CodeValue', '')}^{code.get('CodingSchemeDesignator', '')}"
        for code in item.get("ScheduledWorkitemCodeSequence") or []
    }
    return bool(found & set(wanted))


def _progress(percent: int, words: str) -> Dataset:
    information = Dataset()
    information.ProcedureStepProgress = percent
    information.ProcedureStepProgressDescription = words[:_LONGEST]
    told = Dataset()
    told.ProcedureStepProgressInformationSequence = Items([information])
    return told


def _performed(done: Performed) -> Dataset:
    """Return the item that PS3.4 table CC.2.5-3 asks for in the final state."""
    item = Dataset()
    item.ActualHumanPerformersSequence = Items([])
    item.PerformedStationNameCodeSequence = Items([_code(done.station, "L", "lumbar-node")])
    item.PerformedStationClassCodeSequence = Items([])
    item.PerformedStationGeographicLocationCodeSequence = Items([])
    item.PerformedProcedureStepStartDateTime = _moment(done.begun)
    item.PerformedProcedureStepEndDateTime = _moment(done.ended)
    item.PerformedWorkitemCodeSequence = Items([done.code] if done.code else [])
    series: dict[str, list[InstanceFacts]] = {}
    for facts in done.results:
        series.setdefault(facts.series_uid, []).append(facts)
    item.OutputInformationSequence = Items(
        _output(members, done.archive) for members in series.values()
    )
    return item


def _output(members: Sequence[InstanceFacts], archive: str) -> Dataset:
    """Refer to the results of one series (PS3.3 table 10-3c)."""
    study_uid, series_uid = members[0].study_uid, members[0].series_uid
    place = Dataset()
    place.RetrieveURL = f"{archive.rstrip('/')}/studies/{study_uid}/series/{series_uid}"
    item = Dataset()
    item.TypeOfInstances = "DICOM"
    item.StudyInstanceUID, item.SeriesInstanceUID = study_uid, series_uid
    item.ReferencedSOPSequence = Items(_reference(facts) for facts in members)
    item.WADORSRetrievalSequence = Items([place])
    return item


def _reference(facts: InstanceFacts) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = facts.sop_class_uid
    item.ReferencedSOPInstanceUID = facts.sop_instance_uid
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _moment(when: datetime) -> str:
    return when.strftime("%Y%m%d%H%M%S.%f%z")
