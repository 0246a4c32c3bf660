"""One real node against the whole corpus, one attack after the other; see ``docs/security.md``."""

from pathlib import Path

from tests.hostile.survival import Siege


def test_a_node_outlives_the_whole_corpus(tmp_path: Path) -> None:
    """After each attack the next image is taken, memory is bounded and no file is out of place."""
    siege = Siege(tmp_path)
    rows = list(siege.run())
    assert sum(row.cases for row in rows) > 500
    assert "Nobody" not in siege.node.log
    assert "TEST-0001" not in siege.node.log
    assert "\x1b" not in siege.node.log
