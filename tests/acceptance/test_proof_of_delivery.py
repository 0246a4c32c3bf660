"""A real node proves its deliveries: to a real Orthanc, DCMTK's archive, and peers that lie."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests
from pydicom import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_context, build_role, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
)

from node.dicom.receiver import Receiver
from tests.builders import mr_study, uid, write_all
from tests.dcmqrscp import dcmqrscp
from tests.node_process import NodeProcess, cli, storescu
from tests.orthanc_server import OrthancServer
from tests.waiting import wait_for

STUDY = uid("study", "1")


class Archive:
    """A peer that takes everything, and may or may not have it.

    Parameters
    ----------
    forgets : int
        How many objects, the first ones, it drops.
    answers_queries : bool
    reports_to : int
        The port of a node to which it reports, on an association of its own; 0: to nobody.
    """

    def __init__(
        self, *, forgets: int = 0, answers_queries: bool = False, reports_to: int = 0
    ) -> None:
        self.held: dict[str, str] = {}  # SOP Instance UID to Series Instance UID
        self.stored = 0
        self.asked: list[Dataset] = []
        self._forgets = forgets
        self._reports_to = reports_to
        ae = AE(ae_title="ARCHIVE")
        for context in AllStoragePresentationContexts[:120]:
            ae.add_supported_context(context.abstract_syntax)
        ae.add_supported_context(StorageCommitmentPushModel)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._ask)]
        if answers_queries:
            ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
            handlers.append((evt.EVT_C_FIND, self._find))
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    def report(self, port: int, said: Dataset) -> int:
        """Report about a request on an association of its own; return the node's answer."""
        done = Dataset()
        done.TransactionUID = said.TransactionUID
        items = list(said.ReferencedSOPSequence)
        done.ReferencedSOPSequence = [i for i in items if i.ReferencedSOPInstanceUID in self.held]
        failed = [i for i in items if i.ReferencedSOPInstanceUID not in self.held]
        for item in failed:
            item.FailureReason = 0x0112
        done.FailedSOPSequence = failed
        association = AE("ARCHIVE").associate(
            "127.0.0.1",
            port,
            contexts=[build_context(StorageCommitmentPushModel)],
            ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
            ae_title="LUMBAR",
        )
        status, _ = association.send_n_event_report(
            done,
            2 if failed else 1,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
        association.release()
        return int(status.Status)

    def _store(self, event: Any) -> int:
        self.stored += 1
        if self._forgets:
            self._forgets -= 1
        else:
            self.held[str(event.dataset.SOPInstanceUID)] = str(event.dataset.SeriesInstanceUID)
        return 0

    def _ask(self, event: Any) -> tuple[int, None]:
        said = event.action_information
        self.asked.append(said)
        if self._reports_to:
            threading.Timer(0.2, self.report, (self._reports_to, said)).start()
        return 0, None

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset]]:
        series = event.identifier.SeriesInstanceUID
        for instance in [i for i, s in self.held.items() if s == series]:
            found = Dataset()
            found.QueryRetrieveLevel = "IMAGE"
            found.SOPInstanceUID = instance
            yield 0xFF00, found


def destination(name: str, ae_title: str, port: int) -> str:
    return (
        f'[[destinations]]\nname = "{name}"\nhost = "127.0.0.1"\nport = {port}\n'
        f'ae_title = "{ae_title}"\n'
    )


def proofs(node: NodeProcess) -> dict[str, tuple[str, str]]:
    """Return state and proof of each delivery, by the destination's name."""
    told = node.study(STUDY).get("deliveries", [])
    return {d["destination"]: (d["state"], d["proof"]) for d in told}


def wait_for_proofs(node: NodeProcess, wanted: dict[str, tuple[str, str]]) -> None:
    try:
        wait_for(lambda: proofs(node) == wanted, seconds=90, what="the proofs")
    except AssertionError as error:
        raise AssertionError(f"{node.study(STUDY)}\n{node.log[-4000:]}") from error


def send_study(node: NodeProcess, folder: Path) -> None:
    write_all(list(mr_study(slices=2)), folder)
    storescu(node.dicom_port, folder)


