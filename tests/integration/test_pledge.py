"""Destinations vouch for what they took: this node asks, and takes reports, on real sockets."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import MRImageStorage
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from node.config import Destination
from node.dicom import commitment, pledge, readback
from node.dicom.commitment import Asked, Reference
from node.dicom.pledge import Reported
from node.dicom.receiver import Receiver
from node.dicom.reporting import report
from node.dicom.sender import send
from node.errors import DeliveryRefused, DestinationUnavailable
from node.loopback import free_port
from tests.builders import mr_image, mr_study, uid
from tests.dcmqrscp import dcmqrscp
from tests.integration.test_commitment import Promises
from tests.integration.test_listener import send as send_in
from tests.orthanc_server import OrthancServer
from tests.receiving import listening
from tests.waiting import answers, wait_for

MR = str(MRImageStorage)
REFERENCES = [Reference(MR, "1.2.3.1"), Reference(MR, "1.2.3.2")]


def destination(port: int, ae_title: str = "PACS", timeout_s: float = 5.0) -> Destination:
    return Destination(
        name="pacs", host="127.0.0.1", port=port, ae_title=ae_title, timeout_s=timeout_s
    )


class Keeper:
    """Keeps reports in memory; knows one transaction."""

    def __init__(self, known: str = "1.2.3.4") -> None:
        self.known = known
        self.reports: list[Reported] = []
        self.is_broken = False

    def __call__(self, reported: Reported) -> bool:
        if self.is_broken:
            raise OSError("no database")
        self.reports.append(reported)
        return reported.transaction_uid == self.known


def told(transaction: str, *, failed: Sequence[str] = ()) -> Dataset:
    """Return the event information about `REFERENCES`."""
    said = Dataset()
    said.TransactionUID = transaction
    good = [r for r in REFERENCES if r.sop_instance_uid not in failed]
    bad = [r for r in REFERENCES if r.sop_instance_uid in failed]
    said.ReferencedSOPSequence = [commitment.item(r, None) for r in good]
    said.FailedSOPSequence = [commitment.item(r, 0x0112) for r in bad]
    return said


@contextmanager
def provider(status: int = 0, failed: Sequence[str] | None = None) -> Iterator[int]:
    """Run a commitment provider; with ``failed`` it reports on the same association."""
    ae = AE(ae_title="PACS")
    ae.add_supported_context(StorageCommitmentPushModel)

    def on_action(event: Any) -> tuple[int, None]:
        transaction = event.action_information.TransactionUID
        if failed is not None:
            said = told(transaction, failed=failed)
            kind = 2 if failed else 1
            threading.Thread(target=_report, args=(event.assoc, said, kind)).start()
        return status, None

    handlers = [(evt.EVT_N_ACTION, on_action)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield server.server_address[1]
    finally:
        ae.shutdown()


def _report(association: Any, said: Dataset, kind: int) -> None:
    association.send_n_event_report(
        said, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )


@pytest.mark.parametrize("failed", [(), ("1.2.3.2",)], ids=["all", "some failed"])
def test_a_report_on_the_same_association_is_kept(failed: tuple[str, ...]) -> None:
    """What is committed and what is not, with its reason."""
    keeper = Keeper()
    with provider(failed=failed) as port:
        pledge.ask(REFERENCES, "1.2.3.4", destination(port), "LUMBAR", keeper)
    (kept,) = keeper.reports
    assert kept.transaction_uid == "1.2.3.4"
    assert kept.committed == tuple(u for u in ("1.2.3.1", "1.2.3.2") if u not in failed)
    assert kept.failed == tuple((u, 0x0112) for u in failed)


def test_a_silent_provider_is_left_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It took the request; its report may come later."""
    monkeypatch.setattr(pledge, "SAME_ASSOCIATION_S", 0.3)
    keeper = Keeper()
    with provider() as port:
        pledge.ask(REFERENCES, "1.2.3.4", destination(port), "LUMBAR", keeper)
    assert keeper.reports == []


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (0x0110, DeliveryRefused, "0x0110, processing failure"),
        (0x0124, DeliveryRefused, "0x0124, not authorised"),
        (0x0213, DestinationUnavailable, "0x0213, resource limitation"),
        (0xA700, DestinationUnavailable, "0xA700, out of resources"),
    ],
)
def test_a_request_that_is_refused(status: int, error: type[Exception], words: str) -> None:
    """For good, or for now: the message names the status."""
    with provider(status) as port, pytest.raises(error, match=words):
        pledge.ask(REFERENCES, "1.2.3.4", destination(port), "LUMBAR", Keeper())


def test_a_destination_without_commitment_or_queries_says_so(tmp_path: Path) -> None:
    """Nothing is negotiated: refused, not unavailable, so that the next proof is tried at once."""
    receiver = Receiver(tmp_path)
    there = destination(receiver.port, receiver.ae_title)
    try:
        with pytest.raises(DeliveryRefused, match="offers no storage commitment"):
            pledge.ask(REFERENCES, "1.2.3.4", there, "LUMBAR", Keeper())
        with pytest.raises(DeliveryRefused, match="answers no queries"):
            readback.instances_of("1.2", ["1.2.3"], there, "LUMBAR")
    finally:
        receiver.stop()


