"""A small receiving PACS: keeps whatever it is sent in one folder. For ``demo`` and for tests.

``python -m node.dicom.receiver --port 0 --folder DIR`` prints the port it listens on.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pynetdicom import AE, DEFAULT_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from node.dicom import statuses
from node.dicom.reading.limits import uid
from node.dicom.upper_layer.transport import no_delay
from node.dicom.upper_layer.wire import MAX_PDU
from node.errors import InvalidInstance


class Receiver:
    """A storage SCP on loopback that writes ``<SOP Instance UID>.dcm`` files.

    Parameters
    ----------
    folder : Path
        Created when missing.
    port : int
        0 takes a free one; `port` says which.
    ae_title : str
    transfer_syntaxes : sequence of str
        Uncompressed ones, as results are, unless set: pynetdicom copies all of them, for every
        class, for each association.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        ae_title: str = "RECEIVER",
        *,
        transfer_syntaxes: Sequence[str] = DEFAULT_TRANSFER_SYNTAXES,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.ae_title = ae_title
        ae = AE(ae_title=ae_title)
        ae.maximum_pdu_size = MAX_PDU
        ae.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(context.abstract_syntax, list(transfer_syntaxes))
        handlers = [(evt.EVT_CONN_OPEN, no_delay), (evt.EVT_C_STORE, self._on_store)]
        self._server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        self.port: int = self._server.server_address[1]

    def stop(self) -> None:
        """Stop listening and end open associations."""
        self._server.ae.shutdown()

    def files(self) -> list[Path]:
        """Return what has been received, sorted by name."""
        return sorted(self._folder.glob("*.dcm"))

    def _on_store(self, event: Any) -> int:
        try:
            name = uid(str(event.request.AffectedSOPInstanceUID))
        except InvalidInstance:
            return statuses.CANNOT_UNDERSTAND
        part = self._folder / f"{name}.part"
        part.write_bytes(event.encoded_dataset())
        part.replace(self._folder / f"{name}.dcm")
        return statuses.SUCCESS


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m node.dicom.receiver", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ae-title", default="RECEIVER")
    options = parser.parse_args(arguments)
    receiver = Receiver(options.folder, options.port, options.ae_title)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    sys.stdout.write(f"{receiver.port}\n")
    sys.stdout.flush()
    stop.wait()
    receiver.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
