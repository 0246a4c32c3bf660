"""The coded concepts of every object, read from ``codes.csv``: no triplet is written anywhere else.

Columns: value, scheme, meaning, source (where the triplet was looked up), status (``verified`` in
that source, or ``private``: scheme 99LSPINEAI, defined in the source column, never redefined).
"""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

from node.spine.anatomy import ConditionGroup, Grade, Level, Side

PRIVATE_SCHEME = "99LSPINEAI"
#: For systems that name coding schemes by OID; of a UUID (PS3.5 B.2), never changed.
PRIVATE_SCHEME_UID = "2.25.8618838026099525093550660896991893891"

_SITES = {
    ConditionGroup.CANAL: "Vertebral canal",
    ConditionGroup.FORAMINAL: "Lumbar neural foramen",
    ConditionGroup.SUBARTICULAR: "Lumbar subarticular zone (lateral recess)",
}
_DISORDERS = {
    ConditionGroup.CANAL: "Spinal stenosis of lumbar region",
    ConditionGroup.FORAMINAL: "Stenosis of intervertebral foramina",
    ConditionGroup.SUBARTICULAR: "Lumbar subarticular (lateral recess) stenosis",
}
_GRADES = {
    Grade.NORMAL_MILD: "Normal or mild",
    Grade.MODERATE: "Moderate",
    Grade.SEVERE: "Severe",
}


@cache
def table() -> Mapping[str, CodedConcept]:
    """Return every concept of ``codes.csv`` by its meaning, which is unique in the table."""
    text = files("node.results").joinpath("codes.csv").read_text("utf-8")
    concepts = {
        row["meaning"]: CodedConcept(row["value"], row["scheme"], row["meaning"])
        for row in csv.DictReader(text.splitlines())
    }
    return MappingProxyType(concepts)


def code(meaning: str) -> CodedConcept:
    """Return one concept by its meaning; KeyError when the table does not hold it."""
    return table()[meaning]


def level_code(level: Level) -> CodedConcept:
    """Return the level as a topographical modifier (CID 1003)."""
    return code(f"Level of {level.label} intervertebral disc")


def side_code(side: Side) -> CodedConcept:
    """Return Left or Right (CID 244)."""
    return code(side.value.capitalize())


def site_code(group: ConditionGroup) -> CodedConcept:
    """Return the structure a condition is found in."""
    return code(_SITES[group])


def disorder_code(group: ConditionGroup) -> CodedConcept:
    """Return the disorder, for findings that are moderate or severe only (SR-30)."""
    return code(_DISORDERS[group])


def question_code(group: ConditionGroup) -> CodedConcept:
    """Return the concept name of the grade: which grading this is."""
    return code(f"{group.value.replace('_', ' ').capitalize()} grade")


def grade_code(grade: Grade) -> CodedConcept:
    """Return the grade as a value."""
    return code(_GRADES[grade])


def probability_code(grade: Grade) -> CodedConcept:
    """Return the concept name of one class probability."""
    return code(f"Probability of {_GRADES[grade].lower()}")


def private_scheme() -> CodingSchemeIdentificationItem:
    """Return the identification of the private coding scheme (SR-17)."""
    return CodingSchemeIdentificationItem(
        designator=PRIVATE_SCHEME,
        uid=PRIVATE_SCHEME_UID,
        name="lumbar-node lumbar spine AI concepts",
        version="1",
        responsible_organization="lumbar-node project",
    )
