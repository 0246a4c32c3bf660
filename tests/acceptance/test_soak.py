"""Half a minute of everything going wrong at once; ``python -m tests.soak`` does more."""

from pathlib import Path

from tests.soak.report import markdown
from tests.soak.run import soak


def test_what_was_acknowledged_survives_half_a_bad_minute(tmp_path: Path) -> None:
    """After aborts, kills and full disks every acknowledged instance is there, byte for byte."""
    outcome = soak(tmp_path, 25.0, trouble_every_s=1.5)
    assert outcome.is_good, markdown(outcome)
    assert outcome.counts["abort"] > 0
    assert sum(n for what, n in outcome.counts.items() if what.startswith("trouble")) >= 3
