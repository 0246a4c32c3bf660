"""``bench`` as somebody runs it: every peer that is installed has its figures."""

import json
import os
from pathlib import Path

from tests.node_process import cli

RECEIVERS = ["lumbar-node", "Orthanc", "storescp --fork", "pynetdicom"]


def test_ingest_measures_this_node_beside_its_peers(tmp_path: Path) -> None:
    """Each receiver took both loads; rates, memory and CPU time are there, and the ratio to us."""
    relative = os.path.relpath(tmp_path)  # as by default: the receivers run in other folders
    size = ["--instances", "8", "--runs", "1", "--senders", "2", "--memory", "40"]
    done = cli("bench", "ingest", *size, "--folder", relative, "--json", timeout=280)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    cells = {(cell["load"], cell["receiver"]): cell for cell in found["cells"]}
    assert set(cells) == {(load, name) for load in ("series", "instance") for name in RECEIVERS}
    for cell in cells.values():
        assert cell["per_s"] > 0
        assert cell["peak_mb"] > 1
        ours = cells[cell["load"], "lumbar-node"]["per_s"]
        assert abs(cell["node_is_faster_by"] - ours / cell["per_s"]) < 1e-6
    assert set(found["floor"]["synced_per_s"]) == {"1", "4", "8"}
    assert len(found["memory_mb"]) == 10
    assert found["machine"]["cores"] >= 1
    assert list(tmp_path.iterdir()) == []


def test_pipeline_tells_where_the_time_goes() -> None:
    """The stages of an analysis add up to all of it."""
    done = cli("bench", "pipeline", "--runs", "1", "--json", timeout=280)
    assert done.returncode == 0, done.stderr
    stages = json.loads(done.stdout)["stages_ms"]
    parts = [ms for stage, ms in stages.items() if stage != "all"]
    assert len(parts) > 5
    assert min(parts) >= 0
    assert abs(sum(parts) - stages["all"]) < 1e-6 * stages["all"]
