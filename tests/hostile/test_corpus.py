"""The listener against everything in the corpus: a clean answer, nothing left, still alive."""

import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, build_context, evt

from node import analysis
from node.dicom.intake import part10_header
from node.dicom.upper_layer.transport import as_requestor
from node.errors import InvalidInstance
from tests.builders import mr_image, part10, write_all
from tests.hostile.corpus import TAKEN, Case, cases, image
from tests.receiving import Node, dataset, listening, store_raw

EXPLICIT = str(ExplicitVRLittleEndian)
MR = str(MRImageStorage)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One listener for the whole corpus: no case may spoil it for the next."""
    with listening(tmp_path_factory.mktemp("hostile")) as running:
        yield running


def associate(port: int, syntax: str = EXPLICIT, max_pdu: int = 16382) -> Any:
    ae = AE(ae_title="HOSTILE")
    ae.acse_timeout = ae.dimse_timeout = 5
    contexts = [build_context(MR, syntax)]
    handlers = [(evt.EVT_CONN_OPEN, as_requestor)]
    return ae.associate(
        "127.0.0.1", port, contexts, "LUMBAR", max_pdu=max_pdu, evt_handlers=handlers
    )


def assert_unharmed(node: Node) -> None:
    """A good image is taken, and nothing unfinished lies around."""
    association = associate(node.port)
    good = mr_image("good")
    assert store_raw(association, MR, good.SOPInstanceUID, dataset(part10(good))) == 0
    association.release()
    assert node.unfinished() == []


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_each_case_has_its_answer(node: Node, case: Case) -> None:
    """Refused with a status or taken as it is; a refusal stores nothing."""
    before = len(node.datasets())
    association = associate(node.port, case.syntax)
    answer = store_raw(association, MR, mr_image().SOPInstanceUID, case.body)
    association.release()
    assert answer == case.answer
    assert len(node.datasets()) - before == (case.answer == TAKEN)
    if case.answer != TAKEN:
        assert_unharmed(node)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "case", [c for c in cases() if c.answer == TAKEN], ids=lambda case: case.name
)
def test_what_is_taken_is_read_or_left_out(case: Case, tmp_path: Path) -> None:
    """What the structure does not give away ends in a volume, or in a reason for this image."""
    path = tmp_path / "case.dcm"
    header = part10_header(MR, str(mr_image().SOPInstanceUID), case.syntax)
    path.write_bytes(header + case.body)
    others = write_all([mr_image(number=number) for number in range(2, 8)], tmp_path / "good")
    try:
        (taken,) = analysis.read([path, *others])
    except InvalidInstance as refusal:
        raise AssertionError("one image may only cost itself") from refusal
    volumes, left_out = analysis.load(taken, analysis.choose(taken))
    (volume,) = volumes.values()
    assert len(volume.slices) in {6, 7}
    assert all(np.isfinite(s.pixels).all() for s in volume.slices)
    assert all("\n" not in why and len(why) < 400 for why in left_out.values())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["../../../tmp/x", "/etc/passwd", "1.2\0.3", "", "1" * 70, "1.02"])
def test_a_command_with_an_illegal_uid_stores_nothing(node: Node, name: str) -> None:
    """The SOP Instance UID of the command is never believed."""
    before = len(node.datasets())
    association = associate(node.port)
    assert store_raw(association, MR, name, image()) in {-1, 0xC000}
    association.abort()
    assert len(node.datasets()) == before
    assert_unharmed(node)


@pytest.mark.parametrize("max_pdu", [0, 1, 7, 4096, 2**32 - 1])
def test_any_maximum_pdu_size_is_survived(node: Node, max_pdu: int) -> None:
    """A peer may announce any PDU size, sensible or not."""
    association = associate(node.port, max_pdu=max_pdu)
    association.abort()
    assert_unharmed(node)


@pytest.mark.parametrize("kind", [1, 2, 4, 5, 7])
def test_a_pdu_of_4_gib_is_not_believed(node: Node, kind: int) -> None:
    """A PDU that announces 4 GiB ends its connection; memory stays where it is."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as connection:
        connection.sendall(struct.pack(">BBI", kind, 0, 0xFFFFFFFF) + b"\0" * 1000)
        try:
            while connection.recv(4096):
                pass
        except ConnectionError:
            pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert_unharmed(node)


def test_nothing_was_written_outside_the_archive(node: Node) -> None:
    """After the whole corpus the folder holds archive, quarantine and index, nothing else."""
    names = {path.name for path in node.root.iterdir()}
    assert names <= {
        "archive",
        "quarantine",
        "index.sqlite",
        "index.sqlite-wal",
        "index.sqlite-shm",
    }
    assert {path.name for path in (node.root / "archive").iterdir()} == {"objects", "incoming"}
    assert not Path("/tmp/lumbar-hostile").exists()  # noqa: S108 - a name from the corpus
    assert node.listener.counts.get("failed", 0) == 0
