"""``lumbar-node demo``: a phantom study through a real node into a receiving PACS.

Everything is real but the patient: a node process, C-STORE in, the shipped models, C-STORE out to
an Orthanc where one is installed, else to the small receiver of this package. Kept up, the node
shows the study in OHIF.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from node import tables, viewer
from node.config import Destination
from node.dicom import sender
from node.errors import DestinationUnavailable, LumbarError, Misconfigured
from node.loopback import find, free_port, running
from node.phantom import StudyOptions, make_study
from node.spine.anatomy import Condition, Level
from node.spine.findings import StudyFindings
from node.web.ohif import viewer_link

SEED = 20240
#: A patient worth looking at; the other findings are drawn with the prevalence of real ones.
SEVERITIES = {
    (Condition.SPINAL_CANAL_STENOSIS, Level.L3_L4): 0.55,
    (Condition.SPINAL_CANAL_STENOSIS, Level.L4_L5): 0.85,
    (Condition.LEFT_SUBARTICULAR_STENOSIS, Level.L4_L5): 0.9,
    (Condition.RIGHT_SUBARTICULAR_STENOSIS, Level.L4_L5): 0.55,
    (Condition.RIGHT_NEURAL_FORAMINAL_NARROWING, Level.L4_L5): 0.55,
    (Condition.LEFT_NEURAL_FORAMINAL_NARROWING, Level.L5_S1): 0.9,
}
QUIET_S = 2
LIMIT_S = 150.0


@dataclass(frozen=True)
class Pacs:
    """The receiving side: where to send, and how to count the objects that arrived."""

    name: str
    destination: Destination
    count: Callable[[], int]


def run(out: Path, console: Console, *, keep: bool) -> int:
    """Run the demonstration; 0 when the results arrived at the PACS.

    Parameters
    ----------
    out : Path
        Gets ``study/`` (the phantom), ``results/`` and the node's log.
    console : Console
    keep : bool
        Leave everything up, with OHIF and the review page, until Ctrl-C.
    """
    # However it is told to end, the processes it started end first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(130))
    if out.exists():
        if any(out.iterdir()) and not (out / "node.toml").is_file():
            raise Misconfigured(f"{out} holds other files: choose a new or empty folder")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    with ExitStack() as stack, _progress(console) as progress:
        step = progress.add_task("making a phantom study", total=None)
        phantom = make_study(SEED, options=StudyOptions(severities=SEVERITIES))
        files = phantom.write(out / "study")
        progress.update(step, description="starting the receiving PACS")
        pacs = _start_pacs(out, stack)
        if keep:
            progress.update(step, description="fetching OHIF, once (50 MB)")
        ohif = _ohif(console) if keep else None
        progress.update(step, description="starting the node")
        web_port, node = _start_node(out, pacs.destination, ohif, stack)
        progress.update(step, description=f"sending {len(files)} images by C-STORE")
        sender.send(files, node, "PHANTOM")
        progress.update(step, description="waiting for the results")
        shown = _wait_for_results(web_port, phantom.study_uid)
        progress.stop()
        results = _collect(out)
        truth = {key: known.grade for key, known in phantom.truth.items()}
        findings = StudyFindings.from_json(json.loads((results / "findings.json").read_text()))
        _tell(console, findings, truth, pacs, results)
        if keep:
            _keep(console, f"http://127.0.0.1:{web_port}", phantom.study_uid, ohif)
        return 0 if shown["state"] == "done" else 1


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _tell(
    console: Console, findings: StudyFindings, truth: dict[Any, Any], pacs: Pacs, results: Path
) -> None:
    console.print(tables.findings_grid(findings, truth=truth))
    assessed = [f for f in findings.findings if f.is_assessed]
    right = sum(f.grade == truth[f.key] for f in assessed)
    console.print(f"{len(assessed)} of 25 assessed; {right} agree with the phantom's known grade")
    for reason in findings.reasons:
        console.print(f"  {reason}", highlight=False)
    console.print(f"{pacs.count()} result objects arrived at {pacs.name}", highlight=False)
    console.print(f"report, captures and pages: {results}", highlight=False)


def _ohif(console: Console) -> Path | None:
    """Return the folder of OHIF; without a network, say so and do without it."""
    folder = viewer.cache_folder()
    try:
        viewer.fetch(folder)
    except LumbarError as error:
        console.print(f"without OHIF: {error}", highlight=False)
        return None
    return folder


def _keep(console: Console, node: str, study_uid: str, ohif: Path | None) -> None:
    if ohif:
        console.print(f"in OHIF: {node}{viewer_link(study_uid)}", highlight=False, soft_wrap=True)
    page = f"{node}/studies/{study_uid}"
    console.print(f"review page: {page}   (Ctrl-C ends the demonstration)", highlight=False)
    signal.pause()


def _start_pacs(out: Path, stack: ExitStack) -> Pacs:
    port = free_port()
    program = find("Orthanc")
    if program is None:
        folder = out / "pacs"
        receiver = [sys.executable, "-m", "node.dicom.receiver"]
        receiver += ["--port", str(port), "--folder", str(folder)]
        stack.enter_context(running(receiver, out / "pacs.log"))
        place = Destination(name="pacs", host="127.0.0.1", port=port, ae_title="PACS")
        _wait_for_echo(place)
        return Pacs("the bundled receiver", place, lambda: len(list(folder.rglob("*.dcm"))))
    http_port = free_port()
    settings = {
        "Name": "demo PACS",
        "StorageDirectory": str(out / "orthanc"),
        "IndexDirectory": str(out / "orthanc"),
        "HttpPort": http_port,
        "DicomPort": port,
        "DicomAet": "PACS",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "Plugins": [],
    }
    (out / "orthanc.json").write_text(json.dumps(settings))
    stack.enter_context(running([program, str(out / "orthanc.json")], out / "pacs.log"))
    place = Destination(name="pacs", host="127.0.0.1", port=port, ae_title="PACS")
    _wait_for_echo(place)

    def count() -> int:
        return int(_get_json(f"http://127.0.0.1:{http_port}/statistics")["CountInstances"])

    return Pacs(f"Orthanc (http://127.0.0.1:{http_port})", place, count)


def _start_node(
    out: Path, pacs: Destination, ohif: Path | None, stack: ExitStack
) -> tuple[int, Destination]:
    dicom_port, web_port = free_port(), free_port()
    (out / "node.toml").write_text(
        f"""data_dir = {json.dumps(str((out / "node").resolve()))}
