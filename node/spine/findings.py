"""The findings of one study, and their JSON form (``findings.json``, schema 1)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from node.spine.anatomy import ALL_FINDINGS, Condition, FindingKey, Grade, Level, Role

SCHEMA = 1
Status = Literal["complete", "partial", "rejected"]


@dataclass(frozen=True)
class Finding:
    """One condition at one level: assessed with a grade and a point, or not, with a reason.

    Attributes
    ----------
    condition, level
    reason : str or None
        Why it is not assessed; None when it is.
    grade : Grade or None
    probabilities : dict of Grade to float, or None
        Calibrated, sum 1.
    series_uid, sop_instance_uid : str or None
        The key slice.
    frame_number : int or None
        1-based, only for an enhanced multi-frame key slice.
    column, row : float or None
        The point in native pixels of the key slice, 0-based, an integer is a pixel's centre.
    patient_mm : (x, y, z) or None
        The same point, LPS.
    confidence : dict
        ``instance`` and ``coordinate``, each 0 to 1.
    warnings : tuple of str
        What a reader should know although the finding stands.
    """

    condition: Condition
    level: Level
    reason: str | None = None
    grade: Grade | None = None
    probabilities: Mapping[Grade, float] | None = None
    series_uid: str | None = None
    sop_instance_uid: str | None = None
    frame_number: int | None = None
    column: float | None = None
    row: float | None = None
    patient_mm: tuple[float, float, float] | None = None
    confidence: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def key(self) -> FindingKey:
        """``(condition, level)``."""
        return self.condition, self.level

    @property
    def is_assessed(self) -> bool:
        """A finding with a grade; everything else has a reason."""
        return self.grade is not None

    @property
    def probability(self) -> float:
        """The probability of the reported grade; 0 when not assessed."""
        if self.grade is None or self.probabilities is None:
            return 0.0
        return self.probabilities[self.grade]

    def not_assessed(self, reason: str) -> "Finding":
        """Return this finding without its grade, keeping where it was looked for."""
        return replace(self, grade=None, probabilities=None, reason=reason)

    def to_json(self) -> dict[str, Any]:
        """Return the finding's JSON object."""
        raw = asdict(self)
        status = "assessed" if self.is_assessed else "not_assessed"
        raw["warnings"] = list(self.warnings)
        raw["patient_mm"] = list(self.patient_mm) if self.patient_mm else None
        return {
            "condition": raw.pop("condition"),
            "level": raw.pop("level"),
            "status": status,
            **raw,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Finding":
        """Read what `to_json` wrote."""
        probabilities = raw["probabilities"]
        point = raw["patient_mm"]
        return cls(
            condition=Condition(raw["condition"]),
            level=Level(raw["level"]),
            reason=raw["reason"],
            grade=Grade(raw["grade"]) if raw["grade"] else None,
            probabilities={Grade(k): v for k, v in probabilities.items()}
            if probabilities
            else None,
            series_uid=raw["series_uid"],
            sop_instance_uid=raw["sop_instance_uid"],
            frame_number=raw["frame_number"],
            column=raw["column"],
            row=raw["row"],
            patient_mm=(point[0], point[1], point[2]) if point else None,
            confidence=dict(raw["confidence"]),
            warnings=tuple(raw["warnings"]),
        )


@dataclass(frozen=True)
class ModelUse:
    """A model that took part: what ran, which file, on which provider."""

    name: str
    version: str
    sha256: str
    provider: str


@dataclass(frozen=True)
class SeriesUse:
    """A series chosen for a role, with the score that chose it and why."""

    series_uid: str
    score: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeriesScore:
    """A row of the score table: what a series, or a part of one, was found to be good for.

    Attributes
    ----------
    series_uid : str
    name : str
        As people name it: ``series 4``.
    role : Role or None
        None when no role can use it.
    score : float
        The weighted sum of `parts`.
    parts : dict of str to float
        Each 0 to 1; empty without a role.
    reasons : tuple of str
    """

    series_uid: str
    name: str
    role: Role | None
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyFindings:
    """Everything the node has to say about one study.

    Attributes
    ----------
    study_uid, node_version : str
    reasons : tuple of str
        Why the study is partial or rejected; empty when complete.
    models : tuple of ModelUse
    series : dict of Role to SeriesUse or None
    other_series : dict of series UID to the reason it was not used
    candidates : tuple of SeriesScore
        The score table behind the choice, best first.
    findings : tuple of Finding
        Always 25, in the order of `ALL_FINDINGS`.
    timings_ms : dict
    """

    study_uid: str
    node_version: str
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...] = ()
    models: tuple[ModelUse, ...] = ()
    series: Mapping[Role, SeriesUse | None] = field(default_factory=dict)
    other_series: Mapping[str, str] = field(default_factory=dict)
    candidates: tuple[SeriesScore, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if tuple(f.key for f in self.findings) != ALL_FINDINGS:
            raise ValueError("a study has exactly 25 findings, in the order of ALL_FINDINGS")

    @property
    def status(self) -> Status:
        """``complete`` with all 25 assessed, ``rejected`` with none, else ``partial``."""
        assessed = sum(f.is_assessed for f in self.findings)
        if assessed == len(ALL_FINDINGS):
            return "complete"
        return "partial" if assessed else "rejected"

    def finding(self, condition: Condition, level: Level) -> Finding:
        """Return one of the 25."""
        return self.findings[ALL_FINDINGS.index((condition, level))]

    def to_json(self) -> dict[str, Any]:
        """Return the contents of ``findings.json``."""
        return {
            "schema": SCHEMA,
            "study_uid": self.study_uid,
            "node_version": self.node_version,
            "status": self.status,
            "reasons": list(self.reasons),
            "models": [asdict(m) for m in self.models],
            "series": {role.value: _series_json(self.series.get(role)) for role in Role},
            "other_series": [
                {"series_uid": uid, "reason": why} for uid, why in self.other_series.items()
            ],
            "candidates": [{**asdict(c), "reasons": list(c.reasons)} for c in self.candidates],
            "findings": [f.to_json() for f in self.findings],
            "timings_ms": {k: round(v, 1) for k, v in self.timings_ms.items()},
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "StudyFindings":
        """Read what `to_json` wrote."""
        if raw["schema"] != SCHEMA:
            raise ValueError(f"findings.json has schema {raw['schema']}, this node reads {SCHEMA}")
        return cls(
            study_uid=raw["study_uid"],
            node_version=raw["node_version"],
            findings=tuple(Finding.from_json(f) for f in raw["findings"]),
            reasons=tuple(raw["reasons"]),
            models=tuple(ModelUse(**m) for m in raw["models"]),
            series={Role(k): _series_use(v) for k, v in raw["series"].items()},
            other_series={o["series_uid"]: o["reason"] for o in raw["other_series"]},
            candidates=tuple(_score(c) for c in raw.get("candidates", ())),
            timings_ms=dict(raw["timings_ms"]),
        )


def nothing_assessed(reasons: Mapping[FindingKey, str] | str) -> tuple[Finding, ...]:
    """Return 25 findings that are not assessed, all for one reason or each for its own."""
    return tuple(
        Finding(c, lv, reason=reasons if isinstance(reasons, str) else reasons[c, lv])
        for c, lv in ALL_FINDINGS
    )


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order of `ALL_FINDINGS`."""
    by_key = {f.key: f for f in findings}
    return tuple(by_key[key] for key in ALL_FINDINGS)


def _series_json(use: SeriesUse | None) -> dict[str, Any] | None:
    if use is None:
        return None
    return {"series_uid": use.series_uid, "score": use.score, "reasons": list(use.reasons)}


def _series_use(raw: Mapping[str, Any] | None) -> SeriesUse | None:
    return SeriesUse(raw["series_uid"], raw["score"], tuple(raw["reasons"])) if raw else None


def _score(raw: Mapping[str, Any]) -> SeriesScore:
    role = Role(raw["role"]) if raw["role"] else None
    return SeriesScore(
        raw["series_uid"], raw["name"], role, raw["score"], raw["parts"], tuple(raw["reasons"])
    )
