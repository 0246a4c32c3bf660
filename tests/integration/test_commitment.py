"""Storage commitment over real sockets: asked by pynetdicom, answered from what is on the disk."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from node.dicom.commitment import Asked, Holding
from tests.builders import mr_image, uid
from tests.integration.test_listener import send
from tests.receiving import Node, listening
from tests.waiting import wait_for

ALL, SOME = 1, 2


class Promises:
    """What a node's commitments do, without jobs: looks at a listener's index and archive."""

    def __init__(self) -> None:
        self.node: Node | None = None
        self.taken: list[Asked] = []
        self.confirmed: list[str] = []
        self.left: list[str] = []
        self.is_broken = False

    def take(self, calling_ae: str, asked: Asked) -> None:
        assert calling_ae == "SCANNER"
        if self.is_broken:
            raise OSError("no database")
        self.taken.append(asked)

    def told(self, calling_ae: str, transaction_uid: str) -> None:
        assert calling_ae == "SCANNER"
        self.confirmed.append(transaction_uid)

    def untold(self, calling_ae: str, asked: Asked) -> None:
        assert calling_ae == "SCANNER"
        self.left.append(asked.transaction_uid)

    def holdings(self, sop_instance_uids: Sequence[str]) -> Mapping[str, Holding]:
        assert self.node is not None
        rows = self.node.index.instances_named(sop_instance_uids)
        path = self.node.archive.path
        return {
            r.sop_instance_uid: Holding(r.sop_class_uid, r.sha256, path(r.sha256)) for r in rows
        }


@pytest.fixture
def promises() -> Promises:
    return Promises()


@pytest.fixture
def node(request: pytest.FixtureRequest, tmp_path: Path, promises: Promises) -> Iterator[Node]:
    with listening(
        tmp_path, commitments=promises, processes=getattr(request, "param", 0)
    ) as running:
        promises.node = running
        yield running


def action(transaction: str, *references: tuple[str, str]) -> Dataset:
    """Return the action information of a request."""
    said = Dataset()
    said.TransactionUID = transaction
    said.ReferencedSOPSequence = []
    for sop_class, instance in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        said.ReferencedSOPSequence.append(item)
    return said


class Scanner:
    """A commitment user that waits for its report on the same association."""

    def __init__(self, port: int, syntax: str = ExplicitVRLittleEndian) -> None:
        self.reports: list[tuple[int, Dataset]] = []
        self.status = 0
        ae = AE("SCANNER")
        ae.dimse_timeout = 20
        self.association = ae.associate(
            "127.0.0.1",
            port,
            contexts=[
                build_context(StorageCommitmentPushModel, syntax),
                build_context(MRImageStorage, ExplicitVRLittleEndian),
            ],
            ae_title="LUMBAR",
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._on_report)],
        )
        assert self.association.is_established

    def ask(self, said: Dataset, *, kind: int = 1, instance: str = "") -> int:
        """Send the request and return the status."""
        response, _ = self.association.send_n_action(
            said,
            kind,
            StorageCommitmentPushModel,
            instance or StorageCommitmentPushModelInstance,
        )
        return int(response.Status)

    def report(self) -> tuple[int, Dataset]:
        """Wait for a report."""
        wait_for(lambda: self.reports, what="a report")
        return self.reports.pop()

    def _on_report(self, event: Any) -> tuple[int, None]:
        self.reports.append((event.event_type, event.event_information))
        return self.status, None


@pytest.mark.parametrize(
    ("node", "syntax"),
    [(0, ExplicitVRLittleEndian), (0, ImplicitVRLittleEndian), (2, ExplicitVRLittleEndian)],
    indirect=["node"],
    ids=["explicit", "implicit", "acceptors in processes"],
)
def test_what_is_on_the_disk_is_committed(node: Node, promises: Promises, syntax: str) -> None:
    """Everything that was just stored, on the very same association: event type 1."""
    images = [mr_image(number=n) for n in range(1, 30)]
    scanner = Scanner(node.port, syntax)
    for image in images:
        assert scanner.association.send_c_store(image).Status == 0
    references = [(str(i.SOPClassUID), str(i.SOPInstanceUID)) for i in images]

    assert scanner.ask(action("1.2.3.4", *references)) == 0
    kind, told = scanner.report()

    assert kind == ALL
    assert told.TransactionUID == "1.2.3.4"
    assert [
        (i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID) for i in told.ReferencedSOPSequence
    ] == references
    wait_for(lambda: promises.confirmed == ["1.2.3.4"], what="the confirmation")
    scanner.association.release()
    assert promises.left == []


def test_what_is_not_there_is_told_with_its_reason(node: Node, promises: Promises) -> None:
    """Unknown, of another class, damaged on the disk: event type 2, each with its reason."""
    good, damaged = mr_image(number=1), mr_image(number=2)
    assert send(node.port, good, damaged) == [0, 0]
    wait_for(lambda: len(node.index.instances(uid("study", "1"))) == 2, what="the rows")
    rows = {r.sop_instance_uid: r for r in node.index.instances(uid("study", "1"))}
    node.archive.path(rows[damaged.SOPInstanceUID].sha256).write_bytes(b"damaged")
    scanner = Scanner(node.port)

    ct = "1.2.840.10008.5.1.4.1.1.2"
    mr = str(MRImageStorage)
    asked = [
        (mr, good.SOPInstanceUID),
        (mr, damaged.SOPInstanceUID),
        (ct, good.SOPInstanceUID),
        (mr, "1.2.3.9"),
    ]
    assert scanner.ask(action("1.2.3.5", *asked)) == 0
    kind, told = scanner.report()

    assert kind == SOME
    assert [i.ReferencedSOPInstanceUID for i in told.ReferencedSOPSequence] == [good.SOPInstanceUID]
    assert [i.FailureReason for i in told.FailedSOPSequence] == [0x0110, 0x0119, 0x0112]
    scanner.association.release()


def test_a_peer_that_does_not_confirm_is_told_again(node: Node, promises: Promises) -> None:
    """It answers the report with an error, or goes at once: the request is handed to a job."""
    scanner = Scanner(node.port)
    scanner.status = 0x0110
    assert scanner.ask(action("1.2.3.6", (str(MRImageStorage), "1.2.3.9"))) == 0
    scanner.report()
    scanner.association.release()
    wait_for(lambda: promises.left == ["1.2.3.6"], what="the job")

    hasty = Scanner(node.port)
    assert hasty.ask(action("1.2.3.7", (str(MRImageStorage), "1.2.3.9"))) == 0
    hasty.association.release()
    assert hasty.association.is_released
    wait_for(lambda: promises.left == ["1.2.3.6", "1.2.3.7"], what="the job")
    assert promises.confirmed == []


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_request_that_cannot_be_kept_is_refused(node: Node, promises: Promises) -> None:
    """Nonsense has its status; a database that is away is told, and the association goes on."""
    scanner = Scanner(node.port)
    said = action("1.2.3.8", (str(MRImageStorage), "1.2.3.9"))
    assert scanner.ask(said, instance="1.2.3") == 0x0112
    assert scanner.ask(said, kind=2) == 0x0123
    assert scanner.ask(action("1.2.3.8")) == 0x0115
    assert scanner.ask(action("not a uid", (str(MRImageStorage), "1.2.3.9"))) == 0x0115
    promises.is_broken = True
    assert scanner.ask(said) == 0x0110
    promises.is_broken = False
    assert scanner.association.send_c_store(mr_image()).Status == 0
    assert scanner.ask(said) == 0
    assert scanner.report()[0] == SOME
    scanner.association.release()


def test_a_large_report_comes_in_pieces(node: Node) -> None:
    """1000 instances: larger than a PDU of the peer, and whole again there."""
    scanner = Scanner(node.port)
    references = [(str(MRImageStorage), f"1.2.3.{n}") for n in range(1000)]
    assert scanner.ask(action("1.2.3.10", *references)) == 0
    kind, told = scanner.report()
    assert kind == SOME
    assert len(told.FailedSOPSequence) == 1000
    scanner.association.release()


def test_two_requests_are_answered_one_after_the_other(node: Node, promises: Promises) -> None:
    """A second request does not wait for the first report."""
    scanner = Scanner(node.port)
    for number in (1, 2):
        said = action(f"1.2.3.2.{number}", (str(MRImageStorage), "1.2.3.9"))
        assert scanner.ask(said) == 0
    wait_for(lambda: len(scanner.reports) == 2, what="both reports")
    wait_for(lambda: len(promises.confirmed) == 2, what="both confirmations")
    scanner.association.release()
