"""A study of more than 10,000 instances: a correct result, within bounded memory."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from node.phantom import make_study
from node.spine.anatomy import Role
from tests.builders import uid
from tests.node_process import ENVIRONMENT

INSTANCES = 10_000
MOST_MB = 1500

#: ``lumbar-node analyse``, and the peak of its memory (KiB) in the last word of what it prints.
ANALYSE = """
import atexit, sys
from pathlib import Path
from node.cli import main

def say():
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(l.split()[1] for l in lines if l.startswith("VmHWM")))

atexit.register(say)
sys.argv[1:1] = ["analyse"]
main()
"""


def test_ten_thousand_slices_change_no_finding_and_fit_into_memory(tmp_path: Path) -> None:
    """A series of hair-thin slices is weighed like any other; the study's own series are used."""
    study = make_study(5)
    plain, flooded = tmp_path / "plain", tmp_path / "flooded"
    study.write(plain)
    study.write(flooded)
    thickest = [
        ds
        for ds in study.datasets()
        if ds.SeriesInstanceUID == study.volumes[Role.SAGITTAL_T2].series_uid
    ]
    _write_thin_slices(thickest[0], thickest[-1], flooded)

    expected, _ = _analyse(plain, tmp_path / "expected")
    found, peak_mb = _analyse(flooded, tmp_path / "found")

    assert [_outcome(f) for f in found["findings"]] == [_outcome(f) for f in expected["findings"]]
    assert peak_mb < MOST_MB


def _write_thin_slices(first: Dataset, last: Dataset, folder: Path) -> None:
    """Write one series of slices between two others, 48 x 48 or so, as MR of the same contrast."""
    thin = copy.deepcopy(first)
    pixels = first.pixel_array[::8, ::8].astype("<u2")
    thin.Rows, thin.Columns = pixels.shape
    thin.PixelSpacing = [float(mm) * 8 for mm in first.PixelSpacing]
    thin.PixelData = pixels.tobytes()
    thin.SeriesInstanceUID, thin.SeriesNumber = uid("series", "thin"), 77
    thin.SliceThickness = thin.SpacingBetweenSlices = 0.01
    start = np.array(first.ImagePositionPatient, dtype=float)
    way = np.array(last.ImagePositionPatient, dtype=float) - start
    for number in range(INSTANCES):
        thin.SOPInstanceUID = uid("thin", number)
        thin.file_meta.MediaStorageSOPInstanceUID = thin.SOPInstanceUID
        thin.InstanceNumber = number + 1
        place = start + way * number / (INSTANCES - 1)
        thin.ImagePositionPatient = [f"{mm:.6g}" for mm in place]
        thin.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def _analyse(folder: Path, out: Path) -> tuple[dict[str, Any], float]:
    """Run ``lumbar-node analyse``; return findings.json and the peak of its memory, MB."""
    # It says its own peak: the kernel's ru_maxrss begins with that of the process it came from.
    command = [sys.executable, "-c", ANALYSE, str(folder), "--out", str(out)]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert ended.returncode in {0, 3}, ended.stderr
    found: dict[str, Any] = json.loads((out / "findings.json").read_text("utf-8"))
    return found, int(ended.stdout.split()[-1]) / 1024


def _outcome(finding: dict[str, Any]) -> tuple[Any, ...]:
    return finding["condition"], finding["level"], finding["grade"], finding["sop_instance_uid"]
