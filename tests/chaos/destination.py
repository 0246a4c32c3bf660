"""A destination that is not always well: ``python -m tests.chaos.destination --folder DIR``.

What it does is written into a file by the test; it keeps what it was sent as any small PACS.
"""

import argparse
import hashlib
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydicom import Dataset
from pynetdicom import build_context, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from node.dicom import statuses
from node.dicom.commitment import ALL_COMMITTED, SOME_FAILED
from node.dicom.receiver import Receiver
from tests.node_process import ENVIRONMENT

WELL = "well"
#: What may be wrong with a destination.
MOODS = (
    "refusing associations",
    "hanging",
    "closing mid-transfer",
    "answering A700",
    "answering C000",
    "failing commitment",
)
_POLL_S = 0.05
_REPORT_S = 0.1
_NO_SUCH_INSTANCE = 0x0112


class MoodyReceiver(Receiver):
    """A storage SCP that behaves as the file ``mood`` in its folder says."""

    def __init__(self, folder: Path, ae_title: str) -> None:
        super().__init__(folder, ae_title=ae_title)
        self._taken = 0
        self._server.contexts.append(build_context(StorageCommitmentPushModel))
        self._server.bind(evt.EVT_CONN_OPEN, self._on_open)
        self._server.bind(evt.EVT_N_ACTION, self._on_action)
        threading.Thread(target=self._follow, daemon=True).start()

    @property
    def _mood(self) -> str:
        return (self._folder / "mood").read_text("ascii")

    def _follow(self) -> None:
        while True:
            is_refusing = self._mood == "refusing associations"
            self._server.ae.require_calling_aet = ["NOBODY"] if is_refusing else []
            time.sleep(_POLL_S)

    def _on_open(self, event: Any) -> None:  # noqa: ARG002
        while self._mood == "hanging":
            time.sleep(_POLL_S)

    def _on_store(self, event: Any) -> int:
        mood = self._mood
        self._taken += 1
        if mood == "closing mid-transfer" and self._taken % 3 == 0:
            event.assoc.dul.socket.close()
            return statuses.SUCCESS
        if mood == "answering A700":
            return 0xA700
        if mood == "answering C000":
            return 0xC000
        body = event.request.DataSet.getvalue()
        with (self._folder / "arrivals").open("a") as file:
            digest = hashlib.sha256(body).hexdigest()
            file.write(f"{event.request.AffectedSOPInstanceUID} {digest}\n")
        return super()._on_store(event)

    def _on_action(self, event: Any) -> tuple[int, None]:
        """Promise to report what is held; in a bad mood it is no longer."""
        said = event.action_information
        if self._mood == "failing commitment":
            for item in said.ReferencedSOPSequence:
                (self._folder / f"{item.ReferencedSOPInstanceUID}.dcm").unlink(missing_ok=True)
        threading.Timer(_REPORT_S, self._report, (event.assoc, said)).start()
        return statuses.SUCCESS, None

    def _report(self, association: Any, said: Dataset) -> None:
        committed, failed = [], []
        for item in said.ReferencedSOPSequence:
            if (self._folder / f"{item.ReferencedSOPInstanceUID}.dcm").exists():
                committed.append(item)
            else:
                item.FailureReason = _NO_SUCH_INSTANCE
                failed.append(item)
        told = Dataset()
        told.TransactionUID = said.TransactionUID
        told.ReferencedSOPSequence, told.FailedSOPSequence = committed, failed
        with suppress(RuntimeError):  # the node has ended the association
            association.send_n_event_report(
                told,
                SOME_FAILED if failed else ALL_COMMITTED,
                StorageCommitmentPushModel,
                StorageCommitmentPushModelInstance,
            )


class Destination:
    """A `MoodyReceiver` as a process, and what it has received.

    Attributes
    ----------
    port : int
    """

    def __init__(self, folder: Path, ae_title: str) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.ae_title = ae_title
        self.mood = WELL
        command = [sys.executable, "-m", "tests.chaos.destination"]
        self._process = subprocess.Popen(
            [*command, "--folder", folder, "--ae-title", ae_title],
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(timeout=10)

    @property
    def mood(self) -> str:
        """One of `MOODS`, or `WELL`."""
        return (self._folder / "mood").read_text("ascii")

    @mood.setter
    def mood(self, mood: str) -> None:
        part = self._folder / "mood.part"
        part.write_text(mood, "ascii")
        part.replace(self._folder / "mood")

    def files(self) -> list[Path]:
        """Return what it holds."""
        return sorted(self._folder.glob("*.dcm"))

    def arrivals(self) -> list[tuple[str, str]]:
        """Return (SOP Instance UID, SHA-256 of the data set) of each object that came, in order."""
        path = self._folder / "arrivals"
        lines = path.read_text("ascii").splitlines() if path.exists() else []
        return [(uid, digest) for uid, _, digest in (line.partition(" ") for line in lines)]


def main() -> int:
    """Run until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ae-title", required=True)
    options = parser.parse_args()
    receiver = MoodyReceiver(options.folder, options.ae_title)
    sys.stdout.write(f"{receiver.port}\n")
    sys.stdout.flush()
    signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
