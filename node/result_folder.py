"""A result folder: written whole or not at all, read for delivery and for how the study ended."""

import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydicom import dcmread
from pydicom.dataset import Dataset

from node import results
from node.config import Report
from node.errors import Misconfigured
from node.spine.anatomy import Role
from node.spine.findings import StudyFindings
from node.spine.volume import Volume

#: How the reason of a study begins whose analysis failed by a fault of our own.
FAULT = "internal error"

#: What a result folder holds.
RESULT = frozenset(
    {
        "capture", "overlay", "pages", "sr.dcm", "pdf.dcm", "ko.dcm",
        "submission.csv", "findings.json", "fhir.json",
    }
)  # fmt: skip


def write(
    folder: Path,
    findings: StudyFindings,
    headers: Mapping[str, Dataset],
    volumes: Mapping[Role, Volume],
    *,
    settings: Report,
    created: datetime,
    earlier: Sequence[Path] = (),
) -> list[Path]:
    """Build the result objects and put them, all or none, into ``folder``.

    Parameters
    ----------
    folder : Path
    findings : StudyFindings
    headers : dict of SOP Instance UID to Dataset
    volumes : dict of Role to Volume
    settings : Report
    created : datetime
    earlier : sequence of Path
        The reports delivered for this study before, oldest first.

    Returns
    -------
    list of Path
        The DICOM objects in delivery order: captures, overlays, then what refers to them.

    Raises
    ------
    Misconfigured
        When ``folder`` holds anything but an earlier result: nothing of it is touched.
    """
    _refuse_foreign(folder)
    built = results.build(
        findings,
        headers,
        volumes,
        settings=settings,
        created=created,
        earlier=[dcmread(report) for report in earlier],
    )
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was cut off
    for name in ("capture", "overlay", "pages"):
        (draft / name).mkdir(parents=True, exist_ok=True)
    for number, capture in enumerate(built.captures, 1):
        capture.save_as(draft / f"capture/{number:02d}.dcm", enforce_file_format=True)
    for number, overlay in enumerate(built.overlays, 1):
        overlay.save_as(draft / f"overlay/{number:02d}.dcm", enforce_file_format=True)
    for name, page in built.pages.items():
        page.save(draft / f"pages/{name}.png")
    single = {"pdf": built.document, "sr": built.report, "ko": built.key_objects}
    for name, made in single.items():
        if made is not None:
            made.save_as(draft / f"{name}.dcm", enforce_file_format=True)
    if built.fhir is not None:
        (draft / "fhir.json").write_text(json.dumps(built.fhir, indent=1), "utf-8")
    (draft / "submission.csv").write_text(results.submission(findings), "utf-8")
    (draft / "findings.json").write_text(json.dumps(findings.to_json(), indent=1), "utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    draft.rename(folder)
    return delivery_order(folder)


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder with somebody's files in it; only an earlier result may be replaced."""
    foreign = sorted({p.name for p in folder.iterdir()} - RESULT) if folder.exists() else []
    if foreign:
        raise Misconfigured(
            f"{folder} holds other files ({', '.join(foreign[:3])}): choose a new or empty folder"
        )


def delivery_order(folder: Path) -> list[Path]:
    """List a result folder's DICOM objects so that references resolve on arrival."""
    return [
        *sorted((folder / "capture").glob("*.dcm")),
        *sorted((folder / "overlay").glob("*.dcm")),
        *(path for name in ("pdf", "sr", "ko") if (path := folder / f"{name}.dcm").is_file()),
    ]


def ending(folder: Path) -> Literal["done", "rejected", "failed"]:
    """Return the state in which a study ends whose results, in this folder, are delivered."""
    findings = json.loads((folder / "findings.json").read_text("utf-8"))
    if any(reason.startswith(FAULT) for reason in findings["reasons"]):
        return "failed"
    return "rejected" if findings["status"] == "rejected" else "done"
