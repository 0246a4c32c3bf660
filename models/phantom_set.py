"""Writes phantom studies as the RSNA 2024 set is kept: its folders, its headers, its three tables.

``train_images/<study_id>/<series_id>/<instance>.dcm`` with ``train.csv``,
``train_label_coordinates.csv`` and ``train_series_descriptions.csv``. Headers hold what the set's
headers hold: no names, no vendor, another FrameOfReferenceUID in every series.
Beside them ``truth/<study_id>.json`` knows what labels cannot say: the severity from 0 to 1, the
point in mm. A study with such a file is finished, so a run that was stopped goes on.
"""

import csv
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, RLELossless
from rich.progress import track

from node.inference.instance import reach_mm
from node.phantom import PhantomStudy, StudyOptions, make_study
from node.phantom.study import Series
from node.spine.anatomy import ALL_FINDINGS, GRADES, ROLE_OF, FindingKey, Role

TRAIN_COLUMNS = ("study_id", *(f"{c}_{lv}" for c, lv in ALL_FINDINGS))
LABEL_COLUMNS = (
    "study_id",
    "series_id",
    "instance_number",
    "condition",
    "level",
    "x",
    "y",
    "fix",
)
DESCRIPTION_COLUMNS = ("study_id", "series_id", "series_description")

DESCRIPTIONS = {
    Role.SAGITTAL_T1: "Sagittal T1",
    Role.SAGITTAL_T2: "Sagittal T2/STIR",
    Role.AXIAL_T2: "Axial T2",
}

#: Attributes of the real set's data sets that are copied as they are.
_KEPT = (
    *("ContentDate", "SeriesDescription", "SliceThickness", "SpacingBetweenSlices"),
    *("PatientPosition", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber"),
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "PixelSpacing"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("WindowCenter", "WindowWidth", "PixelData"),
)

Truth = dict[str, Any]


def write_set(
    folder: Path, options: StudyOptions, *, first: int = 0, count: int = 1000, processes: int = 2
) -> None:
    """Write the studies of ``count`` seeds that are not there yet, then the tables of all.

    Parameters
    ----------
    folder : Path
    options : StudyOptions
        For every study.
    first : int
        The first seed.
    count : int
    processes : int
    """
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    missing = [s for s in range(first, first + count) if not _truth_file(folder, s).exists()]
    with ProcessPoolExecutor(processes) as pool:
        made = pool.map(partial(_write_study, folder, options), missing)
        for _ in track(made, "phantom studies", total=len(missing)):
            pass
    truths = [json.loads(f.read_text("utf-8")) for f in sorted((folder / "truth").glob("*.json"))]
    _table(folder / "train.csv", TRAIN_COLUMNS, map(_train_row, truths))
    labels = (row for truth in truths for row in _label_rows(truth))
    _table(folder / "train_label_coordinates.csv", LABEL_COLUMNS, labels)
    described = (
        (truth["study_id"], s["series_id"], s["series_description"])
        for truth in truths
        for s in truth["series"]
    )
    _table(folder / "train_series_descriptions.csv", DESCRIPTION_COLUMNS, described)


def study_id(seed: int) -> int:
    """Return the study_id of a seed: ten digits at most, as the real ones."""
    return 1_000_000 + seed


def _truth_file(folder: Path, seed: int) -> Path:
    return folder / "truth" / f"{study_id(seed)}.json"


def _write_study(folder: Path, options: StudyOptions, seed: int) -> None:
    study = make_study(seed, options=options)
    final = folder / "train_images" / str(study_id(seed))
    shutil.rmtree(final, ignore_errors=True)
    truth: Truth = {"study_id": study_id(seed), "seed": seed, "series": [], "findings": []}
    datasets = iter(study.datasets())
    numbers: dict[str, list[int]] = {}
    for k, series in enumerate(study.series):
        name = f"{study_id(seed)}{k + 1}"
        own = [next(datasets) for _ in series.volume.slices]
        (final / name).mkdir(parents=True)
        for ds in own:
            _bare(ds, seed, name).save_as(
                final / name / f"{ds.InstanceNumber}.dcm", enforce_file_format=True
            )
        numbers[name] = [int(ds.InstanceNumber) for ds in own]
        truth["series"].append(
            {"series_id": int(name), "series_description": DESCRIPTIONS[series.scan.role]}
        )
    named = list(zip(numbers, study.series, strict=True))
    for key, known in study.truth.items():
        truth["findings"].append(
            {
                "condition": key[0].value,
                "level": key[1].value,
                "grade": known.grade.value,
                "severity": known.severity,
                "point_mm": known.point_mm,
                "labels": [
                    {"series_id": int(name), **label}
                    for name, series in named
                    if (label := _label(study, series, key, numbers[name]))
                ],
            }
        )
    partial_file = _truth_file(folder, seed).with_suffix(f".{os.getpid()}")
    partial_file.write_text(json.dumps(truth), "utf-8")
    partial_file.rename(_truth_file(folder, seed))


def _label(
    study: PhantomStudy, series: Series, key: FindingKey, numbers: list[int]
) -> dict[str, float] | None:
    """Return where a series shows a finding: on the nearest slice, if one comes near enough."""
    if series.scan.role is not ROLE_OF[key[0].group]:
        return None
    point = np.asarray(study.truth[key].point_mm)
    away = [abs(s.plane.distance(point)) for s in series.volume.slices]
    nearest = int(np.argmin(away))
    plane = series.volume.slices[nearest].plane
    column, row = plane.to_pixel(point)
    if away[nearest] > reach_mm(series.volume.spacing()) or not plane.contains(column, row):
        return None
    return {"instance_number": numbers[nearest], "x": float(column), "y": float(row)}


def _bare(full: Dataset, seed: int, series_id: str) -> Dataset:
    """Return a data set with what the real set's data sets hold."""
    ds = Dataset()
    for keyword in _KEPT:
        if keyword in full and full[keyword].value not in ("", None):
            ds[keyword] = full[keyword]
    # The real set says so of its single-frame objects, and leaves SOPClassUID out of them.
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    number = int(full.InstanceNumber)
    # As there, it repeats from series to series.
    ds.SOPInstanceUID = f"{study_id(seed)}.1.{number}"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.StudyInstanceUID = ds.PatientID = str(study_id(seed))
    ds.SeriesInstanceUID = f"{study_id(seed)}.{series_id}"
    ds.FrameOfReferenceUID = f"{study_id(seed)}.{series_id}.1"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.compress(RLELossless, generate_instance_uid=False)
    return ds


def _train_row(truth: Truth) -> Iterator[object]:
    """A grade for what some series shows, nothing for what none does."""
    yield truth["study_id"]
    words = {g.value: g.label for g in GRADES}
    for finding in truth["findings"]:
        yield words[finding["grade"]] if finding["labels"] else ""


def _label_rows(truth: Truth) -> Iterator[tuple[object, ...]]:
    for finding in truth["findings"]:
        for label in finding["labels"]:
            yield (
                truth["study_id"],
                label["series_id"],
                label["instance_number"],
                finding["condition"],
                finding["level"],
                round(label["x"], 7),
                round(label["y"], 7),
                0,
            )


def _table(path: Path, columns: tuple[str, ...], rows: Iterable[Any]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
