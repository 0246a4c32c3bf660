"""What the pages say, before any HTML."""

from datetime import UTC, datetime

import pytest

from node.spine.anatomy import ALL_FINDINGS, LEVELS, Condition, Grade, Level
from node.spine.findings import Finding, StudyFindings
from node.web import view
from tests.web_parts import findings_json, study


def test_the_grid_has_every_finding_once_in_its_place() -> None:
    """Rows are levels; columns run as on the captures, the patient's right on the left."""
    severe_at = (Condition.LEFT_SUBARTICULAR_STENOSIS, Level.L4_L5)
    columns = (
        Condition.RIGHT_NEURAL_FORAMINAL_NARROWING,
        Condition.RIGHT_SUBARTICULAR_STENOSIS,
        Condition.SPINAL_CANAL_STENOSIS,
        Condition.LEFT_SUBARTICULAR_STENOSIS,
        Condition.LEFT_NEURAL_FORAMINAL_NARROWING,
    )

    shown = view.study_view(findings_json({severe_at: Grade.SEVERE}), [])

    assert shown is not None
    kinds = {
        (condition, row.level): cell.kind
        for row in shown.rows
        for condition, cell in zip(columns, row.cells, strict=True)
    }
    assert set(kinds) == set(ALL_FINDINGS)
    assert [side for side, _ in shown.heads] == ["R", "R", "", "L", "L"]
    assert [key for key, kind in kinds.items() if kind == "severe"] == [severe_at]


def test_the_worst_is_counted_first_and_nothing_is_lost() -> None:
    """Severe, moderate, normal, not assessed; together always 25."""
    grades: dict[tuple[Condition, Level], Grade | str] = dict.fromkeys(ALL_FINDINGS[:3], "no T1")
    grades |= dict.fromkeys(ALL_FINDINGS[3:5], Grade.SEVERE)

    counts = view.counts(StudyFindings.from_json(findings_json(grades)))

    assert [(c.kind, c.number) for c in counts] == [
        ("severe", 2),
        ("normal_mild", 20),
        ("not_assessed", 3),
    ]


def test_what_is_not_assessed_has_no_grade_and_no_percentage() -> None:
    """A missing finding never looks like a normal one."""
    shown = view.study_view(findings_json(dict.fromkeys(ALL_FINDINGS, "no series")), [])

    assert shown is not None
    cells = [cell for row in shown.rows for cell in row.cells]
    assert {(c.kind, c.words, c.certainty) for c in cells} == {("not_assessed", "not assessed", "")}


def test_reasons_are_said_once_with_whose_they_are() -> None:
    """Five levels of a condition are *all levels*; the rest is listed."""
    canal = Condition.SPINAL_CANAL_STENOSIS
    reasons: dict[tuple[Condition, Level], Grade | str] = {(canal, lv): "no T2" for lv in LEVELS}
    reasons[Condition.RIGHT_SUBARTICULAR_STENOSIS, Level.L1_L2] = "no slice there"
    reasons[Condition.RIGHT_SUBARTICULAR_STENOSIS, Level.L5_S1] = "no slice there"

    shown = view.study_view(findings_json(reasons), [])

    assert shown is not None
    assert shown.reasons == (
        view.Note("no T2", ("Spinal canal stenosis: all levels",)),
        view.Note("no slice there", ("Right subarticular stenosis: L1/L2, L5/S1",)),
    )


def test_a_warning_marks_its_cell_and_is_spelled_out() -> None:
    """The finding stands, but a reader sees that there is something to know."""
    raw = findings_json({})
    raw["findings"][0]["warnings"] = ["sagittal and axial disagree"]

    shown = view.study_view(raw, [])

    assert shown is not None
    flags = [cell.has_warning for row in shown.rows for cell in row.cells]
    assert (flags[2], sum(flags)) == (True, 1)  # the canal is the middle column
    assert shown.warnings == (
        view.Note("sagittal and axial disagree", ("Spinal canal stenosis: L1/L2",)),
    )


def test_a_level_links_to_its_page() -> None:
    """By the level's name in the page's name; no page, no link."""
    shown = view.study_view(findings_json({}), ["summary", "l1_l2", "page_L5_S1"])

    assert shown is not None
    assert [row.page for row in shown.rows] == ["l1_l2", None, None, None, "page_L5_S1"]


def test_no_findings_is_no_view() -> None:
    """A study that still runs has nothing to lay out."""
    assert view.study_view(None, []) is None
    assert view.work_row(study(), None).counts == ()


def test_findings_of_another_schema_take_nothing_else_away() -> None:
    """After an upgrade the work list still opens; the file itself can still be fetched."""
    old = {**findings_json({}), "schema": 0}

    assert view.study_view(old, []) is None
    assert view.work_row(study(), old).counts == ()


def test_times_are_utc_and_say_so() -> None:
    """The index keeps UTC; nobody has to guess that."""
    assert view.utc(datetime(2026, 11, 23, 3, 14, tzinfo=UTC)) == "2026-11-23 03:14 UTC"


def test_a_uid_is_shortened_from_the_front() -> None:
    """All UIDs of a scanner begin alike; they differ at the end."""
    assert view.short_uid("1.2.840.113619.2.55.3.604688119") == "…55.3.604688119"
    assert view.short_uid("1.2.3") == "1.2.3"


def test_a_finding_reads_the_same_as_in_the_report() -> None:
    """The percentage is the report's own wording, which never says 100 %."""
    sure = Finding(
        *ALL_FINDINGS[0],
        grade=Grade.SEVERE,
        probabilities={Grade.NORMAL_MILD: 0.0, Grade.MODERATE: 0.0, Grade.SEVERE: 1.0},
    )
    raw = findings_json({})
    raw["findings"][0] = sure.to_json()

    shown = view.study_view(raw, [])

    assert shown is not None
    assert shown.rows[0].cells[2].certainty == ">99 %"


@pytest.mark.parametrize(
    ("differing", "page"),
    [
        ({}, "summary"),
        ({Level.L1_L2: Grade.MODERATE}, "l1_l2"),
        ({Level.L1_L2: Grade.MODERATE, Level.L4_L5: Grade.SEVERE}, "l4_l5"),
    ],
)
def test_the_reader_begins_at_the_worst_level(differing: dict[Level, Grade], page: str) -> None:
    """Severe before moderate; with nothing to see, the summary."""
    grades: dict[tuple[Condition, Level], Grade | str] = {
        (Condition.SPINAL_CANAL_STENOSIS, level): grade for level, grade in differing.items()
    }

    shown = view.study_view(findings_json(grades), ["summary", *LEVELS])

    assert shown is not None
    assert shown.page == page
