"""Knowing when not to answer: hopeless inputs that must be refused, good ones that must not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from models.altered import HOPELESS, PARTLY_SEEN
from models.evaluate import store_of
from models.reader import Study, read_study
from models.tables import read_tables
from node import analysis
from node.errors import MixedPatients, NotAssessable
from node.inference.instance import reach_mm
from node.inference.pipeline import find
from node.spine.anatomy import ROLE_OF, FindingKey, Role
from node.spine.volume import Volume


def measure_refusal(data: Path, artifacts: Path, most: int) -> dict[str, Any]:
    """Spoil labelled studies in every way of `HOPELESS` and count what is still graded.

    Returns
    -------
    dict
        For ``good``, as it came, and each way: ``studies``, ``findings`` (hopeless ones: their
        point is in no image any more, or nothing in the images is what the header says),
        ``refused`` (share of findings not assessed), ``studies_refused`` (share of studies
        without a single graded finding) and ``reasons``.
    """
    counts: dict[str, list[tuple[int, int]]] = {}
    reasons: dict[str, dict[str, int]] = {}
    studies = list(read_tables(data).studies.values())[:most]
    for labelled in track(studies, "refusal"):
        study = read_study(data, labelled)
        good = study.volumes()
        for name, spoil in {"good": dict, **HOPELESS}.items():
            volumes = spoil(good)
            if not volumes:
                continue
            keys = _unseen(study, volumes) if name in PARTLY_SEEN else _all(study, volumes)
            findings = {f.key: f for f in find(volumes, store_of(artifacts)).findings}
            refused = [findings[k] for k in keys if not findings[k].is_assessed]
            counts.setdefault(name, []).append((len(keys), len(refused)))
            for f in refused:
                why = reasons.setdefault(name, {})
                text = str(f.reason).split(" (")[0]
                why[text] = why.get(text, 0) + 1
    return {
        name: {
            "studies": len(pairs),
            "findings": sum(n for n, _ in pairs),
            "refused": round(sum(r for _, r in pairs) / max(sum(n for n, _ in pairs), 1), 4),
            "studies_refused": round(float(np.mean([n == r for n, r in pairs])), 4),
            "reasons": dict(sorted(reasons.get(name, {}).items(), key=lambda kv: -kv[1])[:5]),
        }
        for name, pairs in counts.items()
    }


def _all(study: Study, volumes: Mapping[Role, Volume]) -> list[FindingKey]:
    return [key for key in study.labelled.grades if ROLE_OF[key[0].group] in volumes]


def _unseen(study: Study, volumes: Mapping[Role, Volume]) -> list[FindingKey]:
    """Return the labelled findings of the volumes' roles that no image shows any more."""
    hopeless = []
    for (_, key), mark in study.marks.items():
        volume = volumes.get(ROLE_OF[key[0].group])
        if volume is None:
            continue
        near = [
            s
            for s in volume.slices
            if abs(s.plane.distance(mark.point_mm)) <= reach_mm(volume.spacing())
            and s.plane.contains(*s.plane.to_pixel(mark.point_mm))
        ]
        if not near:
            hopeless.append(key)
    return hopeless


def refuse_files(files: Sequence[Path], artifacts: Path) -> dict[str, Any]:
    """Offer files, each as a study of its own, and tell which gave a grade.

    Returns
    -------
    dict
        ``files``, ``refused``, and by file name the reason, or ``GRADED``.
    """
    told = {path.name: _offered(path, artifacts) for path in files}
    return {
        "files": len(told),
        "refused": sum(why != "GRADED" for why in told.values()),
        "reasons": told,
    }


def _offered(path: Path, artifacts: Path) -> str:
    try:
        (taken,) = analysis.read([path])
        findings, _ = analysis.find(taken, store_of(artifacts))
    except (NotAssessable, MixedPatients) as error:
        return str(error)
    graded = any(f.is_assessed for f in findings.findings)
    return "GRADED" if graded else "; ".join(findings.reasons)
