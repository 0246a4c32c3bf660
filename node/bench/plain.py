"""A receiver as pynetdicom's documentation suggests one, with a sync: the peer of our listener.

``python -m node.bench.plain PORT FOLDER`` writes the bytes as they came and syncs the file.
"""

import os
import sys
from pathlib import Path
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.sop_class import MRImageStorage, Verification

from node.dicom.upper_layer.transport import no_delay
from node.dicom.upper_layer.wire import MAX_PDU


def main(port: int, folder: Path) -> None:
    """Receive until killed."""

    def store(event: Any) -> int:
        with (folder / f"{event.request.AffectedSOPInstanceUID}.dcm").open("wb") as file:
            file.write(event.encoded_dataset())
            file.flush()
            os.fsync(file.fileno())
        return 0x0000

    ae = AE(ae_title="LUMBAR")
    ae.maximum_associations, ae.maximum_pdu_size = 100, MAX_PDU
    ae.add_supported_context(Verification)
    ae.add_supported_context(MRImageStorage)
    handlers = [(evt.EVT_CONN_OPEN, no_delay), (evt.EVT_C_STORE, store)]
    ae.start_server(("127.0.0.1", port), block=True, evt_handlers=handlers)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
