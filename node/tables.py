"""What the terminal shows: rich tables, and plain dictionaries for ``--json``."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from node.doctor import Check
from node.results.summary_page import COLUMNS
from node.results.wording import DISCLAIMER, certainty
from node.spine.anatomy import LEVELS, Grade
from node.spine.findings import Finding, StudyFindings
from node.storage.quarantine import Entry
from node.storage.rows import DeliveryRow, StudyRow
from node.web.view import MARKS, proof

GRADE_STYLE = {Grade.NORMAL_MILD: "green", Grade.MODERATE: "yellow", Grade.SEVERE: "bold red"}
STATE_STYLE = {
    "done": "green", "failed": "bold red", "rejected": "red", "incomplete": "yellow",
    "running": "cyan", "delivering": "cyan", "cancelled": "dim",
}  # fmt: skip


def findings_grid(findings: StudyFindings, *, truth: dict[Any, Grade] | None = None) -> Table:
    """Return the 5 x 5 grid: levels down, conditions across.

    Parameters
    ----------
    findings : StudyFindings
    truth : dict of (Condition, Level) to Grade, optional
        A phantom's known grades, shown where they differ.
    """
    # Five columns of thirteen characters fit a terminal of eighty.
    table = Table(box=box.SIMPLE_HEAVY, padding=(0, 1, 0, 0), show_edge=False)
    table.title = f"study {findings.study_uid}: {findings.status}"
    table.caption = DISCLAIMER
    table.add_column("level", no_wrap=True)
    for _, side, words in COLUMNS:
        table.add_column(f"{side}\n{words}", min_width=13, no_wrap=True)
    for level in LEVELS:
        cells = [_cell(findings.finding(c, level), truth) for c, _, _ in COLUMNS]
        table.add_row(level.label, *cells)
    return table


def _cell(finding: Finding, truth: dict[Any, Grade] | None) -> Text:
    if finding.grade is None:
        return Text("not assessed", style="dim")
    mark = MARKS[finding.grade]
    words = f"{mark} {finding.grade.label}\n  {certainty(finding)}"
    text = Text(words, style=GRADE_STYLE[finding.grade])
    known = truth.get(finding.key) if truth else None
    if known is not None and known != finding.grade:
        text.append(f"\n  known: {known.label}", style="dim")
    return text


def work_list(rows: Sequence[StudyRow]) -> Table:
    """Return the work list, newest first."""
    table = Table(box=box.SIMPLE_HEAVY)
    for name in ("study", "state", "images", "last image (UTC)", "from", "why"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            row.study_uid,
            Text(row.state, style=STATE_STYLE.get(row.state, "")),
            str(row.instances),
            _time(row.last_received),
            row.source,
            "; ".join(row.reasons),
        )
    return table


def quarantine(entries: Sequence[Entry]) -> Table:
    """Return what is in quarantine, newest first."""
    table = Table(box=box.SIMPLE_HEAVY)
    for name in ("when (UTC)", "from", "why", "bytes", "study, instance", "SHA-256"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        table.add_row(
            _time(datetime.fromisoformat(entry.when)),
            Text(entry.source),
            Text(entry.reason),
            f"{entry.bytes:,}",
            "\n".join(filter(None, (entry.study_uid, entry.sop_instance_uid))) or "not readable",
            entry.sha256,
        )
    return table


def one_study(
    row: StudyRow,
    findings: dict[str, Any] | None,
    deliveries: Sequence[DeliveryRow],
    deleted: datetime | None = None,
) -> RenderableType:
    """Return everything the node knows about one study."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row("study", row.study_uid)
    facts.add_row("state", Text(row.state, style=STATE_STYLE.get(row.state, "")))
    facts.add_row("images", f"{row.instances} from {row.source}")
    facts.add_row("received", f"{_time(row.first_received)} to {_time(row.last_received)} UTC")
    for reason in row.reasons:
        facts.add_row("why", reason)
    for reason in row.started:
        facts.add_row("started", reason)
    if deleted:
        facts.add_row("results", f"deleted here on {_time(deleted)} UTC ([retention] results_days)")
    parts: list[RenderableType] = [facts]
    if findings:
        parts += [findings_grid(StudyFindings.from_json(findings)), _series(findings)]
    if deliveries:
        parts.append(_deliveries(deliveries))
    return Group(*parts)


def _series(findings: dict[str, Any]) -> Table:
    """Return the choice of series and, below, the score table that made it."""
    table = Table(title="series", box=box.SIMPLE)
    for name in ("role", "series", "score", "parts of the score (0 to 1)", "reasons"):
        table.add_column(name, overflow="fold")
    for role, use in findings["series"].items():
        uid = use["series_uid"] if use else "none"
        table.add_row(role, uid, f"{use['score']:.1f}" if use else "", "", "")
    table.add_section()
    for c in findings.get("candidates", ()):
        parts = " ".join(f"{name} {part:.2g}" for name, part in c["parts"].items())
        score = f"{c['score']:.1f}" if c["role"] else ""
        table.add_row(c["role"] or "no role", c["name"], score, parts, "; ".join(c["reasons"]))
    table.add_section()
    for other in findings["other_series"]:
        table.add_row("not used", other["series_uid"], "", "", other["reason"])
    return table


def _deliveries(deliveries: Sequence[DeliveryRow]) -> Table:
    table = Table(title="deliveries", box=box.SIMPLE)
    for name in ("to", "state", "tries", "proof", "message"):
        table.add_column(name, overflow="fold")
    for delivery in deliveries:
        table.add_row(
            delivery.destination,
            delivery.state,
            str(delivery.attempts),
            proof(delivery),
            delivery.message,
        )
    return table


def checks(results: Sequence[Check]) -> Table:
    """Return the doctor's table."""
    table = Table(box=box.SIMPLE_HEAVY)
    for name in ("", "what", "found"):
        table.add_column(name, overflow="fold")
    for check in results:
        mark = Text("ok", style="green") if check.ok else Text("FAULT", style="bold red")
        if check.ok and check.warning:
            mark = Text("warning", style="yellow")
        table.add_row(mark, Text(check.what), Text(check.found))  # [[sources]] is no markup
    return table


def row_json(row: StudyRow | DeliveryRow) -> dict[str, Any]:
    """Return a row of the index as a JSON object."""
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(row).items()}


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}"
