"""A report gives back the findings it was made from."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st

from node.config import Report
from node.results import read_report
from node.results.heading import heading
from node.results.report import make_report
from node.spine.anatomy import ALL_FINDINGS, GRADES, Grade
from node.spine.findings import Finding, StudyFindings
from tests.results_study import CREATED, SmallStudy, small_study

STUDY = small_study()

chances = st.tuples(*[st.floats(0.001, 1.0)] * 3)
reasons = st.sampled_from(
    [
        "no axial T2 series",
        "outside the slab",
        "left: 4.2 mm right of the midline; withheld",
        "x: y",
    ]
)


@st.composite
def findings(draw: st.DrawFn) -> StudyFindings:
    made = []
    for base in STUDY.findings.findings:
        if draw(st.integers(0, 3)) == 0:
            made.append(Finding(base.condition, base.level, reason=draw(reasons)))
            continue
        weights = draw(chances)
        probabilities = {g: w / sum(weights) for g, w in zip(GRADES, weights, strict=True)}
        grade = max(GRADES, key=lambda g, p=probabilities: p[g])  # type: ignore[misc]
        column, row = draw(st.floats(0, 128)), draw(st.floats(0, 108))
        made.append(replace(base, grade=grade, probabilities=probabilities, column=column, row=row))
    return replace(STUDY.findings, findings=tuple(made))


def read_back(
    found: StudyFindings, study: SmallStudy = STUDY, settings: Report | None = None
) -> tuple[Finding, ...]:
    volumes = study.volumes.values()
    common = heading(found, study.headers, volumes, settings or Report(), CREATED)
    return read_report(make_report(common, {}))


@given(findings())
@rules(max_examples=12)
def test_a_report_read_back_is_what_was_written(found: StudyFindings) -> None:
    """All 25, in order: grade, probabilities to a tenth of a percent, slice and point, reason."""
    back = read_back(found)

    assert tuple(f.key for f in back) == ALL_FINDINGS
    for was, now in zip(found.findings, back, strict=True):
        assert (now.grade, now.reason) == (was.grade, was.reason)
        if was.probabilities is None:
            assert now.probabilities is None
            continue
        assert now.probabilities is not None
        assert now.probabilities == pytest.approx(dict(was.probabilities), abs=0.0011)
        assert (now.series_uid, now.sop_instance_uid) == (was.series_uid, was.sop_instance_uid)
        assert (now.column, now.row) == pytest.approx((was.column, was.row), abs=1e-3)


def test_a_report_of_abnormal_findings_gives_those_back() -> None:
    """And no more: what has no group and no reason is not made up."""
    back = read_back(STUDY.findings, settings=Report(groups="abnormal"))

    assert {f.key for f in back} == {
        f.key for f in STUDY.findings.findings if f.grade is not Grade.NORMAL_MILD
    }


def test_frames_of_an_enhanced_source_come_back() -> None:
    """The frame number is part of where the point is."""
    study = small_study(is_enhanced=True)
    back = read_back(study.findings, study)

    assert [f.frame_number for f in back] == [f.frame_number for f in study.findings.findings]
