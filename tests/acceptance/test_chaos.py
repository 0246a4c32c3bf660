"""A small chaos on each database; ``python -m tests.chaos --kills 500`` is the large one."""

from pathlib import Path

import pytest

from tests.chaos.run import chaos


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_what_was_acknowledged_survives_a_bad_minute(database: str, tmp_path: Path) -> None:
    """After kills, restarts and full disks: each image is there, each study has one result."""
    outcome = chaos(tmp_path, database, 3, (), pause_s=0.3, patience_s=300)

    assert outcome.is_good, outcome.markdown()
    assert len(outcome.record.kills) >= 3
    assert outcome.found.studies > 0
