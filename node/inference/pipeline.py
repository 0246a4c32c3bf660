"""Volumes in, 25 findings out: which slice, where in it, how severe, and is that believable."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import structlog

from node.inference.canonical import Stack, canonical, holds_signal
from node.inference.coordinate import Point, find_points
from node.inference.instance import Place, find_slices, places, slice_of_point
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


@dataclass(frozen=True)
class _Choice:
    """The slice of one place: which, how sure, and what to tell the reader."""

    index: int
    confidence: float
    weights: Vector
    warnings: tuple[str, ...] = ()


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
        choices: Mapping[Place, _Choice | str] = _network_choices(stack, group, store)
        if role is Role.AXIAL_T2 and Role.SAGITTAL_T2 in volumes:
            sagittal = volumes[Role.SAGITTAL_T2]
            choices = _geometric_choices(volume, sagittal, so_far, choices)
    with clock.measure(f"coordinate_{group.short}"):
        weights = {p: c.weights for p, c in choices.items() if isinstance(c, _Choice)}
        rows = _expected_rows(group, volumes, stack, so_far, choices)
        points = find_points(stack, group, weights, store, rows)
    located = {
        place: _locate(
            Finding(group.condition(place[0]), place[1], series_uid=volume.series_uid),
            choice,
            points.get(place),
            volume=volume,
            stack=stack,
        )
        for place, choice in choices.items()
    }
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
    return None


def _nameless(role: Role, so_far: Mapping[FindingKey, Finding]) -> str | None:
    """Why axial slices cannot be given levels, in words: they look alike, also those of a neck."""
    seen = {f.level for f in safety.sure_enough(tuple(so_far.values())) if f.is_assessed}
    if role is not Role.AXIAL_T2 or len(seen) >= LEAST_LEVELS:
        return None
    return "no sagittal series shows the lumbar levels: the axial slices cannot be told apart"


def _network_choices(
    stack: Stack, group: ConditionGroup, store: Models
) -> dict[Place, _Choice | str]:
    """Stage 1's own choices; a place it believes absent gets a reason instead."""
    choices: dict[Place, _Choice | str] = {}
    for place, posterior in find_slices(stack, group, store).items():
        if posterior.absent > 0.5:
            choices[place] = "the level is not covered by the images"
        else:
            choices[place] = _Choice(posterior.index, posterior.confidence, posterior.weights)
    return choices


def _geometric_choices(
    axial: Volume,
    sagittal: Volume,
    so_far: Mapping[FindingKey, Finding],
    opinions: Mapping[Place, _Choice | str],
) -> Mapping[Place, _Choice | str]:
    """The axial slice through each sagittal level point; the network is the second opinion.

    Where the series do not share a frame of reference, the network's choice stands, with a warning.
    """
    if axial.frame_of_reference_uid != sagittal.frame_of_reference_uid:
        note = "axial and sagittal series do not share a frame of reference: level by image alone"
        return {
            place: replace(c, warnings=(*c.warnings, note)) if isinstance(c, _Choice) else c
            for place, c in opinions.items()
        }
    choices: dict[Place, _Choice | str] = {}
    for (side, level), opinion in opinions.items():
        canal = so_far[Condition.SPINAL_CANAL_STENOSIS, level]
        if canal.patient_mm is None:
            choices[side, level] = f"{level.label} was not found in the sagittal series"
            continue
        choices[side, level] = _through(axial, canal, opinion)
    return choices


def _through(axial: Volume, canal: Finding, opinion: _Choice | str) -> _Choice | str:
    hit = slice_of_point(axial, np.array(canal.patient_mm))
    if hit is None:
        return "no axial slice passes through the level"
    index, distance = hit
    warnings: tuple[str, ...] = ()
    if isinstance(opinion, _Choice) and abs(opinion.index - index) > 2:
        apart = abs(opinion.index - index)
        warnings = (f"the axial images look like the level {apart} slices away",)
    weights = np.zeros(len(axial.slices))
    weights[index] = 1.0
    nearness = float(np.exp(-0.5 * (distance / 4.0) ** 2))
    return _Choice(index, nearness * canal.confidence.get("coordinate", 0.0), weights, warnings)


def _expected_rows(
    group: ConditionGroup,
    volumes: Mapping[Role, Volume],
    stack: Stack,
    so_far: Mapping[FindingKey, Finding],
    choices: Mapping[Place, _Choice | str],
) -> dict[Place, float]:
    """Where the canal's levels lie in the foraminal series, if both share a frame of reference."""
    roles = (Role.SAGITTAL_T2, ROLE_OF[group])
    frames = {volumes[role].frame_of_reference_uid for role in roles if role in volumes}
    if group is not ConditionGroup.FORAMINAL or roles[0] not in volumes or len(frames) > 1:
        return {}
    rows = {}
    for (side, level), choice in choices.items():
        canal = so_far[Condition.SPINAL_CANAL_STENOSIS, level].patient_mm
        if canal is not None and isinstance(choice, _Choice):
            at = np.array(canal) + np.array([0.0, 0.0, FORAMEN_ABOVE_MM])
            rows[side, level] = stack.planes[choice.index].to_pixel(at)[1]
    return rows


def _locate(
    finding: Finding, choice: _Choice | str, point: Point | None, *, volume: Volume, stack: Stack
) -> Finding:
    """A finding with its slice and point, not graded yet; or with the reason why there is none."""
    if isinstance(choice, str):
        return finding.not_assessed(choice)
    if point is None:
        where = f"the {volume.role.label} series"
        return finding.not_assessed(f"{finding.level.label} was not found in {where}")
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


def _grade(
    volume: Volume,
    group: ConditionGroup,
    choices: Mapping[Place, _Choice | str],
    located: Mapping[Place, Finding],
    store: Models,
) -> dict[Place, Finding]:
    """Stage 3 for every finding that has a point."""
    spots = {
        place: Spot(choice.index, np.array(located[place].patient_mm), place[0])
        for place, choice in choices.items()
        if isinstance(choice, _Choice) and located[place].patient_mm is not None
    }
    graded = dict(located)
    answers = grade(volume, group, list(spots.values()), store)
    for place, probabilities in zip(spots, answers, strict=True):
        best = max(GRADES, key=lambda g: probabilities[g])
        graded[place] = replace(located[place], grade=best, probabilities=probabilities)
    return graded
