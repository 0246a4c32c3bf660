"""The performer's side of UPS-RS against a manager that holds it to PS3.4 annex CC."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from node.config import WorklistPeer
from node.dicom.dicomweb import ups
from node.dicom.reading.limits import InstanceFacts
from node.errors import DestinationUnavailable
from tests.ups_manager import Manager, workitem

OURS, THEIRS = "2.25.11", "2.25.12"
NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)


@pytest.fixture
def manager() -> Iterator[Manager]:
    with Manager() as running:
        running.schedule(workitem("1.2.1", "1.2.99", retrieve_url="http://pacs/studies/1.2.99"))
        yield running


@pytest.fixture
def peer(manager: Manager) -> WorklistPeer:
    return WorklistPeer(name="manager", url=manager.url, codes=("LUMBAR^99SITE",))


def results() -> list[InstanceFacts]:
    return [
        InstanceFacts("1.2.840.10008.5.1.4.1.1.7", f"1.2.99.{series}.{n}",
                      "1.2.840.10008.1.2.1", 0, "1.2.99", f"1.2.99.{series}")
        for series in (1, 2) for n in range(2)
    ]  # fmt: skip


def performed() -> ups.Performed:
    return ups.Performed("LUMBAR", None, NOW, NOW, results(), "http://pacs/dicom-web")


def test_only_scheduled_items_of_our_kind_are_found(manager: Manager, peer: WorklistPeer) -> None:
    """The code decides with its scheme; what somebody is at is left to them."""
    manager.schedule(workitem("1.2.2", "1.2.99", code="KNEE"))
    foreign = workitem("1.2.3", "1.2.99")
    foreign.ScheduledWorkitemCodeSequence[0].CodingSchemeDesignator = "99OTHER"
    manager.schedule(foreign)
    manager.schedule(workitem("1.2.4", "1.2.99"))
    ups.claim(peer, "1.2.4", THEIRS)

    assert ups.scheduled(peer) == ["1.2.1"]


def test_what_an_item_asks_for(peer: WorklistPeer) -> None:
    """Its study, where to retrieve it, and what is to be performed."""
    task = ups.read(peer, "1.2.1")

    assert (task.state, task.study_uids) == ("SCHEDULED", ("1.2.99",))
    assert task.addresses == ("http://pacs/studies/1.2.99",)
    assert task.code is not None
    assert task.code.CodeValue == "LUMBAR"


def test_an_item_is_claimed_once_and_only_its_owner_goes_on(
    manager: Manager, peer: WorklistPeer
) -> None:
    """A claim whose answer was lost is repeated and holds; another performer's does not."""
    assert ups.claim(peer, "1.2.1", OURS)
    assert ups.claim(peer, "1.2.1", OURS)
    assert not ups.claim(peer, "1.2.1", THEIRS)
    assert not ups.claim(peer, "1.2.7", OURS)
    assert manager.owners["1.2.1"] == OURS
    assert not ups.complete(peer, "1.2.1", THEIRS, performed())
    assert manager.state("1.2.1") == "IN PROGRESS"


def test_progress_is_told(manager: Manager, peer: WorklistPeer) -> None:
    """Percent and words, for whoever looks at the worklist."""
    ups.claim(peer, "1.2.1", OURS)
    ups.progress(peer, "1.2.1", OURS, 50, "running")

    (told,) = manager.item("1.2.1").ProcedureStepProgressInformationSequence
    assert (told.ProcedureStepProgress, told.ProcedureStepProgressDescription) == (50, "running")


def test_a_completed_item_refers_to_its_output(manager: Manager, peer: WorklistPeer) -> None:
    """PS3.4 table CC.2.5-3, by series, each with where it may be retrieved; twice is once."""
    ups.claim(peer, "1.2.1", OURS)
    assert ups.complete(peer, "1.2.1", OURS, performed())
    assert not ups.complete(peer, "1.2.1", OURS, performed())

    assert manager.state("1.2.1") == "COMPLETED"
    (done,) = manager.item("1.2.1").UnifiedProcedureStepPerformedProcedureSequence
    assert done.PerformedStationNameCodeSequence[0].CodeValue == "LUMBAR"
    assert done.PerformedProcedureStepEndDateTime == "20261123070000.000000+0000"
    outputs = done.OutputInformationSequence
    assert [o.SeriesInstanceUID for o in outputs] == ["1.2.99.1", "1.2.99.2"]
    assert [len(o.ReferencedSOPSequence) for o in outputs] == [2, 2]
    (place,) = outputs[0].WADORSRetrievalSequence
    assert place.RetrieveURL == "http://pacs/dicom-web/studies/1.2.99/series/1.2.99.1"


def test_a_cancelled_item_says_why(manager: Manager, peer: WorklistPeer) -> None:
    """In words, and by a code of the standard."""
    ups.claim(peer, "1.2.1", OURS)
    assert ups.cancel(peer, "1.2.1", OURS, "rejected: not a lumbar spine", NOW)

    assert manager.state("1.2.1") == "CANCELED"
    (told,) = manager.item("1.2.1").ProcedureStepProgressInformationSequence
    assert told.ReasonForCancellation == "rejected: not a lumbar spine"
    assert told.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == "110513"


def test_a_manager_that_is_away_is_waited_for(manager: Manager, peer: WorklistPeer) -> None:
    """503 is no answer about the item."""
    manager.is_away = True
    with pytest.raises(DestinationUnavailable, match="503; it is tried again"):
        ups.claim(peer, "1.2.1", OURS)
    with pytest.raises(DestinationUnavailable):
        ups.scheduled(peer)
