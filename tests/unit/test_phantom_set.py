"""Phantoms in the layout of the RSNA 2024 set: folders, headers, tables, labels."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from models.phantom_set import (
    DESCRIPTION_COLUMNS,
    LABEL_COLUMNS,
    TRAIN_COLUMNS,
    study_id,
    write_set,
)
from node.phantom import StudyOptions, make_study
from node.spine.anatomy import Condition, Level, Role
from node.spine.geometry import Plane

OPTIONS = StudyOptions(roles=(Role.SAGITTAL_T1, Role.SAGITTAL_T2))
SEED = 3
TABLES = {
    "train.csv": TRAIN_COLUMNS,
    "train_label_coordinates.csv": LABEL_COLUMNS,
    "train_series_descriptions.csv": DESCRIPTION_COLUMNS,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One study without its axial series."""
    path = tmp_path_factory.mktemp("set")
    write_set(path, OPTIONS, first=SEED, count=1, processes=1)
    return path


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_labels_lead_back_to_the_truth(folder: Path) -> None:
    """The pixel of a label, on the file its number names, is the finding's point."""
    truth = make_study(SEED, options=OPTIONS).truth
    labels = _rows(folder / "train_label_coordinates.csv")
    assert len(labels) == 15  # canal and both foramina: no axial series, no recesses
    for row in labels:
        name = "/".join(row[c] for c in ("study_id", "series_id", "instance_number"))
        ds = dcmread(folder / "train_images" / f"{name}.dcm")
        plane = Plane.from_header(
            ds.ImagePositionPatient,
            ds.ImageOrientationPatient,
            ds.PixelSpacing,
            ds.Rows,
            ds.Columns,
        )
        point = np.array(truth[Condition(row["condition"]), Level(row["level"])].point_mm)
        there = plane.to_patient(float(row["x"]), float(row["y"]))
        assert np.linalg.norm(there - point) < 3.0
        assert np.linalg.norm(there + plane.distance(point) * plane.normal - point) < 1e-3


def test_headers_are_as_poor_as_the_real_ones(folder: Path) -> None:
    """No name, vendor or modality; ids from folders; an Enhanced MR class that is none."""
    files = sorted((folder / "train_images" / str(study_id(SEED))).glob("*/*.dcm"))
    frames = set()
    for path in files:
        ds = dcmread(path)
        assert ds.PatientID == ds.StudyInstanceUID == path.parent.parent.name
        assert ds.SeriesInstanceUID == f"{ds.PatientID}.{path.parent.name}"
        assert path.stem == str(ds.InstanceNumber)
        assert "Modality" not in ds
        assert "PatientName" not in ds
        assert "SOPClassUID" not in ds
        assert ds.file_meta.MediaStorageSOPClassUID.name == "Enhanced MR Image Storage"
        assert ds.file_meta.TransferSyntaxUID.name == "RLE Lossless"
        frames.add(ds.FrameOfReferenceUID)
    assert len(frames) == 2
    made = make_study(SEED, options=OPTIONS)
    first = dcmread(min(files, key=lambda p: (p.parent.name, int(p.stem))))
    assert any(
        np.array_equal(first.pixel_array, s.pixels) for s in made.volumes[Role.SAGITTAL_T1].slices
    )


def test_grades_are_empty_where_no_series_shows_the_place(folder: Path) -> None:
    """Canal and foramina carry their grade in the table's words; recesses stay empty."""
    (row,) = _rows(folder / "train.csv")
    truth = make_study(SEED, options=OPTIONS).truth
    for (condition, level), known in truth.items():
        graded = row[f"{condition}_{level}"]
        assert graded == ("" if "subarticular" in condition else known.grade.label)
    series = _rows(folder / "train_series_descriptions.csv")
    assert [s["series_description"] for s in series] == ["Sagittal T1", "Sagittal T2/STIR"]


def test_finished_studies_are_not_made_again(folder: Path) -> None:
    """A second run adds what is missing and writes the tables of all, rows sorted by study."""
    file = folder / "truth" / f"{study_id(SEED)}.json"
    before = file.stat().st_mtime_ns
    assert json.loads(file.read_text("utf-8"))["seed"] == SEED
    write_set(folder, OPTIONS, first=SEED, count=1, processes=1)
    assert file.stat().st_mtime_ns == before
    assert len(_rows(folder / "train.csv")) == 1


@pytest.mark.parametrize("name", list(TABLES))
def test_columns_are_those_of_the_real_tables(folder: Path, name: str) -> None:
    """The first line of each table is, byte for byte, the real table's."""
    written = (folder / name).read_bytes().split(b"\n")[0]
    assert written.decode().split(",") == list(TABLES[name])
    tables = Path(os.environ.get("LUMBAR_SHARED", "../shared")) / "data" / "rsna-tables"
    real = tables / name.replace("coordinates", "coordinates.fix01b")
    if not real.exists():
        pytest.skip("needs shared/data/rsna-tables")
    assert written == real.read_bytes().split(b"\n")[0].rstrip(b"\r")
