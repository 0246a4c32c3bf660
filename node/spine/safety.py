"""Is it believable? Checks on located and graded findings; what fails is not assessed.

Each check takes the 25 findings and returns them, with a grade withdrawn and the reason given
where the check fails. Nothing here ever changes a grade or adds one.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from node.spine.anatomy import LEVELS, ROLE_OF, Condition, ConditionGroup, Level, Role, Side
from node.spine.findings import Finding, in_order
from node.spine.geometry import Vector

#: Distance between neighbouring level points, mm; outside it the chain is not a lumbar spine.
SPACING_MM = (14.0, 62.0)

#: Cervical discs are 15 to 20 mm apart, lumbar ones of an adult 27 to 42.
LEAST_MEAN_STEP_MM = 22.0

#: A left point may lie this far over the midline, mm, before it counts as the wrong side: 2 mm
#: (GEO-02), and half a slice, because the canal's x is that of a whole sagittal slice.
SIDE_TOLERANCE_MM = 2.0 + 2.5

#: A point may lie this far from the canal point of its level, mm: along the body axis, in all.
LEVEL_Z_MM, LEVEL_MM = 20.0, 45.0

#: Below these a stage is not sure enough.
LEAST_CONFIDENCE = {"instance": 0.25, "coordinate": 0.15}

#: Nats; levels found with a lower score are not those of a lumbar spine
#: (`node.inference.chain.chain_score` says what was measured).
LEAST_CHAIN = -6.0

#: Nats a level by which the chosen level names must beat names shifted by one.
NAMING_MARGIN = 1.0
NAMING_WARNING = (
    "the level names are uncertain by one: the images do not show clearly which disc is the last"
)

_BEFORE = {"instance": "the slice of the level", "coordinate": "the position of the level"}


def check(findings: tuple[Finding, ...], frames: Mapping[Role, str]) -> tuple[Finding, ...]:
    """Run every check on the 25 findings.

    Parameters
    ----------
    findings : tuple of Finding
        In the order of `ALL_FINDINGS`.
    frames : dict of Role to frame-of-reference UID
        Points of two series are compared only when these are equal (GEO-04).
    """
    findings = sure_enough(findings)
    findings = level_order(findings)
    findings = sides(findings, frames)
    return levels_agree(findings, frames)


def sure_enough(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Withdraw a grade whose slice or point was found with too little confidence."""

    def judge(finding: Finding) -> str | None:
        for stage, least in LEAST_CONFIDENCE.items():
            value = finding.confidence.get(stage, 0.0)
            if value < least:
                return f"{_BEFORE[stage]} is not certain enough ({value:.2f}, needs {least:.2f})"
        return None

    return _withdraw(findings, judge)


def level_order(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Withdraw a whole chain of levels that does not run from head to foot in plausible steps."""
    bad: dict[Condition, str] = {}
    for condition in Condition:
        chain = _points(findings, condition)
        mean = _mean_step(chain)
        if mean is not None and mean < LEAST_MEAN_STEP_MM:
            bad[condition] = f"levels {mean:.0f} mm apart are not those of a lumbar spine"
        for (above, a), (below, b) in pairwise(chain):
            steps = LEVELS.index(below) - LEVELS.index(above)
            step = float(np.linalg.norm(b - a)) / steps
            pair = f"{above.label} and {below.label}"
            if b[2] >= a[2]:
                bad[condition] = f"the levels are out of order: {pair}"
            elif not SPACING_MM[0] <= step <= SPACING_MM[1]:
                bad[condition] = f"the distance of {pair} ({step:.0f} mm) is not that of a spine"
    return _withdraw(findings, lambda f: bad.get(f.condition))


def _mean_step(chain: list[tuple[Level, Vector]]) -> float | None:
    """Mean distance of neighbouring levels, mm; None with fewer than three points."""
    if len(chain) < 3:
        return None
    (first, a), (last, b) = chain[0], chain[-1]
    steps = LEVELS.index(last) - LEVELS.index(first)
    return float(np.linalg.norm(b - a)) / steps


def sides(findings: tuple[Finding, ...], frames: Mapping[Role, str]) -> tuple[Finding, ...]:
    """Withdraw a pair whose left is not left of its right, or a side beyond the midline (GEO-02).

    Left and right are the patient's: left has the larger x (LPS). The midline is the canal point
    of the same level, where the series share a frame of reference.
    """
    canal = dict(_points(findings, Condition.SPINAL_CANAL_STENOSIS))
    bad: dict[tuple[Condition, Level], str] = {}
    for group in (ConditionGroup.FORAMINAL, ConditionGroup.SUBARTICULAR):
        comparable = _same_frame(frames, Role.SAGITTAL_T2, ROLE_OF[group])
        pair = {side: group.condition(side) for side in Side}
        point = {side: dict(_points(findings, pair[side])) for side in Side}
        for level in LEVELS:
            left, right = point[Side.LEFT].get(level), point[Side.RIGHT].get(level)
            if left is not None and right is not None and left[0] <= right[0]:
                for side in Side:
                    bad[pair[side], level] = "left and right were not told apart"
            if not comparable or level not in canal:
                continue
            for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
                at = point[side].get(level)
                if at is not None and sign * (at[0] - canal[level][0]) < -SIDE_TOLERANCE_MM:
                    reason = f"the point lies on the wrong side of the midline for the {side.value}"
                    bad.setdefault((pair[side], level), reason)
    return _withdraw(findings, lambda f: bad.get(f.key))


def levels_agree(findings: tuple[Finding, ...], frames: Mapping[Role, str]) -> tuple[Finding, ...]:
    """Withdraw a finding that lies far from the canal point of its level: one spine, one naming."""
    canal = dict(_points(findings, Condition.SPINAL_CANAL_STENOSIS))

    def judge(finding: Finding) -> str | None:
        if not _same_frame(frames, Role.SAGITTAL_T2, ROLE_OF[finding.condition.group]):
            return None
        if finding.level not in canal or finding.patient_mm is None:
            return None
        offset = np.array(finding.patient_mm) - canal[finding.level]
        away = float(np.linalg.norm(offset))
        if abs(offset[2]) > LEVEL_Z_MM or away > LEVEL_MM:
            return f"the point lies {away:.0f} mm from {finding.level.label} of the canal"
        return None

    return _withdraw(findings, judge)


def _points(findings: tuple[Finding, ...], condition: Condition) -> list[tuple[Level, Vector]]:
    """The assessed points of one condition, cranial to caudal."""
    return [
        (f.level, np.array(f.patient_mm, dtype=np.float64))
        for f in in_order(findings)
        if f.condition is condition and f.is_assessed and f.patient_mm is not None
    ]


def _same_frame(frames: Mapping[Role, str], one: Role, other: Role) -> bool:
    return one in frames and other in frames and frames[one] == frames[other]


def _withdraw(
    findings: tuple[Finding, ...], judge: Callable[[Finding], str | None]
) -> tuple[Finding, ...]:
    """Apply a judgement to every finding that still has a grade."""
    judged = []
    for finding in findings:
        reason = judge(finding) if finding.is_assessed else None
        judged.append(finding.not_assessed(reason) if reason else finding)
    return tuple(judged)
