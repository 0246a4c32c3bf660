"""The layout of the RSNA download is read by geometry, whatever the numbers and names are like."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.data import case, case_files, prepare_all
from models.phantom_set import study_id, write_set
from models.reader import Study, read_study
from models.tables import read_tables
from node.phantom import StudyOptions
from node.spine.anatomy import Condition, ConditionGroup, Level, Role

SEED = 2
ROLES = (Role.SAGITTAL_T1, Role.SAGITTAL_T2)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with both sagittal series, numbered from left to right."""
    folder = tmp_path_factory.mktemp("written")
    options = StudyOptions(roles=ROLES, reversed_sagittal=True)
    write_set(folder, options, first=SEED, count=1, processes=1)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    return Path(shutil.copytree(written, tmp_path / "data"))


def _read(folder: Path) -> Study:
    return read_study(folder, read_tables(folder).studies[str(study_id(SEED))])


def _change(folder: Path, change: Callable[[dict[str, str]], None]) -> None:
    """Change every row of the table of points."""
    path = folder / "train_label_coordinates.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        change(row)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_labels_are_where_the_truth_is(folder: Path) -> None:
    """Numbers that run backwards and begin at 5,001: a label is found by its file's geometry."""
    for path in (folder / "train_images").rglob("*.dcm"):
        path.rename(path.with_name(f"{int(path.stem) + 5000}.dcm"))
    _change(folder, lambda r: r.update(instance_number=str(int(r["instance_number"]) + 5000)))
    study = _read(folder)
    truth = json.loads((folder / "truth" / f"{study_id(SEED)}.json").read_text("utf-8"))
    points = {(Condition(f["condition"]), Level(f["level"])): f for f in truth["findings"]}
    assert len(study.marks) == 15
    volumes = study.volumes()
    assert {role: v.role for role, v in volumes.items()} == {role: role for role in ROLES}
    assert sum(len(v.slices) for v in volumes.values()) == len(study.files)
    for (series_id, key), mark in study.marks.items():
        assert np.linalg.norm(mark.point_mm - points[key]["point_mm"]) < 3.0
        volume = study.series(series_id)
        assert volume is not None
        away = [abs(s.plane.distance(mark.point_mm)) for s in volume.slices]
        assert volume.slices[int(np.argmin(away))].sop_instance_uid == mark.image
        assert study.severities[key] == points[key]["severity"]


def test_points_that_are_nowhere_are_counted(folder: Path) -> None:
    """Outside the image, or on an image that is not there: no label, and no guess."""
    outside, missing = {"x": "-20"}, {"instance_number": "999"}
    _change(folder, lambda r: r.update({"l1_l2": outside, "l5_s1": missing}.get(r["level"], {})))
    study = _read(folder)
    assert study.oddities["points outside their image"] == 3
    assert study.oddities["points on an image that is not there"] == 3
    canal = next(s for s, role in study.labelled.series.items() if role is Role.SAGITTAL_T2)
    made = case(study, canal)
    assert made is not None
    assert np.isnan(made["distance"]).all(axis=0).tolist() == [True, False, False, False, True]
    assert made["grade"][0] == made["grade"][4] == -1


def test_a_damaged_file_costs_itself(folder: Path) -> None:
    """The rest of the series is read; a folder without images is a series without images."""
    study = _read(folder)
    first, *_ = study.files.values()
    first.write_bytes(first.read_bytes()[:400])
    again = _read(folder)
    assert again.oddities["images that cannot be read"] == 1
    assert len(again.files) == len(study.files) - 1
    for path in first.parent.glob("*.dcm"):
        path.unlink()
    assert _read(folder).oddities["series without a readable image"] == 1


def test_preparing_goes_on_where_it_was_stopped(folder: Path, tmp_path: Path) -> None:
    """What is there stays untouched; what is missing, or was cut off, is made."""
    work = tmp_path / "work"
    assert prepare_all(folder, work, 1)["cases written"] == 2
    kept, lost = (case_files(work, "train", g)[0] for g in list(ConditionGroup)[:2])
    stamp = kept.stat().st_mtime_ns
    lost.rename(lost.with_suffix(".123.part"))
    counts = prepare_all(folder, work, 1)
    assert (counts["cases written"], counts["cases there already"]) == (1, 1)
    assert kept.stat().st_mtime_ns == stamp
    assert lost.exists()
