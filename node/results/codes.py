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
    """Return every concept of ``codes.csv`` by its meaning, which is unique in the table.

    Raises
    ------
    ValueError
        When a row repeats a meaning, is too long for DICOM, or fails its check digit.
    """
    text = files("node.results").joinpath("codes.csv").read_text("utf-8")
    concepts: dict[str, CodedConcept] = {}
    for row in csv.DictReader(text.splitlines()):
        value, scheme, meaning = row["value"], row["scheme"], row["meaning"]
        # PS3.5 6.2: Code Value and Scheme Designator are SH (16), Code Meaning is LO (64).
        if max(len(value), len(scheme)) > 16 or len(meaning) > 64 or meaning in concepts:
            raise ValueError(f"codes.csv: {value}, {scheme}: too long, or the meaning repeats")
        if not check_digit_is_right(value, scheme):
            raise ValueError(f"codes.csv: {value}, {scheme}: the check digit is wrong")
        concepts[meaning] = CodedConcept(value, scheme, meaning)
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


def check_digit_is_right(value: str, scheme: str) -> bool:
    """Check the Verhoeff digit of SNOMED CT and the mod 10 digit of LOINC; others have none."""
    if scheme == "SCT":
        return value.isdigit() and _verhoeff(value) == 0
    if scheme == "LN":
        return value.replace("-", "").isdigit() and _luhn(value.replace("-", "")) == 0
    return True


def _luhn(digits: str) -> int:
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10


def _verhoeff(digits: str) -> int:
    """Return 0 for a number whose last digit is its Verhoeff check digit."""
    permutation = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
    check = 0
    for position, digit in enumerate(reversed(digits)):
        place = int(digit)
        for _ in range(position % 8):
            place = permutation[place]
        check = _dihedral(check, place)
    return check


def _dihedral(a: int, b: int) -> int:
    """Multiply in the dihedral group of order 10: 0 to 4 turn, 5 to 9 turn and flip."""
    turn = (a % 5 - b % 5 if a >= 5 else a % 5 + b % 5) % 5
    return turn + 5 * ((a >= 5) != (b >= 5))
