"""The tables of RSNA 2024: every row of the real ones, and every oddity that a row may have."""

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

from models.tables import Tables, part_of, read_tables
from node.spine.anatomy import ALL_FINDINGS, ROLE_OF, Condition, Level, Role

REAL = Path(os.environ.get("LUMBAR_SHARED", "../shared")) / "data" / "rsna-tables"


@pytest.fixture(scope="module")
def real() -> Tables:
    """The tables of the download, all of them."""
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not there")
    return read_tables(REAL)


def test_all_real_rows_are_read_or_counted(real: Tables) -> None:
    """1,975 studies, 6,294 series; of 48,809 points five lie on a series of the wrong kind."""
    studies = real.studies.values()
    assert len(real.studies) == 1975
    assert sum(len(s.series) for s in studies) == 6294
    labels = [label for s in studies for label in s.labels]
    assert len(labels) == 48_804
    assert sum(len(s.grades) for s in studies) == 37_754 + 7_960 + 3_089
    assert real.oddities == {
        "points on a series of another kind": 5,
        "grades missing": 572,
        "grades without a usable point": 34,
        "points without a grade": 35,
        "studies without a sagittal T1 series": 2,
        "studies without a sagittal T2 or STIR series": 1,
        "studies with several sagittal T1 series": 7,
        "studies with several axial T2 series": 335,
    }


def test_real_labels_lie_where_their_condition_is_read(real: Tables) -> None:
    """Every label's series is of the kind its condition is graded on, and its pixel is one."""
    for study in real.studies.values():
        for label in study.labels:
            assert study.series[label.series_id] is ROLE_OF[label.condition.group]
            assert label.instance >= 1
            assert 0 <= label.column < 1024
            assert 0 <= label.row < 1024


def test_parts_are_of_studies_and_stay(real: Tables) -> None:
    """About 80, 10 and 10 of 100; three studies of the download, pinned for ever."""
    shares = Counter(map(part_of, real.studies))
    assert shares == {"train": 1611, "validation": 182, "test": 182}
    first = [part_of(i) for i in ("4003253", "4646740", "44036939")]
    assert first == ["test", "train", "validation"]


def _write(folder: Path, name: str, head: str, *rows: str) -> None:
    (folder / name).write_text("\n".join([head, *rows]) + "\n", "utf-8")


def _tables(folder: Path, points: list[str], grade: str = "Severe", kind: str = "Axial T2") -> None:
    names = [f"{condition}_{level}" for condition, level in ALL_FINDINGS]
    cells = [grade if n == "left_subarticular_stenosis_l4_l5" else "" for n in names]
    _write(folder, "train.csv", ",".join(["study_id", *names]), ",".join(["7", *cells]), "," * 25)
    head = "study_id,series_id,series_description"
    _write(folder, "train_series_descriptions.csv", head, f"7,70,{kind}", "7,71,Axial T2")
    head = "study_id,series_id,instance_number,condition,level,x,y"
    _write(folder, "train_label_coordinates.csv", head, *points)


POINT = "7,70,5049,Left Subarticular Stenosis,L4/L5,10.5,20.25"


def test_odd_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    """A point twice, on a series nobody knows, of another study; two axial series; a blank line."""
    unknown, other = POINT.replace("70,", "99,", 1), POINT.replace("7,70", "8,70")
    wrong_kind = POINT.replace("Left Subarticular", "Spinal Canal")
    _tables(tmp_path, [POINT, POINT, POINT.replace("70,", "71,", 1), unknown, other, wrong_kind])
    found = read_tables(tmp_path)
    study = found.studies["7"]
    assert [label.series_id for label in study.labels] == ["70", "71"]
    label = study.labels[0]
    assert (label.instance, label.column, label.row) == (5049, 10.5, 20.25)
    assert study.grades == {(Condition.LEFT_SUBARTICULAR_STENOSIS, Level.L4_L5): 2}
    assert found.oddities["points marked twice"] == 1
    assert found.oddities["points on an unknown series"] == 1
    assert found.oddities["points of a study without grades"] == 1
    assert found.oddities["points on a series of another kind"] == 1
    assert found.oddities[f"studies with several {Role.AXIAL_T2.label} series"] == 1
    assert found.oddities["blank lines"] == 1


def test_words_that_are_in_no_table_are_refused(tmp_path: Path) -> None:
    """A grade or a kind of series that RSNA does not have is an error, not a default."""
    _tables(tmp_path, [POINT], grade="Grave")
    with pytest.raises(ValueError, match="'Grave' is no grade"):
        read_tables(tmp_path)
    _tables(tmp_path, [POINT], kind="Coronal T2")
    with pytest.raises(ValueError, match="'Coronal T2' is no kind of series"):
        read_tables(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """A table of something else is refused by what it lacks."""
    _tables(tmp_path, [POINT])
    with (tmp_path / "train_series_descriptions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["study_id", "series_id"], ["7", "70"]])
    with pytest.raises(ValueError, match="lacks the columns series_description"):
        read_tables(tmp_path)
