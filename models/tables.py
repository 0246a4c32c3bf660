"""The three tables of RSNA 2024: which series is what, which grade where, and where the points lie.

Source: the download's ``train.csv``, ``train_label_coordinates.csv`` and
``train_series_descriptions.csv``. A row that cannot be used is left out and counted.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from node.spine.anatomy import ALL_FINDINGS, GRADES, ROLE_OF, Condition, FindingKey, Level, Role

Part = Literal["train", "validation", "test"]

#: What a series is, by the words of the table.
ROLES = {
    "sagittal t1": Role.SAGITTAL_T1,
    "sagittal t2/stir": Role.SAGITTAL_T2,
    "axial t2": Role.AXIAL_T2,
}


@dataclass(frozen=True)
class Label:
    """Where one finding was marked.

    Attributes
    ----------
    condition, level
    series_id : str
    instance : int
        The name of the image's file, which is no index: numbers start anywhere and have gaps.
    column, row : float
        Pixels of the image as it is stored.
    """

    condition: Condition
    level: Level
    series_id: str
    instance: int
    column: float
    row: float


@dataclass(frozen=True)
class LabelledStudy:
    """What the tables say about one study.

    Attributes
    ----------
    study_id : str
    series : dict of series id to Role
    grades : dict of FindingKey to int
        0 normal/mild, 1 moderate, 2 severe; a finding that nobody graded is missing.
    labels : tuple of Label
        At most one for each finding and series.
    """

    study_id: str
    series: dict[str, Role] = field(default_factory=dict)
    grades: dict[FindingKey, int] = field(default_factory=dict)
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True)
class Tables:
    """All studies by id, and how many rows of which oddity were found."""

    studies: dict[str, LabelledStudy]
    oddities: Counter[str]


def read_tables(folder: Path) -> Tables:
    """Read the tables of a download, or of a phantom in its layout.

    Parameters
    ----------
    folder : Path
        Holds ``train.csv``, ``train_series_descriptions.csv`` and one
        ``train_label_coordinates*.csv`` (a corrected one may have more columns).

    Raises
    ------
    FileNotFoundError
        A table is missing.
    ValueError
        A table lacks a column, or holds a word that is in no RSNA table.
    """
    oddities: Counter[str] = Counter()
    studies = {s.study_id: s for s in _graded(folder / "train.csv", oddities)}
    for study_id, series_id, role in _series(folder / "train_series_descriptions.csv"):
        if study_id not in studies:
            oddities["series of a study without grades"] += 1
        else:
            studies[study_id].series[series_id] = role
    for study in studies.values():
        count = Counter(study.series.values())
        for role in Role:
            oddities[f"studies without a {role.label} series"] += count[role] == 0
            oddities[f"studies with several {role.label} series"] += count[role] > 1
    for study_id, labels in _labels(folder, studies, oddities).items():
        old = studies[study_id]
        studies[study_id] = LabelledStudy(study_id, old.series, old.grades, tuple(labels))
    marked = {(s.study_id, lb.condition, lb.level) for s in studies.values() for lb in s.labels}
    graded = {(s.study_id, *key) for s in studies.values() for key in s.grades}
    oddities["grades without a usable point"] = len(graded - marked)
    oddities["points without a grade"] = len(marked - graded)
    return Tables(studies, +oddities)


def part_of(study_id: str) -> Part:
    """Return the part a study belongs to: 80, 10 and 10 of 100, by a hash of its id alone.

    A study keeps its part whatever is added later, and all its rows go with it.
    """
    share = int.from_bytes(hashlib.sha256(study_id.encode()).digest()[:4], "big") % 100
    return "test" if share < 10 else "validation" if share < 20 else "train"


def _rows(path: Path, *columns: str) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = set(columns) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}")
        yield from reader


def _word(text: str) -> str:
    """Return a word of the tables as the code's: ``L4/L5`` and ``Left Neural ...`` alike."""
    return text.strip().lower().replace(" ", "_").replace("/", "_")


def _graded(path: Path, oddities: Counter[str]) -> Iterator[LabelledStudy]:
    names = {f"{condition}_{level}": (condition, level) for condition, level in ALL_FINDINGS}
    grades: dict[str, int] = {grade.value: k for k, grade in enumerate(GRADES)}
    for row in _rows(path, "study_id", *names):
        if not row["study_id"]:
            oddities["blank lines"] += 1
            continue
        known = {}
        for name, key in names.items():
            if not row[name]:
                oddities["grades missing"] += 1
            elif _word(row[name]) in grades:
                known[key] = grades[_word(row[name])]
            else:
                raise ValueError(f"{path}: {row[name]!r} is no grade")
        yield LabelledStudy(row["study_id"], grades=known)


def _series(path: Path) -> Iterator[tuple[str, str, Role]]:
    for row in _rows(path, "study_id", "series_id", "series_description"):
        kind = row["series_description"].strip().lower()
        if kind not in ROLES:
            raise ValueError(f"{path}: {row['series_description']!r} is no kind of series")
        yield row["study_id"], row["series_id"], ROLES[kind]


def _labels(
    folder: Path, studies: dict[str, LabelledStudy], oddities: Counter[str]
) -> dict[str, list[Label]]:
    path = min(folder.glob("train_label_coordinates*.csv"), default=None)
    if path is None:
        raise FileNotFoundError(f"{folder} holds no train_label_coordinates.csv")
    found: dict[str, list[Label]] = {}
    seen: set[tuple[str, ...]] = set()
    columns = ("study_id", "series_id", "instance_number", "condition", "level", "x", "y")
    for row in _rows(path, *columns):
        study = studies.get(row["study_id"])
        key = tuple(row[c] for c in ("study_id", "series_id", "condition", "level"))
        oddity = _oddity(row, study)
        if not oddity and key in seen:
            oddity = "points marked twice"
        if oddity or study is None:
            oddities[oddity] += 1
            continue
        seen.add(key)
        found.setdefault(study.study_id, []).append(_label(row))
    return found


def _label(row: dict[str, str]) -> Label:
    return Label(
        Condition(_word(row["condition"])),
        Level(_word(row["level"])),
        row["series_id"],
        int(row["instance_number"]),
        float(row["x"]),
        float(row["y"]),
    )


def _oddity(row: dict[str, str], study: LabelledStudy | None) -> str:
    """Say why a point cannot be used; empty when it can."""
    if study is None:
        return "points of a study without grades"
    if row["series_id"] not in study.series:
        return "points on an unknown series"
    if study.series[row["series_id"]] is not ROLE_OF[Condition(_word(row["condition"])).group]:
        return "points on a series of another kind"
    return ""
