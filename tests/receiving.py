"""A listener with its archive and index in one folder, and raw DICOM senders, for tests."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.config import IGNORE
from pydicom.uid import UID
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

from node.config import Listen, Source, Tls
from node.dicom.audit import Note
from node.dicom.commitment import Commitments
from node.dicom.intake import read_row
from node.dicom.pledge import Keep
from node.dicom.reading.limits import check
from node.dicom.scp.listener import Listener
from node.loopback import free_port
from node.storage.archive import Archive
from node.storage.index import Index
from node.storage.quarantine import Quarantine
from tests.waiting import answers, wait_for

#: Without TCP_NODELAY Debian's DCMTK waits 40 ms for each answer.
DCMTK_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


@dataclass
class Node:
    """A running listener."""

    listener: Listener
    archive: Archive
    index: Index
    root: Path
    port: int
    quarantine: Quarantine

    def datasets(self) -> list[bytes]:
        """Return the data set of every file in the archive, sorted."""
        return sorted(dataset(file.path.read_bytes()) for file in self.archive.iterate())

    def unfinished(self) -> list[Path]:
        """Return the files that are neither committed nor removed."""
        return list((self.root / "archive" / "incoming").iterdir())


@contextmanager
def listening(
    root: Path,
    sources: Sequence[Source] = (),
    tls: Tls | None = None,
    note: Note = lambda *_: None,
    commitments: Commitments | None = None,
    *,
    archive: Archive | None = None,
    keep: Keep = lambda _: False,
    **settings: Any,
) -> Iterator[Node]:
    """Run a listener on a free port; keyword arguments are settings of `config.Listen`.

    Its acceptor runs in this process unless ``processes`` says otherwise.
    """
    options = Listen(**{"port": free_port(), "min_free_mb": 10, "processes": 0, **settings})
    archive = archive or Archive(root / "archive", options.min_free_mb)
    index = Index(f"sqlite:///{root}/index.sqlite")
    index.rebuild(archive.iterate(), read_row)  # as a node does when it starts
    quarantine = Quarantine(root / "quarantine", 64)
    listener = Listener(
        *(options, archive, index, sources, quarantine),
        tls=tls,
        note=note,
        commitments=commitments,
        keep=keep,
    )
    listener.start()
    try:
        yield Node(listener, archive, index, root, options.port, quarantine)
    finally:
        listener.stop()
        index.close()


@contextmanager
def listening_process(root: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run a listener in a process of its own, which is killed at the end."""
    script = (
        "import sys, time; from pathlib import Path; from tests.receiving import listening\n"
        "with listening(Path(sys.argv[1]), port=int(sys.argv[2]), processes=2): time.sleep(600)\n"
    )
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", script, root, str(port)],
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: answers(port), what="the listener's process")
        yield process, port
    finally:
        process.kill()
        process.wait(timeout=20)


def dataset(part10: bytes) -> bytes:
    """Return the bytes of a file after its meta information."""
    return part10[check(part10).dataset_offset :]


def dcmtk(tool: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run a DCMTK tool by full path; pynetdicom puts others of the same names into the PATH."""
    return subprocess.run(
        [f"/usr/bin/{tool}", *map(str, arguments)],
        env=DCMTK_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def storescu(port: int, paths: Sequence[Path], *options: object, called: str = "LUMBAR") -> Any:
    """Send files with DCMTK's storescu."""
    return dcmtk("storescu", *options, "-aec", called, "127.0.0.1", port, *paths)


def store_raw(association: Any, sop_class: str, sop_instance: str, body: bytes) -> int:
    """Send bytes as the data set of a C-STORE; nobody looks at anything on this side.

    Returns
    -------
    int
        The status, or -1 when the peer ended the association.
    """
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, "1.2.3"
    request.DataSet = BytesIO(body or b"\0")
    message: Any = C_STORE_RQ()
    message.primitive_to_message(request)
    message.command_set[0x00001000].value = UID(sop_instance, validation_mode=IGNORE)
    if not body:
        message.data_set = BytesIO()
    # The order pynetdicom's own send_c_store keeps: its reactor must not take the answer.
    association._reactor_checkpoint.clear()
    wait_for(lambda: association._is_paused, what="the reactor")
    context = association.accepted_contexts[0].context_id
    for piece in message.encode_msg(context, association.dimse.maximum_pdu_size):
        association.dul.send_pdu(piece)
    if not body:
        association.dul.send_pdu(_empty_last_fragment(context))
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return -1 if answer is None else int(answer.Status)


def _empty_last_fragment(context: int) -> Any:
    """Return a P-DATA that says: this was the data set (PS3.8 annex E.2)."""
    piece = P_DATA()
    piece.presentation_data_value_list.append([context, b"\x02"])
    return piece
