"""What stores and displays make of the results: Orthanc's previews, DCMTK's presentation states."""

import io
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import requests
from PIL import Image
from pydicom.misc import is_dicom

from node.spine.anatomy import Grade
from tests.conformance.cases import Case
from tests.orthanc_server import OrthancServer


def test_orthanc_stores_them_in_the_source_study_and_previews_the_pages(
    shown_case: Case, source_folder: Path, orthanc: OrthancServer
) -> None:
    """One study, each object served as it was sent; a page's preview is the page."""
    source = next(p for p in source_folder.rglob("*") if p.is_file() and is_dicom(p))
    sent = [path.read_bytes() for path in (source, *shown_case.files)]
    for part10 in sent:
        orthanc.upload(part10)

    assert len(orthanc.get("/studies")) == 1
    assert set(orthanc.files().values()) == set(sent)
    for capture, page in zip(
        shown_case.built.captures, shown_case.built.pages.values(), strict=True
    ):
        found = requests.post(
            f"{orthanc.url}/tools/lookup", data=capture.SOPInstanceUID, timeout=20
        )
        answer = requests.get(f"{orthanc.url}{found.json()[0]['Path']}/preview", timeout=20)
        preview = Image.open(io.BytesIO(answer.content)).convert("RGB")
        assert preview.tobytes() == page.convert("RGB").tobytes()


def test_dcmtk_shows_the_overlay_and_leaves_the_image_as_it_was(
    shown_case: Case, source_folder: Path, tmp_path: Path
) -> None:
    """The ring is where the finding is, with its line; every pixel looks as without it."""
    sources = {
        pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID: p
        for p in source_folder.rglob("*")
        if p.is_file() and is_dicom(p)
    }
    states = [path for path in shown_case.files if path.stem.endswith("PR")]
    overlays = {
        made.ReferencedSeriesSequence[0].SeriesInstanceUID: path
        for made, path in zip(shown_case.built.overlays, states, strict=True)
    }
    marked = [f for f in shown_case.reported if f.grade is not Grade.NORMAL_MILD]
    assert bool(marked) == bool(overlays)
    for finding in marked:
        source, overlay = sources[finding.sop_instance_uid], overlays[finding.series_uid]
        image = pydicom.dcmread(source)
        if image.file_meta.TransferSyntaxUID.is_compressed:
            source = tmp_path / "plain.dcm"
            image.decompress(generate_instance_uid=False)
            image.save_as(source, enforce_file_format=True)
        plain, shown = tmp_path / "plain.pgm", tmp_path / "shown.pgm"
        show = ["/usr/bin/dcmp2pgm", "--verbose"]
        told = subprocess.run(
            [*show, "--pstate", overlay, source, shown], capture_output=True, text=True, check=True
        )
        subprocess.run([*show, source, plain], capture_output=True, check=True)

        assert shown.read_bytes() == plain.read_bytes()
        assert len(set(shown.read_bytes())) > 100
        side = f" {finding.condition.side}" if finding.condition.side else ""
        assert f'"AI {finding.level.label}{side}: ' in told.stdout + told.stderr
        column, row = np.array([finding.column, finding.row], dtype=np.float32) + 0.5
        assert f"coordinates: {column:.6g}\\{row:.6g}, " in told.stdout + told.stderr