def test_each_destination_proves_what_it_can(tmp_path: Path) -> None:
    """Orthanc commits, DCMTK's archive is queried, a mere receiver is believed; all is shown."""
    pacs = OrthancServer(tmp_path / "pacs", ae_title="PACS")
    receiver = Receiver(tmp_path / "received")
    with ExitStack() as stack:
        stack.callback(receiver.stop)
        to = [
            ("orthanc", "PACS", pacs.dicom_port),
            ("dcmtk", "QRSCP", stack.enter_context(dcmqrscp(tmp_path))),
            ("receiver", receiver.ae_title, receiver.port),
        ]
        node = NodeProcess(tmp_path / "node", to)
        pacs.configuration["DicomModalities"] = {"node": ["LUMBAR", "127.0.0.1", node.dicom_port]}
        stack.enter_context(pacs)
        stack.enter_context(node)
        send_study(node, tmp_path / "images")

        wait_for_proofs(
            node,
            {
                "orthanc": ("delivered", "commitment"),
                "dcmtk": ("delivered", "query"),
                "receiver": ("delivered", "status"),
            },
        )

        page = requests.get(f"{node.url}/studies/{STUDY}", timeout=10).text
        for words in (
            "proven: it vouches for every object (storage commitment)",
            "proven: every object was found there (query): dcmtk offers no storage commitment",
            "proven by the status of each object only: receiver offers no storage commitment; "
            "receiver answers no queries",
        ):
            assert words in page
        shown = cli("show", STUDY, "--config", node.config).stdout
        assert "vouches" in shown


def test_a_report_counts_while_the_worker_is_down(tmp_path: Path) -> None:
    """The destination tells the listener; kill -9 all round, and the worker still hears of it."""
    with Archive() as peer:
        node = NodeProcess(
            tmp_path / "node", [("pacs", "ARCHIVE", peer.port)], commands=("listen", "work", "web")
        )
        with node:
            send_study(node, tmp_path / "images")
            wait_for(lambda: peer.asked, seconds=60, what="the request")
            wait_for(lambda: proofs(node) == {"pacs": ("delivered", "")}, what="the delivery")
            os.kill(node.pid("work"), signal.SIGKILL)
            assert peer.report(node.dicom_port, peer.asked[0]) == 0
            node.kill()
            node.start()
            wait_for_proofs(node, {"pacs": ("delivered", "commitment")})
            assert len(peer.asked) <= 2  # a request that was cut off is made once more
            assert peer.report(node.dicom_port, peer.asked[0]) == 0  # again is no error
            peer.asked[0].TransactionUID = "1.2.3"
            assert peer.report(node.dicom_port, peer.asked[0]) == 0x0115


def test_peers_that_accept_and_do_not_keep(tmp_path: Path) -> None:
    """What is lost is sent again; who never reports is queried; who has nothing is shown."""
    node = NodeProcess(tmp_path / "node", deliver="proof_within_s = 4.0")
    with (
        Archive(forgets=1, reports_to=node.dicom_port) as careless,
        Archive(answers_queries=True) as silent,
        Archive(forgets=10**6, reports_to=node.dicom_port) as liar,
    ):
        peers = {"careless": careless, "silent": silent, "liar": liar}
        with node.config.open("a", encoding="utf-8") as config:
            config.writelines(
                destination(name, "ARCHIVE", peer.port) for name, peer in peers.items()
            )
        with node:
            send_study(node, tmp_path / "images")
            wait_for_proofs(
                node,
                {
                    "careless": ("delivered", "commitment"),
                    "silent": ("delivered", "query"),
                    "liar": ("dead", ""),
                },
            )
            told = node.wait_until(STUDY, "failed")
        results = len(silent.held)
        assert silent.stored == results
        assert careless.stored == 2 * results  # the same objects, once more
        assert len(careless.held) == results
        assert liar.stored == 3 * results
        notes = {d["destination"]: d["proof_note"] + d["message"] for d in told["deliveries"]}
        assert "no report of storage commitment within 4 s" in notes["silent"]
        assert "no such SOP instance" in notes["liar"]
        assert any("not delivered to liar" in reason for reason in told["reasons"])
