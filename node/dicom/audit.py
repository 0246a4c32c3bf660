"""DICOM audit messages: what happened, by whom, to which study, as XML (PS3.15 A.5).

The profile wants the patient in messages about instances. This node names the study only: its
UID leads to the patient in the PACS, for whoever may look there, and its logs stay free of
patients' names and identifiers.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from xml.etree import ElementTree as ET

Kind = Literal["start", "stop", "received", "sent", "read", "refused"]

_TRANSFERRED = ("110104", "DICOM Instances Transferred")
_ACCESSED = ("110103", "DICOM Instances Accessed")
_ACTIVITY = ("110100", "Application Activity")
_ALERT = ("110113", "Security Alert")

#: Kind of event -> event, type (PS3.16 CID 400 and 401), action code.
_EVENTS: dict[Kind, tuple[tuple[str, str], tuple[str, str] | None, str]] = {
    "start": (_ACTIVITY, ("110120", "Application Start"), "E"),
    "stop": (_ACTIVITY, ("110121", "Application Stop"), "E"),
    "received": (_TRANSFERRED, None, "C"),
    "sent": (_TRANSFERRED, None, "R"),
    "read": (_ACCESSED, None, "R"),
    "refused": (_ALERT, ("110126", "Node Authentication"), "E"),
}

# PS3.16 CID 402 and 404.
_APPLICATION = ("110150", "Application")
_DESTINATION, _SOURCE = ("110152", "Destination Role ID"), ("110153", "Source Role ID")
_STUDY, _NODE = ("110180", "Study Instance UID"), ("110182", "Node ID")


@dataclass(frozen=True)
class Event:
    """One thing that happened; the same again soon is the same event, counted.

    Attributes
    ----------
    kind : str
    peer : str
        AE title, or name, of the other side.
    address : str
        Its IP address or host.
    study_uid : str
    failure : str
        Why it did not succeed; empty when it did.
    """

    kind: Kind
    peer: str = ""
    address: str = ""
    study_uid: str = ""
    failure: str = ""

    @property
    def is_alert(self) -> bool:
        """Whether a person should look at it soon."""
        return self.kind == "refused"


#: Takes an event, and the SOP class it was about.
Note = Callable[[Event, str], None]


def message(event: Event, when: datetime, counts: Mapping[str, int], ae_title: str) -> str:
    """Return an event as one line of XML.

    Parameters
    ----------
    event : Event
    when : datetime
        With its time zone.
    counts : mapping of str to int
        SOP Class UID to a number of instances; the empty text for what has none.
    ae_title : str
        Of this node.
    """
    root = ET.Element("AuditMessage")
    _identification(root, event, when, sum(counts.values()))
    _participants(root, event, ae_title)
    source = ET.SubElement(
        root,
        "AuditSourceIdentification",
        AuditSourceID=_clean(f"{ae_title}@{socket.gethostname()}"),
    )
    ET.SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})  # application server
    if event.study_uid:
        study = _object(root, _STUDY, event.study_uid, type_code="2", role="3", name="Study")
        description = ET.SubElement(study, "ParticipantObjectDescription")
        for sop_class, number in sorted(counts.items()):
            attributes = {"UID": sop_class, "NumberOfInstances": str(number)}
            if sop_class:
                ET.SubElement(description, "SOPClass", attributes)
    elif event.is_alert:
        _object(root, _NODE, event.address, type_code="2", role="13", name="Peer")
    return ET.tostring(root, encoding="unicode")


def _identification(root: ET.Element, event: Event, when: datetime, times: int) -> None:
    code, kind, action = _EVENTS[event.kind]
    attributes = {
        "EventActionCode": action,
        "EventDateTime": when.isoformat(timespec="milliseconds"),
        "EventOutcomeIndicator": "4" if event.failure else "0",
    }
    identification = ET.SubElement(root, "EventIdentification", attributes)
    _code(identification, "EventID", code)
    if kind is not None:
        _code(identification, "EventTypeCode", kind)
    if event.failure:
        text = event.failure + (f" ({times} times)" if times > 1 else "")
        ET.SubElement(identification, "EventOutcomeDescription").text = _clean(text)


def _participants(root: ET.Element, event: Event, ae_title: str) -> None:
    """Name both sides; who asked is the one that opened the connection."""
    if event.kind in ("start", "stop"):
        _participant(root, ae_title, _APPLICATION, asked=False)
        return
    gives = event.kind in ("sent", "read")
    asked = event.kind != "sent"
    here, there = (_SOURCE, _DESTINATION) if gives else (_DESTINATION, _SOURCE)
    _participant(root, event.peer or event.address, there, asked=asked, address=event.address)
    _participant(root, ae_title, here, asked=not asked)


def _participant(
    root: ET.Element, name: str, role: tuple[str, str], *, asked: bool, address: str = ""
) -> None:
    attributes = {"UserID": _clean(name) or "unknown", "UserIsRequestor": str(asked).lower()}
    if address:
        attributes["NetworkAccessPointID"] = _clean(address)
        attributes["NetworkAccessPointTypeCode"] = "2" if _is_ip(address) else "1"
    _code(ET.SubElement(root, "ActiveParticipant", attributes), "RoleIDCode", role)


def _object(
    root: ET.Element,
    kind: tuple[str, str],
    identifier: str,
    *,
    type_code: str,
    role: str,
    name: str,
) -> ET.Element:
    attributes = {
        "ParticipantObjectID": _clean(identifier),
        "ParticipantObjectTypeCode": type_code,
        "ParticipantObjectTypeCodeRole": role,
    }
    thing = ET.SubElement(root, "ParticipantObjectIdentification", attributes)
    _code(thing, "ParticipantObjectIDTypeCode", kind)
    ET.SubElement(thing, "ParticipantObjectName").text = name  # the schema wants a name or a query
    return thing


def _code(parent: ET.Element, name: str, code: tuple[str, str]) -> None:
    value, meaning = code
    attributes = {"csd-code": value, "codeSystemName": "DCM", "originalText": meaning}
    ET.SubElement(parent, name, attributes)


def _clean(text: str) -> str:
    """Return text that XML can hold and that stays on its line, whatever a peer sent."""
    return "".join(c if c.isprintable() else "?" for c in text)[:256]


def _is_ip(address: str) -> bool:
    return ":" in address or address.replace(".", "").isdigit()
