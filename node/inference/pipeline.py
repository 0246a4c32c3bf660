"""Volumes in, 25 findings out: which slice, where in it, how severe, and is that believable."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import structlog

from node.inference import looks
from node.inference.canonical import Stack, canonical, holds_signal
from node.inference.choices import Choice, geometric_choices, network_choices, settled
from node.inference.coordinate import Point, find_points
from node.inference.instance import Place, places
from node.inference.runtime import Models
from node.inference.severity import Spot, grade
from node.spine import safety
from node.spine.anatomy import (
    ALL_FINDINGS,
    GRADES,
    ROLE_OF,
    Condition,
    ConditionGroup,
    FindingKey,
    Level,
    Role,
)
from node.spine.findings import Finding, in_order
from node.spine.geometry import Vector
from node.spine.volume import Volume

log = structlog.get_logger()

#: With fewer slices a series does not cover what is looked for in it.
LEAST_SLICES = 3

#: An axial slice is given a level only in a study whose sagittal images show this many.
LEAST_LEVELS = 3

#: A foramen's point lies this far above the disc level of the canal's point, mm.
FORAMEN_ABOVE_MM = 6.0


@dataclass(frozen=True)
class PipelineResult:
    """What the pipeline has to say about one study.

    Attributes
    ----------
    findings : tuple of Finding
        25, in the order of `ALL_FINDINGS`.
    timings_ms : dict
        Wall time of each stage of each condition, and ``total``.
    """

    findings: tuple[Finding, ...]
    timings_ms: dict[str, float]


@dataclass
class _Clock:
    milliseconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.milliseconds[name] = (time.perf_counter() - start) * 1000


def find(volumes: Mapping[Role, Volume], store: Models) -> PipelineResult:
    """Assess all 25 findings of a study.

    Parameters
    ----------
    volumes : dict of Role to Volume
        A missing role leaves its findings not assessed, with that reason.
    store : Models

    Returns
    -------
    PipelineResult
        Every finding has a grade, or a reason why not. There is no default grade.
    """
    clock = _Clock()
    found: dict[FindingKey, Finding] = {key: Finding(*key) for key in ALL_FINDINGS}
    with clock.measure("total"):
        for group in ConditionGroup:  # the canal first: its points name the axial levels
            found |= _group(group, volumes, found, store, clock)
        frames = {role: volume.frame_of_reference_uid for role, volume in volumes.items()}
        findings = safety.check(in_order(list(found.values())), frames)
    assessed = sum(f.is_assessed for f in findings)
    log.info("pipeline done", assessed=assessed, ms=round(clock.milliseconds["total"]))
    return PipelineResult(findings, clock.milliseconds)


def _group(
    group: ConditionGroup,
    volumes: Mapping[Role, Volume],
    so_far: Mapping[FindingKey, Finding],
    store: Models,
    clock: _Clock,
) -> dict[FindingKey, Finding]:
    """All findings of one condition group."""
    role = ROLE_OF[group]
    volume = volumes.get(role)
    with clock.measure(f"prepare_{group.short}"):
        stack = canonical(volume) if volume else None
    reason = _unusable(role, volume, stack) or _nameless(role, so_far)
    if volume is None or stack is None or reason:
        return {
            (group.condition(side), level): Finding(group.condition(side), level, reason=reason)
            for side, level in places(group)
        }
    with clock.measure(f"instance_{group.short}"):
        choices: Mapping[Place, Choice | str] = network_choices(stack, group, store)
        if role is Role.AXIAL_T2 and Role.SAGITTAL_T2 in volumes:
            sagittal = volumes[Role.SAGITTAL_T2]
            choices = geometric_choices(volume, sagittal, so_far, choices)
    with clock.measure(f"coordinate_{group.short}"):
        weights = {p: c.weights for p, c in choices.items() if isinstance(c, Choice)}
        rows = _expected_rows(group, volumes, stack, so_far, choices)
        points = find_points(stack, group, weights, store, rows)
    if role is not Role.AXIAL_T2:  # an axial slice has its level by geometry, or by stage 1 alone
        choices = settled(choices, points)
    located: Mapping[Place, Finding] = {
        place: _locate(
            Finding(group.condition(place[0]), place[1], series_uid=volume.series_uid),
            choice,
            points.get(place),
            volume=volume,
            stack=stack,
        )
        for place, choice in choices.items()
    }
    if role is not Role.AXIAL_T2 and not all(f.reason for f in located.values()):
        with clock.measure(f"contrast_{group.short}"):
            source = volumes.get(Role.SAGITTAL_T2)
            shared = source and source.frame_of_reference_uid == volume.frame_of_reference_uid
            known = (*so_far.values(), *located.values())
            canal = _canal(known) if shared else looks.canal_points(stack, store)
            located = _doubted(stack, role, located, canal)
    with clock.measure(f"severity_{group.short}"):
        graded = _grade(volume, group, choices, located, store)
    return {finding.key: finding for finding in graded.values()}


def _unusable(role: Role, volume: Volume | None, stack: Stack | None) -> str | None:
    """Why a series cannot be used at all, in words."""
    if volume is None or stack is None:
        return f"no {role.label} series"
    if len(volume.slices) < LEAST_SLICES:
        return f"the {role.label} series has only {len(volume.slices)} usable slice(s)"
    if not holds_signal(stack):
        return f"the {role.label} images are blank"
    if looks.is_negative(volume):
        return f"bright and dark are exchanged in the {role.label} images: nothing in them is dark"
    return None


def _nameless(role: Role, so_far: Mapping[FindingKey, Finding]) -> str | None:
    """Why axial slices cannot be given levels, in words: they look alike, also those of a neck."""
    seen = {f.level for f in safety.sure_enough(tuple(so_far.values())) if f.is_assessed}
    if role is not Role.AXIAL_T2 or len(seen) >= LEAST_LEVELS:
        return None
    return "no sagittal series shows the lumbar levels: the axial slices cannot be told apart"


def _expected_rows(
    group: ConditionGroup,
    volumes: Mapping[Role, Volume],
    stack: Stack,
    so_far: Mapping[FindingKey, Finding],
    choices: Mapping[Place, Choice | str],
) -> dict[Place, float]:
    """Where the canal's levels lie in the foraminal series, if both share a frame of reference."""
    roles = (Role.SAGITTAL_T2, ROLE_OF[group])
    frames = {volumes[role].frame_of_reference_uid for role in roles if role in volumes}
    if group is not ConditionGroup.FORAMINAL or roles[0] not in volumes or len(frames) > 1:
        return {}
    rows = {}
    for (side, level), choice in choices.items():
        canal = so_far[Condition.SPINAL_CANAL_STENOSIS, level].patient_mm
        if canal is not None and isinstance(choice, Choice):
            at = np.array(canal) + np.array([0.0, 0.0, FORAMEN_ABOVE_MM])
            rows[side, level] = stack.planes[choice.index].to_pixel(at)[1]
    return rows