[listen]
port = {dicom_port}
min_free_mb = 200
[complete]
quiet_s = {QUIET_S}
[web]
port = {web_port}
{f"viewer_dir = {json.dumps(str(ohif))}" if ohif else ""}
[[destinations]]
name = "pacs"
host = "127.0.0.1"
port = {pacs.port}
ae_title = "{pacs.ae_title}"
"""
    )
    command = [sys.executable, "-m", "node.cli", "serve", "--config", str(out / "node.toml")]
    process = stack.enter_context(running(command, out / "node.log"))
    place = Destination(name="node", host="127.0.0.1", port=dicom_port, ae_title="LUMBAR")
    _wait_for_echo(place, process, out / "node.log")
    return web_port, place


def _wait_for_echo(
    place: Destination, process: subprocess.Popen[bytes] | None = None, log: Path | None = None
) -> None:
    deadline = time.monotonic() + 30
    while True:
        if process is not None and process.poll() is not None:
            raise LumbarError(f"the node ended at its start; its log is {log}")
        try:
            sender.echo(place, "DEMO")
        except DestinationUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _wait_for_results(web_port: int, study_uid: str) -> dict[str, Any]:
    deadline = time.monotonic() + LIMIT_S
    ended = {"done", "failed", "rejected", "incomplete"}
    shown: dict[str, Any] = {"state": "unknown"}
    while time.monotonic() < deadline:
        shown = _get_json(f"http://127.0.0.1:{web_port}/api/studies/{study_uid}")
        if shown["state"] in ended:
            return shown
        time.sleep(0.3)
    raise LumbarError(f"the study is still {shown['state']!r} after {LIMIT_S:.0f} s; see node.log")


def _collect(out: Path) -> Path:
    """Copy the one result folder to where a person looks for it."""
    (folder,) = (p for p in (out / "node" / "results").iterdir() if p.is_dir())
    return Path(shutil.copytree(folder, out / "results"))


def _get_json(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback, made above
        loaded: dict[str, Any] = json.load(answer)
        return loaded
