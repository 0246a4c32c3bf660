"""Numbers and words that report and pages share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.results import submission, wording
from node.spine.anatomy import GRADES, Condition, Grade, Level
from node.spine.findings import Finding, StudyFindings, nothing_assessed
from tests.results_study import small_study

weights = st.floats(1e-9, 1.0)


def assessed(*chances: float) -> Finding:
    total = sum(chances)
    return Finding(
        Condition.SPINAL_CANAL_STENOSIS,
        Level.L4_L5,
        grade=GRADES[chances.index(max(chances))],
        probabilities={g: c / total for g, c in zip(GRADES, chances, strict=True)},
    )


@given(weights, weights, weights)
def test_percents_sum_to_one_hundred(a: float, b: float, c: float) -> None:
    """Three figures with one decimal, each within a tenth of the truth, sum to 100.0."""
    finding = assessed(a, b, c)
    assert finding.probabilities is not None

    percents = wording.percents(finding)

    assert round(sum(percents.values()), 6) == 100.0
    for grade in GRADES:
        assert abs(percents[grade] - 100 * finding.probabilities[grade]) <= 0.1 + 1e-9
        assert round(percents[grade], 1) == percents[grade]


@pytest.mark.parametrize(
    ("chances", "words"),
    [((1.0, 0.0, 0.0), ">99 %"), ((0.13, 0.0, 0.87), "87 %"), ((0.34, 0.33, 0.33), "34 %")],
)
def test_certainty_is_never_complete(chances: tuple[float, ...], words: str) -> None:
    """A page says ``>99 %``, not ``100 %``."""
    assert wording.certainty(assessed(*chances)) == words


def test_a_finding_without_probabilities_has_no_percents() -> None:
    """Nothing is made up for what was not assessed."""
    with pytest.raises(ValueError, match="not assessed"):
        wording.percents(Finding(Condition.SPINAL_CANAL_STENOSIS, Level.L1_L2, reason="no series"))


def test_words_are_one_line_of_printable_text() -> None:
    """Control characters and line breaks of a message cannot start a line of their own."""
    assert wording.plain("a\r\nNOT ASSESSED\tb\x1b[31m\0") == "a NOT ASSESSED b [31m"


def test_the_comment_is_what_a_viewer_shows() -> None:
    """Level, condition, grade, probability and that it is not verified."""
    assert (
        wording.comment(assessed(0.05, 0.08, 0.87))
        == "AI L4/L5 Spinal canal stenosis: Severe 87 % - NOT VERIFIED"
    )


def test_the_narrative_names_every_finding_and_every_reason() -> None:
    """Prose and groups say the same; what is missing is named with its reason."""
    study = small_study()
    gone = study.findings.findings[7].not_assessed("no sagittal T1 series")

    text = wording.narrative(study.with_findings(gone), "all")

    assert text.startswith(wording.DISCLAIMER)
    assert wording.NUMBERING in text
    assert f"NOT ASSESSED {wording.name(gone)}: no sagittal T1 series" in text.splitlines()
    for finding in study.findings.findings:
        if finding.key != gone.key and finding.grade:
            line = next(row for row in text.splitlines() if row.startswith(finding.level.label))
            assert f"{finding.condition.label} {finding.grade.label}" in line


def test_submission_has_a_row_for_each_assessed_finding_only() -> None:
    """A default grade would be a lie, so a finding that is not assessed has no row."""
    study = small_study()
    gone = study.findings.findings[3].not_assessed("outside the slab")

    rows = submission(study.with_findings(gone)).splitlines()

    assert rows[0] == "row_id,normal_mild,moderate,severe"
    assert len(rows) == 1 + 24
    assert rows[1].startswith(f"{study.findings.study_uid}_spinal_canal_stenosis_l1_l2,")
    assert sum(map(float, rows[1].split(",")[1:])) == pytest.approx(1.0, abs=1e-5)
    assert not any("_spinal_canal_stenosis_l4_l5," in row for row in rows)


def test_submission_of_nothing_is_its_header() -> None:
    """No findings, no rows."""
    nothing = StudyFindings("1.2.3", "0.1.0", nothing_assessed("not MR"))

    assert submission(nothing) == "row_id,normal_mild,moderate,severe\n"


def test_grades_keep_their_order() -> None:
    """The worst grade is the last one."""
    assert GRADES[-1] is Grade.SEVERE
