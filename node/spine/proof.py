"""Are the chosen series whole, and do they reach from L1 to S1? What headers alone can prove.

They prove that no slice is missing between two others, and that the slices reach far enough. That
the outermost slice is the last one, that no further series comes, and which level a slice shows,
no header proves: the first two are asked of the source, the last is the networks' work.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from node.spine.anatomy import Role
from node.spine.candidates import SAGITTAL_HEIGHT_MM, SAGITTAL_WIDTH_MM, Candidate
from node.spine.completeness import Contents
from node.spine.geometry import Plane, Vector
from node.spine.series import SeriesChoice
from node.spine.stacks import extent, parallel

#: A step wider than this many usual ones has room for a slice that is not there.
MISSING = 1.5
#: L1/L2 to L5/S1 with a slice or two at both ends: 125 mm in the mean (RSNA 2024 labels), 100 mm
#: in a short person. One stack through four levels only reaches about 110 mm.
STACK_HEIGHT_MM, BLOCKS_HEIGHT_MM = 120.0, 100.0
#: One block for each of five discs, each with a slice above and below its middle one.
BLOCKS, BLOCK_SLICES = 5, 3
#: A block that lost slices is shorter than its neighbours.
BLOCK_RATIO = 0.6
#: Between two blocks lies one vertebra, about 33 mm from disc to disc; without a block it is two.
HOLE_MM = 30.0


def contents(choice: SeriesChoice) -> Contents:
    """Say which roles a study fills, and whether its headers prove that they are whole."""
    chosen = choice.chosen
    if len(chosen) < len(Role):
        return Contents(frozenset(chosen))
    sagittals, axial = [chosen[Role.SAGITTAL_T1], chosen[Role.SAGITTAL_T2]], chosen[Role.AXIAL_T2]
    doubts = [doubt for c in sagittals for doubt in _sagittal(c)]
    layout, axial_doubts = _axial(axial)
    doubts += axial_doubts
    doubts += [doubt for c in sagittals for doubt in _beside(c, axial)]
    counts = ", ".join(f"{len(chosen[r].frames)} {r.label}" for r in Role)
    proven = (f"all three series without a gap: {counts} slices", f"axial slices cover {layout}")
    return Contents(frozenset(chosen), () if doubts else proven, tuple(doubts))


def _sagittal(candidate: Candidate) -> list[str]:
    planes = candidate.planes
    doubts = _gaps(candidate, _places(planes))
    low, high = extent(planes, axis=2)
    left, right = extent(planes, axis=0)
    if high - low < SAGITTAL_HEIGHT_MM[1]:
        doubts.append(f"{candidate.name} covers only {high - low:.0f} mm from head to foot")
    if right - left < SAGITTAL_WIDTH_MM:
        doubts.append(f"{candidate.name} covers only {right - left:.0f} mm across")
    return doubts


def _axial(candidate: Candidate) -> tuple[str, list[str]]:
    """Return the layout in words, and the doubts: one stack, or a block for each disc."""
    planes = candidate.planes
    heights = np.sort([p.centre[2] for p in planes])
    height = float(heights[-1] - heights[0])
    hole = float(np.diff(heights).max())
    sizes = _blocks(planes)
    words = f"{height:.0f} mm from head to foot in {len(sizes)} stack{'s' * (len(sizes) > 1)}"
    doubts: list[str] = []
    enough = STACK_HEIGHT_MM if len(sizes) < BLOCKS else BLOCKS_HEIGHT_MM
    if 1 < len(sizes) < BLOCKS:
        doubts.append(
            f"{candidate.name} has {len(sizes)} stacks: neither one nor one for each disc"
        )
    elif len(sizes) >= BLOCKS and min(sizes) < max(BLOCK_SLICES, BLOCK_RATIO * max(sizes)):
        doubts.append(f"the stacks of {candidate.name} have {min(sizes)} to {max(sizes)} slices")
    if height < enough:
        doubts.append(f"{candidate.name} covers only {height:.0f} mm from head to foot")
    if hole > HOLE_MM:
        doubts.append(f"{candidate.name} has {hole:.0f} mm without a slice")
    return words, doubts


def _beside(sagittal: Candidate, axial: Candidate) -> list[str]:
    """Doubts about a sagittal series that only show beside the axial one."""
    if sagittal.frame_of_reference_uid != axial.frame_of_reference_uid:
        return [f"{sagittal.name} and {axial.name} do not share a frame of reference"]
    doubts = []
    low, high = extent(sagittal.planes, axis=2)
    centres = np.array([p.centre for p in axial.planes])
    if centres[:, 2].min() < low or centres[:, 2].max() > high:
        doubts.append(f"{axial.name} reaches beyond {sagittal.name}")
    right, left = extent(sagittal.planes, axis=0)
    middle = float(np.median(centres[:, 0]))
    if min(middle - right, left - middle) < SAGITTAL_WIDTH_MM / 2:
        doubts.append(f"{sagittal.name} does not reach both sides of the spine")
    return doubts


def _gaps(candidate: Candidate, places: Vector) -> list[str]:
    steps = np.diff(places)
    missing = int((steps > MISSING * np.median(steps)).sum())
    gaps = f"{missing} gap{'s' * (missing > 1)}"
    return [f"{candidate.name} has {gaps} between its slices"] if missing else []


def _blocks(planes: Sequence[Plane]) -> list[int]:
    """Return the sizes of the stacks: a new one begins where planes turn or leave out a slice."""
    sizes: list[int] = []
    for group in parallel(planes):
        places = _places([planes[i] for i in group])
        steps = np.diff(places)
        usual = float(np.median(steps)) if len(steps) else 0.0
        ends = [0, *(np.flatnonzero(steps > MISSING * usual) + 1), len(group)]
        sizes += [int(b - a) for a, b in pairwise(ends)]
    return sizes


def _places(planes: Sequence[Plane]) -> Vector:
    """Return where parallel planes lie along their normal, mm, sorted."""
    return np.sort([float(p.centre @ planes[0].normal) for p in planes])
