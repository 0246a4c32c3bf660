"""What the pages show, in the order and the words a radiologist reads; no HTML here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from node.results.summary_page import COLUMNS
from node.results.wording import certainty
from node.spine.anatomy import LEVELS, Condition, Grade, Level
from node.spine.findings import SCHEMA, Finding, StudyFindings
from node.storage.rows import DeliveryRow, StudyRow

# Shape as well as colour, the same shapes and colours as on the captures.
MARKS = {Grade.NORMAL_MILD: "○", Grade.MODERATE: "▲", Grade.SEVERE: "◆"}
WORST_FIRST = (Grade.SEVERE, Grade.MODERATE, Grade.NORMAL_MILD)


@dataclass(frozen=True)
class Count:
    """How many findings have one grade, or (``not_assessed``) none."""

    kind: str
    mark: str
    number: int
    words: str


@dataclass(frozen=True)
class Cell:
    """One finding in the grid."""

    kind: str
    mark: str
    words: str
    certainty: str
    has_warning: bool


@dataclass(frozen=True)
class Row:
    """One level of the grid, and the page that shows it, when there is one."""

    level: Level
    page: str | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Note:
    """A reason or a warning, and whose it is: a line for each condition, with its levels."""

    text: str
    whose: tuple[str, ...]


@dataclass(frozen=True)
class StudyView:
    """The findings of one study, ready to be laid out.

    Attributes
    ----------
    findings : StudyFindings
    counts : tuple of Count
    heads : tuple of (side, words)
        The grid's columns, in the order of the captures: the patient's right is on the left.
    rows : tuple of Row
    reasons, warnings : tuple of Note
    page : str or None
        The page to begin with: the worst level's, else the first.
    """

    findings: StudyFindings
    counts: tuple[Count, ...]
    heads: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    reasons: tuple[Note, ...]
    warnings: tuple[Note, ...]
    page: str | None


def study_view(raw: Mapping[str, Any] | None, pages: Sequence[str]) -> StudyView | None:
    """Lay out the contents of ``findings.json``; None when there are none to read."""
    findings = _read(raw)
    if findings is None:
        return None
    return StudyView(
        findings=findings,
        counts=counts(findings),
        heads=tuple((side, words) for _, side, words in COLUMNS),
        rows=tuple(
            Row(lv, _page_of(lv, pages), tuple(_cell(f) for f in _at(findings, lv)))
            for lv in LEVELS
        ),
        reasons=_notes((f.reason, f) for f in findings.findings if f.reason),
        warnings=_notes((w, f) for f in findings.findings for w in f.warnings),
        page=_first_page(findings, pages),
    )


def counts(findings: StudyFindings) -> tuple[Count, ...]:
    """Count the findings by grade, worst first; what does not occur is left out."""
    counted = [
        Count(g.value, MARKS[g], sum(f.grade is g for f in findings.findings), g.label)
        for g in WORST_FIRST
    ]
    missing = sum(not f.is_assessed for f in findings.findings)
    counted.append(Count("not_assessed", "–", missing, "not assessed"))
    return tuple(c for c in counted if c.number)


@dataclass(frozen=True)
class WorkRow:
    """One line of the work list."""

    study: StudyRow
    counts: tuple[Count, ...]


def work_row(study: StudyRow, raw: Mapping[str, Any] | None) -> WorkRow:
    """Return a line of the work list, with the grades counted once there are findings."""
    findings = _read(raw)
    return WorkRow(study, counts(findings) if findings else ())


def study_json(study: StudyRow, deliveries: Sequence[DeliveryRow]) -> dict[str, Any]:
    """Return a study and its deliveries for programs; times as ISO 8601."""
    return {
        "study_uid": study.study_uid,
        "state": study.state,
        "reasons": list(study.reasons),
        "started": list(study.started),
        "job_id": study.job_id,
        "source": study.source,
        "instances": study.instances,
        "first_received": study.first_received.isoformat(),
        "last_received": study.last_received.isoformat(),
        "deliveries": [
            {
                "destination": d.destination,
                "state": d.state,
                "attempts": d.attempts,
                "message": d.message,
                "proof": d.proof,
                "proof_note": d.proof_note,
            }
            for d in deliveries
        ],
    }


#: What proves that results are at their destination (`node.exchange.proving`), in words.
PROOFS = {
    "commitment": "proven: it vouches for every object (storage commitment)",
    "query": "proven: every object was found there (query)",
    "status": "proven by the status of each object only",
}


def proof(delivery: DeliveryRow) -> str:
    """Return what proves a delivery, and why nothing better does; empty before it is made."""
    if delivery.state != "delivered":
        return ""
    words = PROOFS.get(delivery.proof, "not proven yet")
    return f"{words}: {delivery.proof_note}" if delivery.proof_note else words


def utc(moment: datetime) -> str:
    """Return a moment in UTC as people read it, ``2026-11-23 03:14 UTC``."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def short_uid(uid: str) -> str:
    """Return the end of a UID, by which people tell studies apart; the start is the same."""
    return uid if len(uid) <= 16 else f"…{uid[-14:]}"


def _read(raw: Mapping[str, Any] | None) -> StudyFindings | None:
    # One study of an older version must not take the whole work list away.
    return StudyFindings.from_json(raw) if raw and raw["schema"] == SCHEMA else None


def _at(findings: StudyFindings, level: Level) -> list[Finding]:
    return [findings.finding(condition, level) for condition, _, _ in COLUMNS]


def _cell(finding: Finding) -> Cell:
    warned = bool(finding.warnings)
    if finding.grade is None:
        return Cell("not_assessed", "–", "not assessed", "", warned)
    grade = finding.grade
    return Cell(grade.value, MARKS[grade], grade.label, certainty(finding), warned)


def _page_of(level: Level, pages: Sequence[str]) -> str | None:
    return next((page for page in pages if level.value in page.lower()), None)


def _first_page(findings: StudyFindings, pages: Sequence[str]) -> str | None:
    for grade in (Grade.SEVERE, Grade.MODERATE):
        for level in LEVELS:
            page = _page_of(level, pages)
            if page and any(f.grade is grade for f in _at(findings, level)):
                return page
    return next(iter(pages), None)


def _notes(pairs: Iterable[tuple[str, Finding]]) -> tuple[Note, ...]:
    """Group findings by what is said of them, in order of first appearance."""
    grouped: dict[str, dict[Condition, list[str]]] = {}
    for text, finding in pairs:
        levels = grouped.setdefault(text, {}).setdefault(finding.condition, [])
        levels.append(finding.level.label)
    return tuple(
        Note(text, tuple(f"{c.label}: {_levels(levels)}" for c, levels in whose.items()))
        for text, whose in grouped.items()
    )


def _levels(labels: list[str]) -> str:
    return "all levels" if len(labels) == len(LEVELS) else ", ".join(labels)
