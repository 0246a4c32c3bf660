"""A few studies of what ``python -m tests.scale`` does with thousands."""

from pathlib import Path

from tests.scale.report import markdown
from tests.scale.run import Scale


def test_a_backfill_killed_in_the_middle_does_nothing_twice(tmp_path: Path) -> None:
    """Node and command die by kill -9; every study ends once, with one report at the PACS."""
    outcome = Scale(tmp_path, studies=4, kills=1, seconds=240.0).run()

    assert outcome.is_good, markdown(outcome)
    assert outcome.ended == {"not_assessable": 3, "partial": 1}
    assert len(outcome.reports) == 4
