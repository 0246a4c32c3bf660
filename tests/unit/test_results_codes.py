"""The code table: right in itself, and right against PS3.16 as pydicom holds it."""

import csv
from pathlib import Path

import pytest
from pydicom.sr._concepts_dict import concepts

from node.results import codes
from node.spine.anatomy import ConditionGroup, Grade, Level, Side


@pytest.mark.parametrize(
    ("value", "scheme", "is_right"),
    [
        ("18347007", "SCT", True),
        ("371000119109", "SCT", True),
        ("427371002", "SCT", False),  # found in a public repository
        ("18347070", "SCT", False),
        ("1834700x", "SCT", False),
        ("24968-0", "LN", True),
        ("24968-6", "LN", False),
        ("126000", "DCM", True),
    ],
)
def test_check_digits_tell_a_mistyped_code(value: str, scheme: str, *, is_right: bool) -> None:
    """Verhoeff for SNOMED CT and mod 10 for LOINC; other schemes have no check digit."""
    assert _check_digit_is_right(value, scheme) is is_right


def test_every_single_digit_error_is_found() -> None:
    """Verhoeff finds every change of one digit."""
    right = "243920003"
    wrong = [
        right[:i] + digit + right[i + 1 :]
        for i in range(len(right))
        for digit in "0123456789"
        if digit != right[i]
    ]

    assert not any(_check_digit_is_right(value, "SCT") for value in wrong)


def test_every_row_is_legal_and_none_repeats() -> None:
    """Code Value and Scheme Designator are SH (16), Code Meaning is LO (64) (PS3.5 6.2)."""
    rows = list(csv.DictReader(Path(codes.__file__).with_name("codes.csv").open(encoding="utf-8")))
    for row in rows:
        assert max(len(row["value"]), len(row["scheme"])) <= 16
        assert len(row["meaning"]) <= 64
        assert _check_digit_is_right(row["value"], row["scheme"]), row

    assert len({row["meaning"] for row in rows}) == len(rows) == len(codes.table())


def test_codes_of_the_standard_mean_what_the_standard_says() -> None:
    """Each DCM, SCT, UCUM and RFC code that PS3.16 lists has that meaning there too."""
    looked_up = 0
    for concept in codes.table().values():
        meanings = {
            meaning
            for values in concepts.get(concept.scheme_designator, {}).values()
            for value, (meaning, _) in values.items()
            if value == concept.value
        }
        if meanings:
            looked_up += 1
            plain = {m.removesuffix(" (attribute)") for m in meanings}
            assert concept.meaning in plain, (concept.value, meanings)

    assert looked_up >= 45


def test_private_codes_use_a_private_designator() -> None:
    """A private designator starts with 99 (PS3.16 8.2) and is identified in the objects."""
    private = [c for c in codes.table().values() if c.scheme_designator == codes.PRIVATE_SCHEME]

    assert codes.PRIVATE_SCHEME.startswith("99")
    assert len(private) == 10
    assert codes.private_scheme().CodingSchemeDesignator == codes.PRIVATE_SCHEME


def test_every_concept_a_finding_needs_is_in_the_table() -> None:
    """Level, side, site, disorder, question, grade and probability are all looked up, not typed."""
    found = [
        *map(codes.level_code, Level),
        *map(codes.side_code, Side),
        *map(codes.site_code, ConditionGroup),
        *map(codes.disorder_code, ConditionGroup),
        *map(codes.question_code, ConditionGroup),
        *map(codes.grade_code, Grade),
        *map(codes.probability_code, Grade),
    ]

    assert len({(c.value, c.scheme_designator) for c in found}) == len(found) == 22


def test_normal_or_mild_is_neither_normal_nor_mild() -> None:
    """The model has one class for both, so no standard code may be written for it."""
    values = {c.value for c in codes.table().values()}

    assert codes.grade_code(Grade.NORMAL_MILD).scheme_designator == codes.PRIVATE_SCHEME
    assert not values & {"17621005", "255604002", "280734009"}


def _check_digit_is_right(value: str, scheme: str) -> bool:
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
