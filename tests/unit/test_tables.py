"""What the terminal shows of one study."""

from datetime import UTC, datetime

from rich.console import Console

from node import tables
from node.storage.rows import LastRun, StudyRow
from tests.web_parts import STUDY_UID, findings_json

NOW = datetime(2026, 11, 23, 3, 1, tzinfo=UTC)


def test_one_study_shows_why_it_was_started_and_how_its_series_were_chosen() -> None:
    """The score table names every candidate with its parts, and what no role can use with why."""
    run = LastRun(("proven complete", "axial slices cover 132 mm"), "ab")
    row = StudyRow(STUDY_UID, "done", (), "job", "PACS", NOW, NOW, 87, run)
    console = Console(width=200)

    with console.capture() as shown:
        console.print(tables.one_study(row, findings_json({}), []))
    text = shown.get()

    assert "axial slices cover 132 mm" in text
    assert "series 3" in text
    assert "81.5" in text
    assert "contrast 1" in text
    assert "localizer" in text
