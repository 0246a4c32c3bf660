"""``bench end-to-end``: from the last image acknowledged to the report at its destination."""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom import dcmread

from node.bench import machine, receivers, senders
from node.bench.receivers import AE_TITLE
from node.dicom.receiver import Receiver
from node.errors import LumbarError
from node.loopback import free_port
from node.phantom import make_study

_REPORTS = "1.2.840.10008.5.1.4.1.1.88."  # the root of the structured report classes
_LIMIT_S = 600.0


def run(*, runs: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Send phantom studies to a node as it is shipped, one after another; return seconds.

    Raises
    ------
    LumbarError
        When a report does not arrive.
    """
    with tempfile.TemporaryDirectory(prefix="lumbar-bench-") as name:
        folder = Path(name)
        pacs = Receiver(folder / "pacs")
        node = receivers.Receiver("lumbar-node", "", sys.executable, _serve(pacs.port))
        seconds = []
        try:
            with receivers.running(node, folder) as (_, port):
                for number in range(runs):
                    progress(f"study {number + 1} of {runs}")
                    files = make_study(100 + number).write(folder / f"study{number}")
                    known = set(pacs.files())
                    senders.send(port, [files], per_association=len(files))
                    seconds.append(_until_reported(pacs, known))
        finally:
            pacs.stop()
        return {
            "machine": machine.describe(folder),
            "runs": runs,
            "seconds": seconds,
            "median_s": statistics.median(seconds),
        }


def _serve(pacs_port: int) -> Callable[[str, int, Path], list[str]]:
    def command(python: str, port: int, folder: Path) -> list[str]:
        config = folder / "node.toml"
        config.write_text(
            f"data_dir = {json.dumps(str(folder / 'node'))}\n"
            f'[listen]\nport = {port}\nae_title = "{AE_TITLE}"\n'
            f"[web]\nport = {free_port()}\n"
            '[[destinations]]\nname = "pacs"\nhost = "127.0.0.1"\nae_title = "RECEIVER"\n'
            f"port = {pacs_port}\n",
            "utf-8",
        )
        return [python, "-m", "node.cli", "serve", "--config", str(config)]

    return command


def _until_reported(pacs: Receiver, known: set[Path]) -> float:
    """Return the seconds until a report is there that was not there before."""
    started = time.perf_counter()
    while time.perf_counter() - started < _LIMIT_S:
        for path in set(pacs.files()) - known:
            known.add(path)
            if dcmread(path, specific_tags=["SOPClassUID"]).SOPClassUID.startswith(_REPORTS):
                return time.perf_counter() - started
        time.sleep(0.02)
    raise LumbarError(f"no report arrived within {_LIMIT_S:.0f} s")