def test_a_destination_that_is_down_is_for_later() -> None:
    """Both questions may be asked again."""
    there = destination(free_port())
    with pytest.raises(DestinationUnavailable):
        pledge.ask(REFERENCES, "1.2.3.4", there, "LUMBAR", Keeper())
    with pytest.raises(DestinationUnavailable):
        readback.instances_of("1.2", ["1.2.3"], there, "LUMBAR")


def test_two_nodes_of_ours_understand_each_other(tmp_path: Path) -> None:
    """Our provider vouches for what it holds, to our user, on the same association."""
    promises, keeper = Promises(), Keeper()
    with listening(tmp_path, commitments=promises) as node:
        promises.node = node
        image = mr_image()
        assert send_in(node.port, image) == [0]
        there = destination(node.port, "LUMBAR")
        asked = [Reference(MR, str(image.SOPInstanceUID)), Reference(MR, "1.2.3.9")]
        pledge.ask(asked, "1.2.3.4", there, "SCANNER", keeper)
    (kept,) = keeper.reports
    assert kept.committed == (str(image.SOPInstanceUID),)
    assert kept.failed == (("1.2.3.9", 0x0112),)


@pytest.mark.parametrize("processes", [0, 1])
def test_a_report_comes_on_an_association_of_the_destination(
    tmp_path: Path, processes: int
) -> None:
    """With the role of the provider negotiated, to whichever process takes the association."""
    keeper = Keeper()
    with listening(tmp_path, keep=keeper, processes=processes) as node:
        wait_for(lambda: answers(node.port), what="the listener")
        asked = Asked("1.2.3.4", tuple(REFERENCES))
        report(commitment.answer(asked, lambda _: {}), destination(node.port, "LUMBAR"), "PACS")
    (kept,) = keeper.reports
    assert kept.failed == (("1.2.3.1", 0x0112), ("1.2.3.2", 0x0112))


def test_what_the_listener_answers_a_report(tmp_path: Path) -> None:
    """Success only for what was asked and is kept; the roles come back as they were proposed."""
    keeper = Keeper()
    nameless = Dataset()
    nameless.FailedSOPSequence = [commitment.item(REFERENCES[0], 0x0112)]
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    with listening(tmp_path, keep=keeper) as node:
        ae = AE("PACS")
        association = ae.associate(
            "127.0.0.1",
            node.port,
            contexts=[build_context(StorageCommitmentPushModel)],
            ext_neg=[role],
            ae_title="LUMBAR",
        )
        (context,) = association.accepted_contexts
        assert (context.as_scu, context.as_scp) == (False, True)

        def answered(said: Dataset, instance: str = "") -> int:
            status, _ = association.send_n_event_report(
                said,
                1,
                StorageCommitmentPushModel,
                instance or StorageCommitmentPushModelInstance,
            )
            return int(status.Status)

        assert answered(told("1.2.3.4")) == 0
        assert answered(told("1.2.3.4")) == 0  # told twice is told once
        assert answered(told("1.2.3.5")) == 0x0115
        assert answered(nameless) == 0x0115
        assert answered(told("1.2.3.4"), "1.2.3") == 0x0112
        keeper.is_broken = True
        assert answered(told("1.2.3.4")) == 0x0110
        association.release()


def test_dcmqrscp_names_what_it_holds(tmp_path: Path) -> None:
    """Read back from DCMTK's archive; what was not sent is not named, commitment not offered."""
    study = list(mr_study(slices=2))
    with dcmqrscp(tmp_path) as port:
        there = destination(port, "QRSCP")
        assert send(study, there, "LUMBAR").stored == 6
        series = sorted({str(i.SeriesInstanceUID) for i in study})
        found = readback.instances_of(uid("study", "1"), series, there, "LUMBAR")
        assert found == {str(i.SOPInstanceUID) for i in study}
        assert readback.instances_of(uid("study", "1"), ["1.2.3"], there, "LUMBAR") == set()
        with pytest.raises(DeliveryRefused, match="offers no storage commitment"):
            pledge.ask(REFERENCES, "1.2.3.4", there, "LUMBAR", Keeper())


def test_orthanc_vouches_for_what_it_holds(tmp_path: Path) -> None:
    """It reports to our listener, which it has to know as a modality; and it answers queries."""
    keeper = Keeper()
    image = mr_image()
    held = str(image.SOPInstanceUID)
    with listening(tmp_path / "node", keep=keeper) as node:
        settings = {"DicomAlwaysAllowFind": True}
        known = {"node": ("LUMBAR", node.port)}
        with OrthancServer(
            tmp_path / "pacs", ae_title="PACS", modalities=known, settings=settings
        ) as pacs:
            there = destination(pacs.dicom_port)
            send([image], there, "LUMBAR")
            asked = [Reference(MR, held), Reference(MR, "1.2.3.9")]
            pledge.ask(
                asked, "1.2.3.4", there, "LUMBAR", keeper, is_told=lambda: bool(keeper.reports)
            )
            (kept,) = wait_for(lambda: keeper.reports, what="the report")
            series = [str(image.SeriesInstanceUID)]
            found = readback.instances_of(str(image.StudyInstanceUID), series, there, "LUMBAR")
    assert kept == Reported("1.2.3.4", (held,), (("1.2.3.9", 0x0112),))
    assert found == {held}
