"""The report of a scale measurement, in Markdown, with the figures for 100,000 studies."""

import math
from collections.abc import Sequence

import numpy as np

from tests.scale.run import Outcome, Sample

PLANNED = 100_000
#: So many tables are named.
LARGEST = 6


def markdown(outcome: Outcome) -> str:
    """Return what was measured, and what follows from it."""
    ended = outcome.ended.total()
    verdict = "each once" if outcome.is_good else "NOT AS IT SHOULD BE"
    lines = [
        f"{ended} of {outcome.studies} studies ended, {outcome.kills} times killed: **{verdict}**.",
        "",
        "| what | |",
        "|---|---|",
        *(f"| {state} | {count} |" for state, count in sorted(outcome.ended.items())),
        f"| studies that ended twice | {outcome.told_twice} |",
        f"| studies with a report at the PACS | {len(outcome.reports)} |",
        f"| of these with more than one | {sum(len(r) > 1 for r in outcome.reports.values())} |",
    ]
    samples = [s for s in outcome.samples if s.ended]
    if len(samples) < 10 or samples[-1].ended - samples[0].ended < 20:  # too few for a line
        return "\n".join(lines)
    return "\n".join([*lines, "", *_growth(outcome, samples, ended)])


def _growth(outcome: Outcome, samples: Sequence[Sample], ended: int) -> list[str]:
    early, late = (_seconds(samples[a:b]) for a, b in _thirds(len(samples)))
    whole = _seconds(samples)
    rows = [
        ("seconds a study, first third", f"{early:.3f}", ""),
        ("seconds a study, last third", f"{late:.3f}", ""),
        ("seconds a study, all", f"{whole:.3f}", f"{whole * PLANNED / 86400:.1f} days"),
        ("studies a day", f"{86400 / whole:.0f}", ""),
    ]
    each = _slope(samples, "database_bytes")
    rows.append(("bytes a study, database", f"{each:.0f}", _size(each * PLANNED)))
    rows += [
        (f"of these {name}", f"{size / ended:.0f}", _size(size / ended * PLANNED))
        for name, size in list(outcome.tables.items())[:LARGEST]
    ]
    results = outcome.results_bytes / ended
    rows += [
        ("bytes a study, results", f"{results:.0f}", _size(results * PLANNED)),
        (
            "bytes a study, images not yet released",
            f"{outcome.images_bytes / ended:.0f}",
            "bounded: released after delivery",
        ),
    ]
    for name, column in (("node", "node_mb"), ("backfill", "walk_mb")):
        first, last = (_median(samples[a:b], column) for a, b in _thirds(len(samples)))
        rows.append((f"MiB resident, {name}", f"{first:.0f} early, {last:.0f} late", ""))
    return [
        f"| what | measured | at {PLANNED:,} studies |",
        "|---|---|---|",
        *(f"| {what} | {measured} | {planned} |" for what, measured, planned in rows),
    ]


def _thirds(count: int) -> tuple[tuple[int, int], tuple[int, int]]:
    third = math.ceil(count / 3)
    return (0, third), (count - third, count)


def _seconds(samples: Sequence[Sample]) -> float:
    """Return the seconds a study took, by a line through all samples."""
    ended = [s.ended for s in samples]
    return float(np.polyfit(ended, [s.seconds for s in samples], 1)[0])


def _slope(samples: Sequence[Sample], column: str) -> float:
    return float(
        np.polyfit([s.ended for s in samples], [getattr(s, column) for s in samples], 1)[0]
    )


def _median(samples: Sequence[Sample], column: str) -> float:
    return float(np.median([getattr(s, column) for s in samples]))


def _size(count: float) -> str:
    return f"{count / 1e9:.2f} GB"
