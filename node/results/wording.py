"""The words and numbers that report, pages and overlays share, so that they always agree."""

from node.spine.anatomy import GRADES, Grade, Level
from node.spine.findings import Finding, StudyFindings

DISCLAIMER = "AI RESULT - NOT VERIFIED - NOT FOR CLINICAL USE"
NUMBERING = "Levels counted from the last square-shaped disc; transitional anatomy not excluded."
NOT_ASSESSED = "NOT ASSESSED"


def percents(finding: Finding) -> dict[Grade, float]:
    """Return the class probabilities in percent with one decimal that sum to exactly 100.0.

    Largest remainder: each is rounded down to a tenth, the tenths left over go to the largest
    remainders (SR-28).
    """
    if finding.probabilities is None:
        raise ValueError("a finding that is not assessed has no probabilities")
    total = sum(finding.probabilities.values())
    exact = [1000 * finding.probabilities[g] / total for g in GRADES]
    tenths = [int(e) for e in exact]
    by_remainder = sorted(range(3), key=lambda i: tenths[i] - exact[i])
    for i in by_remainder[: 1000 - sum(tenths)]:
        tenths[i] += 1
    return {grade: t / 10 for grade, t in zip(GRADES, tenths, strict=True)}


def certainty(finding: Finding) -> str:
    """Return the reported grade's probability in words, ``87 %``; never ``100 %``."""
    if finding.grade is None:
        return ""
    return f"{rounded(percents(finding)[finding.grade])} %"


def rounded(percent: float) -> str:
    """Return a whole number of percent, and never certainty."""
    return ">99" if percent > 99 else f"{percent:.0f}"


def name(finding: Finding) -> str:
    """Return ``L4/L5 Left subarticular stenosis``."""
    return f"{finding.level.label} {finding.condition.label}"


def plain(text: str) -> str:
    """Return text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def comment(finding: Finding) -> str:
    """Return the line a viewer shows beside a finding's point."""
    grade = finding.grade.label if finding.grade else NOT_ASSESSED
    return f"AI {name(finding)}: {grade} {certainty(finding)} - NOT VERIFIED"


def not_assessed_line(finding: Finding) -> str:
    """Return the report's line for a finding without a grade; `read_report` reads it back."""
    return f"{NOT_ASSESSED} {name(finding)}: {plain(finding.reason or 'no reason given')}"


def narrative(findings: StudyFindings, groups: str) -> str:
    """Return the report in prose: the disclaimer, each level, and what was not assessed and why."""
    lines = [f"{DISCLAIMER}. Made by software for research; a radiologist has not reviewed it."]
    if findings.status == "rejected":
        lines.append("Nothing in this study could be assessed.")
    else:
        lines += [NUMBERING, *(_level_line(findings, level) for level in Level)]
    if groups == "abnormal":
        lines.append("Only moderate and severe findings have a measurement group in this report.")
    lines += [not_assessed_line(f) for f in findings.findings if not f.is_assessed]
    lines += [
        f"WARNING {name(f)}: {plain(warning)}"
        for f in findings.findings
        if f.is_assessed
        for warning in f.warnings
    ]
    return "\r\n".join(lines)


def _level_line(findings: StudyFindings, level: Level) -> str:
    parts = [
        f"{f.condition.label} {f.grade.label} {certainty(f)}"
        for f in findings.findings
        if f.level is level and f.grade
    ]
    return f"{level.label}: {'; '.join(parts) or 'nothing assessed'}."
