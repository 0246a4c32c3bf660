"""DCMTK's archive (``dcmqrscp``) as a plain process on loopback, for tests."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.loopback import free_port
from tests.receiving import DCMTK_ENVIRONMENT
from tests.waiting import answers, wait_for


@contextmanager
def dcmqrscp(folder: Path) -> Iterator[int]:
    """Run an archive of AE title QRSCP that takes and finds, without storage commitment."""
    port = free_port()
    images = folder / "qrscp"
    images.mkdir(parents=True)
    config = folder / "qrscp.cfg"
    config.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 131072\nMaxAssociations = 16\n"
        "HostTable BEGIN\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQRSCP {images} RW (200, 1024mb) ANY\nAETable END\n",
        "utf-8",
    )
    with (folder / "qrscp.log").open("wb") as log:
        process = subprocess.Popen(
            ["/usr/bin/dcmqrscp", "-c", config],
            env=DCMTK_ENVIRONMENT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: answers(port), what="dcmqrscp")
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)
