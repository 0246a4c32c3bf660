"""``bench pipeline``: how long each stage of an analysis takes, on a phantom study."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node import analysis
from node.bench import machine
from node.config import Config
from node.inference.runtime import ModelStore
from node.phantom import make_study

_SEED = 7


def run(config: Config, *, runs: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Analyse a phantom study several times; return the median of each stage in ms.

    The first analysis, which loads the models, is not counted.
    """
    store = ModelStore(config.models_dir, config.work.provider, config.work.threads)
    with tempfile.TemporaryDirectory(prefix="lumbar-bench-") as name:
        folder = Path(name)
        progress("making a phantom study")
        files = make_study(_SEED).write(folder / "study")
        measured = []
        for number in range(runs + 1):
            progress(f"analysis {number} of {runs}")
            measured.append(_one(files, store, folder / str(number), config))
        here = machine.describe(folder)
    counted = measured[1:]
    stages = {key: statistics.median(one[key] for one in counted) for key in counted[0]}
    return {"machine": here, "images": len(files), "runs": runs, "stages_ms": stages}


def _one(files: list[Path], store: ModelStore, out: Path, config: Config) -> dict[str, float]:
    """Return the time (ms) of each stage: headers, those the findings tell, and results."""
    started = time.perf_counter()
    (taken,) = analysis.read(files)
    headers_ms = (time.perf_counter() - started) * 1000
    findings = analysis.analyse(taken, store, out, settings=config.report)
    all_ms = (time.perf_counter() - started) * 1000
    told = {key: float(value) for key, value in findings.timings_ms.items() if key != "total"}
    results_ms = all_ms - headers_ms - sum(told.values())
    return {"headers": headers_ms, **told, "results": results_ms, "all": all_ms}
