"""What a listener stored and did not live to enter is entered by another."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from node.dicom.intake import Intake
from node.recovery import SETTLED_S, Recovery
from node.storage.cache import Cache
from node.storage.index import Index
from node.storage.shared import SharedArchive
from node.storage.store import Store
from tests.builders import mr_image, part10
from tests.s3_server import S3Server


def test_images_without_a_row_are_entered_once_they_have_settled(
    s3: S3Server, tmp_path: Path
) -> None:
    """Not before whoever stored them had its time; each is read once, damaged ones too."""
    store = Store(s3.settings("recovery"))
    dead, living = (
        SharedArchive(Cache(tmp_path / name, 100), 10, store) for name in ("dead", "living")
    )
    index = Index(f"sqlite:///{tmp_path}/index.sqlite")
    Intake(dead, index, 100).receive(part10(mr_image(number=1)), "SCANNER")
    lost = dead.put(part10(mr_image(number=2)))
    dead.put(b"no DICOM file")
    recovery = Recovery(living, index)
    now, later = datetime.now(UTC), datetime.now(UTC) + timedelta(seconds=SETTLED_S + 2)

    assert recovery.look(now) == 0
    assert recovery.look(later) == 1
    assert recovery.look(later) == 0
    rows = {row.sha256: row.source for row in index.instances(mr_image().StudyInstanceUID)}
    assert sorted(rows.values()) == ["SCANNER", "archive"]
    assert rows[lost.sha256] == "archive"
    read = [path.stem for path in (tmp_path / "living" / "objects").glob("??/*.dcm")]
    assert len(read) == 2  # the lost one and the damaged one; what is known is not fetched
    index.close()
