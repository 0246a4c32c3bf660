"""Findings and their JSON form: what is written is read back, and 25 are always 25."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.spine.anatomy import ALL_FINDINGS, GRADES, Condition, Grade, Level, Role, Side
from node.spine.findings import (
    Finding,
    ModelUse,
    SeriesScore,
    SeriesUse,
    StudyFindings,
    in_order,
    nothing_assessed,
)

_numbers = st.floats(-1000, 1000)
_uids = st.from_regex(r"1\.[1-9][0-9]{0,8}", fullmatch=True)


def _assessed(draw: Any, condition: Condition, level: Level) -> Finding:
    weights = [draw(st.floats(0.01, 1)) for _ in GRADES]
    probabilities = {g: w / sum(weights) for g, w in zip(GRADES, weights, strict=True)}
    return Finding(
        condition,
        level,
        grade=max(probabilities, key=lambda g: probabilities[g]),
        probabilities=probabilities,
        series_uid=draw(_uids),
        sop_instance_uid=draw(_uids),
        frame_number=draw(st.none() | st.integers(1, 2000)),
        column=draw(_numbers),
        row=draw(_numbers),
        patient_mm=(draw(_numbers), draw(_numbers), draw(_numbers)),
        confidence={"instance": draw(st.floats(0, 1)), "coordinate": draw(st.floats(0, 1))},
        warnings=tuple(draw(st.lists(st.text(max_size=20), max_size=2))),
    )


CANDIDATES = (
    SeriesScore("1.2.3", "series 3", Role.SAGITTAL_T2, 81.5, {"contrast": 1.0}, ("T2 by TE",)),
    SeriesScore("1.2.4", "series 1", None, 0.0, reasons=("localizer",)),
)


@st.composite
def studies(draw: Any) -> StudyFindings:
    """Any study: each finding assessed or not, each role filled or not."""
    findings = [
        _assessed(draw, c, lv) if draw(st.booleans()) else Finding(c, lv, reason="no series")
        for c, lv in ALL_FINDINGS
    ]
    use = st.none() | st.builds(
        SeriesUse, _uids, st.floats(0, 100), st.lists(st.text(max_size=9)).map(tuple)
    )
    return StudyFindings(
        study_uid=draw(_uids),
        node_version="1.2.3",
        findings=tuple(findings),
        reasons=tuple(draw(st.lists(st.text(max_size=9), max_size=2))),
        models=(ModelUse("severity_canal", "3", "ab" * 32, "cpu"),),
        series={role: draw(use) for role in Role},
        other_series=draw(st.dictionaries(_uids, st.text(max_size=9), max_size=3)),
        candidates=draw(st.sampled_from([(), CANDIDATES])),
        timings_ms={"total": draw(st.integers(0, 10**6)) / 2},
    )


@given(studies())
def test_json_there_and_back(study: StudyFindings) -> None:
    """Nothing is lost or changed on the way through the text of findings.json."""
    text = json.dumps(study.to_json(), allow_nan=False)
    assert StudyFindings.from_json(json.loads(text)) == study


@given(studies())
def test_status_follows_from_the_findings(study: StudyFindings) -> None:
    """All assessed is complete, none is rejected, and the JSON says the same."""
    assessed = sum(f.is_assessed for f in study.findings)
    expected = {25: "complete", 0: "rejected"}.get(assessed, "partial")
    assert study.status == study.to_json()["status"] == expected


def test_the_json_has_the_names_of_the_contract() -> None:
    """The keys are those the contract promises to other programs."""
    study = StudyFindings("1.2", "0.1.0", nothing_assessed("no series"))
    found = study.to_json()
    assert set(found) == {
        "schema",
        "study_uid",
        "node_version",
        "status",
        "reasons",
        "models",
        "series",
        "other_series",
        "candidates",
        "findings",
        "timings_ms",
    }
    assert set(found["series"]) == {"sagittal_t1", "sagittal_t2", "axial_t2"}
    assert list(found["findings"][0]) == [
        "condition",
        "level",
        "status",
        "reason",
        "grade",
        "probabilities",
        "series_uid",
        "sop_instance_uid",
        "frame_number",
        "column",
        "row",
        "patient_mm",
        "confidence",
        "warnings",
    ]
    assert found["findings"][0]["status"] == "not_assessed"
    assert found["findings"][0]["reason"] == "no series"


def test_a_study_has_exactly_25_findings_in_order() -> None:
    """Missing, doubled or shuffled findings are an error of the program."""
    findings = nothing_assessed("x")
    for wrong in (findings[:-1], (*findings, findings[0]), findings[::-1]):
        with pytest.raises(ValueError, match="exactly 25"):
            StudyFindings("1.2", "0", wrong)
    assert in_order(findings[::-1]) == findings


def test_another_schema_is_refused() -> None:
    """A file of a later node is not read as if it were ours."""
    raw = StudyFindings("1.2", "0", nothing_assessed("x")).to_json() | {"schema": 2}
    with pytest.raises(ValueError, match="schema 2"):
        StudyFindings.from_json(raw)


def test_withholding_a_grade_keeps_the_place() -> None:
    """A finding that fails a safety check loses its grade, not where it was looked for."""
    finding = Finding(
        Condition.LEFT_SUBARTICULAR_STENOSIS,
        Level.L4_L5,
        grade=Grade.SEVERE,
        probabilities={Grade.NORMAL_MILD: 0.1, Grade.MODERATE: 0.2, Grade.SEVERE: 0.7},
        column=3.0,
        row=4.0,
    )
    assert finding.probability == 0.7
    withheld = finding.not_assessed("left is not left")
    assert not withheld.is_assessed
    assert withheld.probability == 0
    assert withheld.probabilities is None
    assert (withheld.column, withheld.row, withheld.reason) == (3.0, 4.0, "left is not left")


def test_reasons_may_differ_by_finding() -> None:
    """Every finding may have its own reason."""
    reasons = {key: f"{key[0]} {key[1]}" for key in ALL_FINDINGS}
    assert [f.reason for f in nothing_assessed(reasons)] == list(reasons.values())


def test_conditions_know_side_and_group() -> None:
    """The RSNA names split into a side of the patient and a group of models."""
    for condition in Condition:
        assert condition.group.condition(condition.side) is condition
    assert Condition.SPINAL_CANAL_STENOSIS.side is None
    assert Condition.LEFT_NEURAL_FORAMINAL_NARROWING.side is Side.LEFT
    assert {c.group.short for c in Condition} == {"canal", "foraminal", "subarticular"}
    assert [lv.label for lv in Level] == ["L1/L2", "L2/L3", "L3/L4", "L4/L5", "L5/S1"]