def _locate(
    finding: Finding, choice: Choice | str, point: Point | None, *, volume: Volume, stack: Stack
) -> Finding:
    """A finding with its slice and point, not graded yet; or with the reason why there is none."""
    if isinstance(choice, str):
        return finding.not_assessed(choice)
    if point is None:
        where = f"the {volume.role.label} series"
        return finding.not_assessed(f"{finding.level.label} was not found in {where}")
    if point.score < safety.LEAST_CHAIN:
        return finding.not_assessed(
            f"what the {volume.role.label} images show does not look like a lumbar spine"
            f" ({point.score:.1f}, needs {safety.LEAST_CHAIN:.1f})"
        )
    at = volume.slices[choice.index]
    patient = point.in_patient(stack.planes[choice.index])
    column, row = at.plane.to_pixel(patient)
    if not at.plane.contains(column, row):
        return finding.not_assessed(f"{finding.level.label} lies outside the image")
    warnings = choice.warnings
    if point.margin < safety.NAMING_MARGIN:
        warnings = (*warnings, safety.NAMING_WARNING)
    return replace(
        finding,
        series_uid=volume.series_of(at),
        sop_instance_uid=at.sop_instance_uid,
        frame_number=at.frame_number,
        column=column,
        row=row,
        patient_mm=(float(patient[0]), float(patient[1]), float(patient[2])),
        confidence={"instance": choice.confidence, "coordinate": point.confidence},
        warnings=warnings,
    )


def _doubted(
    stack: Stack,
    role: Role,
    located: Mapping[Place, Finding],
    canal: Mapping[Level, Vector],
) -> Mapping[Place, Finding]:
    """Withdraw what was located in sagittal images that are not what their header says."""
    doubt = looks.doubt(role, stack, canal)
    if doubt is None:
        return located
    return {p: f if f.reason else f.not_assessed(doubt) for p, f in located.items()}


def _canal(known: Iterable[Finding]) -> dict[Level, Vector]:
    """Where the canal was located, mm LPS."""
    return {
        f.level: np.array(f.patient_mm)
        for f in known
        if f.condition is Condition.SPINAL_CANAL_STENOSIS and f.patient_mm is not None
    }


def _grade(
    volume: Volume,
    group: ConditionGroup,
    choices: Mapping[Place, Choice | str],
    located: Mapping[Place, Finding],
    store: Models,
) -> dict[Place, Finding]:
    """Stage 3 for every finding that has a point, and no reason against it."""
    spots = {
        place: Spot(choice.index, np.array(located[place].patient_mm), place[0])
        for place, choice in choices.items()
        if isinstance(choice, Choice) and located[place].reason is None
    }
    graded = dict(located)
    answers = grade(volume, group, list(spots.values()), store)
    for place, probabilities in zip(spots, answers, strict=True):
        best = max(GRADES, key=lambda g: probabilities[g])
        graded[place] = replace(located[place], grade=best, probabilities=probabilities)
    return graded
