"""Choose the series for each role from header physics and geometry.

A description never decides against the physics: it breaks ties, and a text that contradicts the
header lowers the score. Rules: ``../shared/spec/dicom-objects-and-trust.md`` section 4.3.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from node.errors import NotAssessable
from node.spine.anatomy import Role
from node.spine.candidates import (
    WEIGHTS,
    Candidate,
    beside_its_rivals,
    beside_the_sagittal,
    candidates,
)
from node.spine.complement import complemented
from node.spine.facts import FrameFacts, SeriesFacts
from node.spine.groups import MIN_SLICES, too_few
from node.spine.stacks import Orientation

__all__ = ["WEIGHTS", "Candidate", "FrameFacts", "SeriesChoice", "SeriesFacts", "choose"]

#: Reasons told in the one line that refuses a study; the rest is counted.
TOLD_REASONS = 5


@dataclass(frozen=True)
class SeriesChoice:
    """At most one candidate for each role, and why not the others.

    Attributes
    ----------
    chosen : dict of Role to Candidate
        Only the roles that are filled. The axial one may hold frames of a second series.
    others : dict of series UID to reason
        Every series of the study that fills no role.
    candidates : tuple of Candidate
        All that were looked at, best score first; `Candidate.parts` is the score table.
    """

    chosen: Mapping[Role, Candidate]
    others: Mapping[str, str]
    candidates: tuple[Candidate, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the chosen images: equal when an analysis would see the same."""
        used = sorted(
            f"{role} {f.sop_instance_uid} {f.frame_number or 0}\n"
            for role, candidate in self.chosen.items()
            for f in candidate.frames
        )
        return hashlib.sha256("".join(used).encode()).hexdigest()


def choose(series: Sequence[SeriesFacts]) -> SeriesChoice:
    """Choose at most one candidate for each role.

    Parameters
    ----------
    series : sequence of SeriesFacts
        All series of one study, in any order: the order does not change the choice.

    Raises
    ------
    NotAssessable
        When no series can fill any role; the message is one line and names the reasons.
    """
    if not series:
        raise NotAssessable("the study holds no images")
    if not any(s.is_mr for s in series):
        kinds = ", ".join(sorted({s.modality or "unknown" for s in series}))
        raise NotAssessable(
            f"study {series[0].study_uid}: modality {kinds}; only MR can be assessed"
        )
    found = [c for s in series for c in candidates(s, series)]
    by_role: dict[Role, list[Candidate]] = {role: [] for role in Role}
    for candidate in found:
        if candidate.role is not None:
            by_role[candidate.role].append(candidate)
    ranked = {
        role: sorted((beside_its_rivals(c, rivals) for c in rivals), key=_rank)
        for role, rivals in by_role.items()
    }
    sagittal = next(iter(ranked[Role.SAGITTAL_T2] + ranked[Role.SAGITTAL_T1]), None)
    axial = sorted((beside_the_sagittal(c, sagittal) for c in ranked[Role.AXIAL_T2]), key=_rank)
    ranked[Role.AXIAL_T2], few = _completed(axial, sagittal)
    chosen = {role: rivals[0] for role, rivals in ranked.items() if rivals}
    unusable = [c for c in found if c.role is None] + few
    if not chosen:
        raise NotAssessable(_nothing_usable(series[0].study_uid, unusable))
    everything = [c for rivals in ranked.values() for c in rivals] + unusable
    return SeriesChoice(chosen, _others(everything, chosen), tuple(sorted(everything, key=_rank)))


def _completed(
    axial: Sequence[Candidate], sagittal: Candidate | None
) -> tuple[list[Candidate], list[Candidate]]:
    """Complete the best axial candidate by the others; alone and too short, none is usable."""
    if not axial:
        return [], []
    best = complemented(axial[0], axial[1:], sagittal)
    if len(best.frames) >= MIN_SLICES:
        return [best, *axial[1:]], []
    return [], [
        replace(
            c,
            role=None,
            score=0.0,
            parts={},
            reasons=(*c.reasons, too_few(Orientation.AXIAL, len(c.frames))),
        )
        for c in axial
    ]


def _rank(candidate: Candidate) -> tuple[float, str, str]:
    first = min((f.sop_instance_uid for f in candidate.frames), default="")
    return -candidate.score, candidate.series_uid, first


def _others(found: Sequence[Candidate], chosen: Mapping[Role, Candidate]) -> dict[str, str]:
    used = {f.series_uid for c in chosen.values() for f in c.frames}
    told: dict[str, list[str]] = {}
    for candidate in found:
        if candidate.series_uid not in used:
            told.setdefault(candidate.series_uid, []).append(_why_not(candidate, chosen))
    return {uid: "; ".join(dict.fromkeys(reasons)) for uid, reasons in told.items()}


def _why_not(candidate: Candidate, chosen: Mapping[Role, Candidate]) -> str:
    if candidate.role is None:
        return ", ".join(candidate.reasons)
    best = chosen[candidate.role]
    gaps = {k: w * (best.parts[k] - candidate.parts[k]) for k, w in WEIGHTS.items()}
    worst = max(gaps, key=lambda k: gaps[k])
    by = f", by {worst}" if gaps[worst] > 0 else ""
    return (
        f"{best.name} is the better {candidate.role.label}"
        f" ({best.score:.1f} against {candidate.score:.1f}{by})"
    )


def _nothing_usable(study_uid: str, unusable: Sequence[Candidate]) -> str:
    reasons = Counter(c.reasons[-1] for c in unusable)
    told = [f"{why} ({n})" if n > 1 else why for why, n in reasons.most_common(TOLD_REASONS)]
    if len(reasons) > TOLD_REASONS:
        told.append(f"and {len(reasons) - TOLD_REASONS} more")
    return f"study {study_uid}: no usable series: {'; '.join(told)}"
