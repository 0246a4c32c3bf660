"""Audit messages have the elements, attributes and codes of PS3.15 A.5, and never a patient."""

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from node.dicom.audit import Event, message
from node.trust.syslog import frame

WHEN = datetime(2026, 5, 4, 3, 2, 1, 500_000, UTC)
MR = "1.2.840.10008.5.1.4.1.1.4"

#: Kind -> (EventID, EventTypeCode, action, outcome, roles with who asked), written down here once
#: more from PS3.15 A.5.3.1, A.5.3.6, A.5.3.7 and A.5.3.12.
EXPECTED = {
    "start": ("110100", "110120", "E", "0", {"110150": "false"}),
    "stop": ("110100", "110121", "E", "0", {"110150": "false"}),
    "received": ("110104", None, "C", "0", {"110153": "true", "110152": "false"}),
    "sent": ("110104", None, "R", "0", {"110152": "false", "110153": "true"}),
    "read": ("110103", None, "R", "0", {"110152": "true", "110153": "false"}),
    "refused": ("110113", "110126", "E", "4", {"110153": "true", "110152": "false"}),
}
EVENTS = {
    "start": Event("start"),
    "stop": Event("stop"),
    "received": Event("received", "MR1", "10.0.0.7", "1.2.3"),
    "sent": Event("sent", "PACS", "pacs.hospital", "1.2.3"),
    "read": Event("read", "", "10.0.0.9", "1.2.3"),
    "refused": Event("refused", "MR1", "10.0.0.7", failure="not listed"),
}
#: The order of children that the schema (A.5.1) has.
ORDER = [
    "EventIdentification",
    "ActiveParticipant",
    "AuditSourceIdentification",
    "ParticipantObjectIdentification",
]


@pytest.mark.parametrize("kind", list(EXPECTED))
def test_a_message_has_the_codes_of_its_event(kind: str) -> None:
    """Event, type, action, outcome, and both sides with their roles."""
    line = message(EVENTS[kind], WHEN, {MR: 3}, "LUMBAR")
    root = ET.fromstring(line)  # noqa: S314 - our own
    event_id, type_code, action, outcome, roles = EXPECTED[kind]

    event = root.find("EventIdentification")
    assert event is not None
    assert event.attrib["EventDateTime"] == "2026-05-04T03:02:01.500+00:00"
    assert (event.attrib["EventActionCode"], event.attrib["EventOutcomeIndicator"]) == (
        action,
        outcome,
    )
    assert [e.attrib["csd-code"] for e in event.findall("EventID")] == [event_id]
    assert [e.attrib["csd-code"] for e in event.findall("EventTypeCode")] == (
        [type_code] if type_code else []
    )
    assert {
        role.attrib["csd-code"]: participant.attrib["UserIsRequestor"]
        for participant in root.findall("ActiveParticipant")
        for role in participant.findall("RoleIDCode")
    } == roles
    places = [ORDER.index(child.tag) for child in root]
    assert places == sorted(places)
    assert {0, 1, 2} <= set(places)
    assert "\n" not in line


def test_a_transfer_names_the_study_and_counts_its_classes() -> None:
    """The study by its UID, instances by SOP class, the peer by title and address, no patient."""
    root = ET.fromstring(message(EVENTS["received"], WHEN, {MR: 3}, "LUMBAR"))  # noqa: S314
    (study,) = root.findall("ParticipantObjectIdentification")
    assert study.attrib == {
        "ParticipantObjectID": "1.2.3",
        "ParticipantObjectTypeCode": "2",
        "ParticipantObjectTypeCodeRole": "3",
    }
    (sop_class,) = study.iter("SOPClass")
    assert sop_class.attrib == {"UID": MR, "NumberOfInstances": "3"}
    peer = root.findall("ActiveParticipant")[0].attrib
    assert (peer["UserID"], peer["NetworkAccessPointID"]) == ("MR1", "10.0.0.7")
    assert peer["NetworkAccessPointTypeCode"] == "2"


def test_what_a_peer_calls_itself_cannot_break_a_line_or_the_xml() -> None:
    """Markup is escaped, control characters are replaced, length is limited."""
    nasty = Event("refused", '<a>&"\n\x1b[31m\x00', "10.0.0.7", failure="x\n" * 1000)
    line = message(nasty, WHEN, {"": 2}, "LUMBAR")
    root = ET.fromstring(line)  # noqa: S314
    assert "\n" not in line
    assert root.findall("ActiveParticipant")[0].attrib["UserID"] == '<a>&"??[31m?'
    assert len(line) < 2000


def test_a_syslog_frame_has_its_length_priority_and_id() -> None:
    """RFC 5425: octets, a space, the message; RFC 5424: an alert is a warning."""
    for kind, priority in (("received", 85), ("refused", 84)):
        line = message(EVENTS[kind], WHEN, {MR: 1}, "LÜMBAR")
        length, _, rest = frame(line, "host", 7).partition(b" ")
        assert int(length) == len(rest)
        header, mark, body = rest.partition(b"\xef\xbb\xbf")
        assert mark
        time = "2026-05-04T03:02:01.500+00:00"
        expected = f"<{priority}>1 {time} host lumbar-node 7 DICOM+RFC3881 - "
        assert header.decode() == expected
        assert body.decode() == line
