"""The slice of each place: by stages 1 and 2, or, for axial slices, by geometry."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from node.inference.canonical import Stack
from node.inference.coordinate import Point
from node.inference.instance import Place, SlicePosterior, find_slices, slice_of_point
from node.inference.runtime import Models
from node.spine.anatomy import Condition, ConditionGroup, FindingKey
from node.spine.findings import Finding
from node.spine.geometry import Vector
from node.spine.volume import Volume


@dataclass(frozen=True)
class Choice:
    """The slice of one place: which, how sure, and what to tell the reader."""

    index: int
    confidence: float
    weights: Vector
    warnings: tuple[str, ...] = ()


def network_choices(
    stack: Stack, group: ConditionGroup, store: Models
) -> dict[Place, Choice | str]:
    """Stage 1's own choices; a place it believes absent gets a reason instead."""
    choices: dict[Place, Choice | str] = {}
    for place, posterior in find_slices(stack, group, store).items():
        if posterior.absent > 0.5:
            choices[place] = "the level is not covered by the images"
        else:
            choices[place] = Choice(posterior.index, posterior.confidence, posterior.weights)
    return choices


def settled(
    choices: Mapping[Place, Choice | str], points: Mapping[Place, Point]
) -> dict[Place, Choice | str]:
    """Return the choices with the slices that stage 2 settled on where it looked."""
    final = dict(choices)
    for place, choice in choices.items():
        if isinstance(choice, Choice) and place in points:
            own = SlicePosterior(points[place].weights, 0.0)
            final[place] = replace(
                choice, index=own.index, confidence=own.confidence, weights=own.weights
            )
    return final


def geometric_choices(
    axial: Volume,
    sagittal: Volume,
    so_far: Mapping[FindingKey, Finding],
    opinions: Mapping[Place, Choice | str],
) -> Mapping[Place, Choice | str]:
    """The axial slice through each sagittal level point; the network is the second opinion.

    Where the series do not share a frame of reference, the network's choice stands, with a warning.
    """
    if axial.frame_of_reference_uid != sagittal.frame_of_reference_uid:
        note = "axial and sagittal series do not share a frame of reference: level by image alone"
        return {
            place: replace(c, warnings=(*c.warnings, note)) if isinstance(c, Choice) else c
            for place, c in opinions.items()
        }
    choices: dict[Place, Choice | str] = {}
    for (side, level), opinion in opinions.items():
        canal = so_far[Condition.SPINAL_CANAL_STENOSIS, level]
        if canal.patient_mm is None:
            choices[side, level] = f"{level.label} was not found in the sagittal series"
            continue
        choices[side, level] = _through(axial, canal, opinion)
    return choices


def _through(axial: Volume, canal: Finding, opinion: Choice | str) -> Choice | str:
    hit = slice_of_point(axial, np.array(canal.patient_mm))
    if hit is None:
        return "no axial slice passes through the level"
    index, distance = hit
    warnings: tuple[str, ...] = ()
    if isinstance(opinion, Choice) and abs(opinion.index - index) > 2:
        apart = abs(opinion.index - index)
        warnings = (f"the axial images look like the level {apart} slices away",)
    weights = np.zeros(len(axial.slices))
    weights[index] = 1.0
    nearness = float(np.exp(-0.5 * (distance / 4.0) ** 2))
    return Choice(index, nearness * canal.confidence.get("coordinate", 0.0), weights, warnings)
