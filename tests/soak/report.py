"""The report of a soak, in Markdown."""

from tests.soak.run import Outcome


def markdown(outcome: Outcome) -> str:
    """Return what happened and what was lost, as tables."""
    verdict = "nothing was lost" if outcome.is_good else "SOMETHING WAS LOST"
    rows = [
        ("instances acknowledged", outcome.acknowledged),
        ("of these lost", outcome.lost),
        ("of these altered", outcome.altered),
        ("of these not in the index", outcome.not_indexed),
        ("studies to be analysed that came whole", outcome.studies),
        ("of these without an end", len(outcome.without_end)),
        *sorted(outcome.counts.items()),
    ]
    lines = [
        f"{outcome.minutes:g} minutes: **{verdict}**.",
        "",
        "| what | how often |",
        "|---|---|",
        *(f"| {what} | {count} |" for what, count in rows),
        "",
        "| process | MB at the start | MB at the end | largest |",
        "|---|---|---|---|",
        *(
            f"| {process} | {early:.0f} | {late:.0f} | {largest:.0f} |"
            for process, (early, late, largest) in sorted(outcome.memory.items())
        ),
        *(f"\n{study}" for study in outcome.without_end),
    ]
    return "\n".join(lines)
