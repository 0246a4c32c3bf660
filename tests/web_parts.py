"""A node's parts for the web pages, as a few rows in memory."""

# ruff: noqa: ARG002 - these parts know one study only
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from node.errors import LumbarError
from node.spine.anatomy import ALL_FINDINGS, GRADES, FindingKey, Grade, Role
from node.spine.findings import Finding, ModelUse, SeriesScore, SeriesUse, StudyFindings
from node.storage.rows import DeliveryRow, LastRun, StudyRow
from node.web.parts import Held

STUDY_UID = "1.2.840.113619.2.55.3.604688119.971"
ORTHANC_ID = "a4e399de-6e50ec02-254e5a63-81f90102-7bb5d5d3"
PNG = b"\x89PNG\r\n\x1a\n and so on"


def findings_json(
    differing: Mapping[FindingKey, Grade | str], study_uid: str = STUDY_UID
) -> dict[str, Any]:
    """Return a ``findings.json``: all normal, but for some grades or reasons."""
    findings = [_finding(key, differing.get(key, Grade.NORMAL_MILD)) for key in ALL_FINDINGS]
    return StudyFindings(
        study_uid,
        "0.0.0",
        tuple(findings),
        models=(ModelUse("severity_canal", "7", "ab" * 32, "CPUExecutionProvider"),),
        series={Role.SAGITTAL_T2: SeriesUse("1.2.3.4", 0.875, ("TE 102 ms",))},
        other_series={"1.2.3.5": "localizer"},
        candidates=(
            SeriesScore("1.2.3.4", "series 3", Role.SAGITTAL_T2, 81.5, {"contrast": 1.0}),
            SeriesScore("1.2.3.5", "series 1", None, 0.0, reasons=("localizer",)),
        ),
        timings_ms={"read": 812.4},
    ).to_json()


def _finding(key: FindingKey, said: Grade | str) -> Finding:
    if not isinstance(said, Grade):
        return Finding(*key, reason=said)
    return Finding(*key, grade=said, probabilities={g: 0.8 if g is said else 0.1 for g in GRADES})


def study(**changed: Any) -> StudyRow:
    """Return a row of the work list that differs from the usual one in something."""
    usual = StudyRow(
        study_uid=STUDY_UID,
        state="done",
        reasons=(),
        job_id="job",
        source="orthanc:pacs",
        first_received=datetime(2026, 11, 23, 3, 1, tzinfo=UTC),
        last_received=datetime(2026, 11, 23, 3, 2, tzinfo=UTC),
        instances=87,
        last_run=LastRun(("proven complete", "axial slices cover 132 mm"), used=""),
    )
    return replace(usual, **changed)


def delivery(**changed: Any) -> DeliveryRow:
    """Return a delivery that differs from the usual one in something."""
    received = study().last_received
    usual = DeliveryRow("job", STUDY_UID, "pacs", "delivered", 1, "", received, proof="commitment")
    return replace(usual, **changed)


@dataclass
class Parts:
    """`node.web.parts.WebParts`, by hand."""

    rows: Sequence[StudyRow] = (study(),)
    told: Mapping[str, Any] | None = None
    pages: Mapping[str, bytes] = field(default_factory=dict)
    delivered: Sequence[DeliveryRow] = ()
    deleted: datetime | None = None
    status: str = "ok"
    trouble: LumbarError | None = None
    triggers: list[tuple[str, str]] = field(default_factory=list)
    intake: Any = None  # these parts take nothing in
    ignores_others: bool = True

    def studies(self) -> Sequence[StudyRow]:
        return self.rows

    def study(self, study_uid: str) -> StudyRow | None:
        return next((row for row in self.rows if row.study_uid == study_uid), None)

    def findings(self, study_uid: str) -> Mapping[str, Any] | None:
        return self.told

    def page_names(self, study_uid: str) -> Sequence[str]:
        return list(self.pages)

    def page(self, study_uid: str, name: str) -> bytes | None:
        return self.pages[name]

    def deliveries(self, study_uid: str) -> Sequence[DeliveryRow]:
        return self.delivered

    def results_deleted(self, study_uid: str) -> datetime | None:
        return self.deleted

    def orthanc_trigger(self, peer: str, orthanc_id: str) -> None:
        if peer != "pacs":
            raise KeyError(peer)
        if self.trouble:
            raise self.trouble
        self.triggers.append((peer, orthanc_id))

    def dicomweb_trigger(self, peer: str, study_uid: str) -> None:
        if peer != "archive":
            raise LookupError(peer)
        self.triggers.append((peer, study_uid))

    def health(self) -> Mapping[str, Any]:
        return {"status": self.status, "version": "0.0.0"}

    def held_studies(self) -> Sequence[str]:
        return [row.study_uid for row in self.rows]

    def held(self, study_uid: str) -> Sequence[Held]:
        return []
