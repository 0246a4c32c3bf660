"""Candidates for a role, and the score table that ranks them.

Rule 6 of ``../shared/spec/dicom-objects-and-trust.md`` section 4.3: contrast match before
coverage, before no contrast agent, before no fat suppression, before slices, in-plane resolution
and the later of two repeats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from node.spine.anatomy import Role
from node.spine.contrast import Contrast, Weighting, contrast
from node.spine.facts import FrameFacts, SeriesFacts
from node.spine.geometry import Plane
from node.spine.groups import Group, groups, series_refusal
from node.spine.stacks import Orientation, extent, pitch, stacks

# L1/L2 to L5/S1 spans about 125 mm and the foramina about 34 mm across
# (RSNA 2024 labels, ../shared/spec/seed-and-rsna-facts.md sections 4.1 and 4.3).
# Below the first height nothing is covered, from the second on all of it.
SAGITTAL_HEIGHT_MM = (110.0, 160.0)
SAGITTAL_WIDTH_MM = 34.0
AXIAL_HEIGHT_MM = (50.0, 100.0)
#: A sagittal lumbar series is 220 to 320 mm high, seldom 150, and 50 to 110 mm across. A knee (160
#: by 110 mm) and a head (240 by 150 mm) are scanned nearly as wide as high.
SPINE_ASPECT = 1.7
#: Higher is a scout or a composite of the whole spine. The networks see 288 mm around its middle
#: (`node.inference.canonical`), which is not where the lumbar spine lies.
TALLEST_MM = 420.0
ENOUGH_SLICES = {Role.SAGITTAL_T1: 15, Role.SAGITTAL_T2: 15, Role.AXIAL_T2: 30}
#: Thinner is a 3-D acquisition; the models were trained on 2-D slices.
THIN_SLICE_MM = 2.0
BEST_PIXEL_MM, WORST_PIXEL_MM = 0.4, 1.5
#: A sagittal whose middle lies this far above another's shows another part of the spine.
OTHER_STATION_MM = 80.0

#: Weights of the parts (each 0 to 1); a half step of contrast or coverage outweighs, nearly, all
#: that follows it. A perfect series scores 100.
WEIGHTS: Mapping[str, float] = {
    "contrast": 67.0,
    "coverage": 22.0,
    "native": 6.0,
    "plain": 3.0,
    "slices": 1.0,
    "resolution": 0.5,
    "latest": 0.5,
}


@dataclass(frozen=True)
class Candidate:
    """Images of one series that belong together, and what they are good for.

    Attributes
    ----------
    series_uid : str
    role : Role or None
        None when no role can use them; the last reason says why.
    score : float
        0 to 100, the weighted sum of `parts`.
    reasons : tuple of str
        What was found, in words.
    frames : tuple of FrameFacts
        The images to load; all have a plane when `role` is set.
    frame_of_reference_uid : str
    number : int or None
        SeriesNumber, to name the series to people.
    acquired : str
        When the last image was acquired, as in `FrameFacts`.
    parts : dict
        The row of the score table, by the names of `WEIGHTS`.
    """

    series_uid: str
    role: Role | None
    score: float
    reasons: tuple[str, ...]
    frames: tuple[FrameFacts, ...]
    frame_of_reference_uid: str = ""
    number: int | None = None
    acquired: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def planes(self) -> list[Plane]:
        """The planes of all frames that have one."""
        return [f.plane for f in self.frames if f.plane is not None]

    @property
    def name(self) -> str:
        """The series as a person names it."""
        return f"series {self.number}" if self.number is not None else f"series {self.series_uid}"

    def with_part(self, name: str, value: float, *reasons: str) -> "Candidate":
        """Return this candidate with one part of the score set anew."""
        parts = {**self.parts, name: round(value, 3)}
        score = sum(WEIGHTS[key] * part for key, part in parts.items())
        return replace(self, parts=parts, score=round(score, 2), reasons=(*self.reasons, *reasons))


def candidates(series: SeriesFacts, study: Sequence[SeriesFacts]) -> list[Candidate]:
    """Return a candidate for every group of images of a series, at least one.

    Parameters
    ----------
    series : SeriesFacts
    study : sequence of SeriesFacts
        All series, whose texts may say which body part this is.
    """
    refusal = series_refusal(series, study)
    if refusal:
        return [_unusable(series, (refusal,))]
    found, notes = groups(series)
    if not found:
        return [_unusable(series, notes or ("no images",))]
    return [_candidate(series, group) for group in found]


def _unusable(
    series: SeriesFacts, reasons: tuple[str, ...], frames: tuple[FrameFacts, ...] = ()
) -> Candidate:
    return Candidate(
        series.series_uid, None, 0.0, reasons, frames, series.frame_of_reference_uid, series.number
    )


def _candidate(series: SeriesFacts, group: Group) -> Candidate:
    if group.refusal:
        return _unusable(series, (*group.notes, group.refusal), group.frames)
    seen = contrast(series, group.frames, group.dixon)
    role, refusal = _role(group.orientation, seen)
    if role is None:
        return _unusable(series, (*group.notes, *seen.reasons, refusal), group.frames)
    refusal = _no_spine(role, group)
    if refusal:
        return _unusable(series, (*group.notes, *seen.reasons, refusal), group.frames)
    start = Candidate(
        series.series_uid,
        role,
        0.0,
        (*group.notes, _layout(group), *seen.reasons),
        group.frames,
        series.frame_of_reference_uid,
        series.number,
        max(f.acquired for f in group.frames),
    )
    return _scored(start, seen)


def _role(direction: Orientation, seen: Contrast) -> tuple[Role | None, str]:
    """Return the role of a contrast in an orientation, or why it has none."""
    if direction is Orientation.AXIAL and seen.weighting is Weighting.T2:
        return Role.AXIAL_T2, ""
    if direction is Orientation.SAGITTAL and seen.weighting in {Weighting.T2, Weighting.STIR}:
        return Role.SAGITTAL_T2, ""
    if direction is Orientation.SAGITTAL and seen.weighting is Weighting.T1:
        if seen.fat_suppressed:
            return None, "fat-suppressed T1: foraminal fat is dark, narrowing cannot be graded"
        return Role.SAGITTAL_T1, ""
    if seen.weighting is Weighting.UNKNOWN:
        return None, f"{direction}, weighting unknown: {seen.reasons[-1]}"
    why = ": bone blooms and narrowing looks worse" if seen.weighting is Weighting.T2_STAR else ""
    return None, f"{direction} {seen.weighting} fills no role{why}"


def _no_spine(role: Role, group: Group) -> str:
    """Refuse a sagittal series whose field of view is not that of a lumbar spine."""
    if role is Role.AXIAL_T2:
        return ""
    planes = [f.plane for f in group.frames if f.plane is not None]
    low, high = extent(planes, axis=2)
    right, left = extent(planes, axis=0)
    if high - low < SAGITTAL_HEIGHT_MM[0]:
        return f"{high - low:.0f} mm from head to foot: too little for five lumbar levels"
    if high - low > TALLEST_MM:
        return f"{high - low:.0f} mm from head to foot: a scout, or the whole spine"
    if high - low < SPINE_ASPECT * (left - right):
        return f"{left - right:.0f} mm across, {high - low:.0f} mm from head to foot: not a spine"
    return ""


def _layout(group: Group) -> str:
    planes = [f.plane for f in group.frames if f.plane is not None]
    count = len(stacks(planes))
    axial = group.orientation is Orientation.AXIAL
    several = "" if count == 1 else f" in {count} stacks" if axial else f" with {count - 1} gaps"
    dixon = f"Dixon {group.dixon.lower()}, " if group.dixon else ""
    return (
        f"{dixon}{group.orientation}, {len(planes)} slices{several}, {pitch(planes):.1f} mm apart"
    )


def _scored(candidate: Candidate, seen: Contrast) -> Candidate:
    covering, covered = coverage(candidate)
    suppressed = seen.fat_suppressed or seen.maybe_fat_suppressed
    plain = 0.0 if seen.weighting is Weighting.STIR else 0.5 if suppressed else 1.0
    result = candidate.with_part("contrast", 1.0 if seen.sure else 0.5)
    result = result.with_part("coverage", covering, covered)
    agent = ("contrast agent given",) if seen.post_contrast else ()
    result = result.with_part("native", 0.0 if seen.post_contrast else 1.0, *agent)
    fat = ("fat suppressed",) if suppressed and seen.weighting is not Weighting.STIR else ()
    result = result.with_part("plain", plain, *fat)
    result = result.with_part("slices", _enough_slices(candidate))
    result = result.with_part("resolution", _resolution(candidate.planes))
    return result.with_part("latest", 0.0)


def coverage(candidate: Candidate) -> tuple[float, str]:
    """Return 0, 0.5 or 1, and the extent in words."""
    if candidate.role is Role.AXIAL_T2:
        heights = [p.centre[2] for p in candidate.planes]
        height = max(heights) - min(heights)
        steps, width = AXIAL_HEIGHT_MM, np.inf
    else:
        low, high = extent(candidate.planes, axis=2)
        height, steps = high - low, SAGITTAL_HEIGHT_MM
        left, right = extent(candidate.planes, axis=0)
        width = right - left
    value = 0.5 * sum(bool(height >= step) for step in steps)
    if width < SAGITTAL_WIDTH_MM:
        value = min(value, 0.5)
    across = f" and {width:.0f} mm across" if np.isfinite(width) else ""
    return value, f"covers {height:.0f} mm from head to foot{across}"


def _enough_slices(candidate: Candidate) -> float:
    if candidate.role is None:
        return 0.0
    value = min(1.0, len(candidate.frames) / ENOUGH_SLICES[candidate.role])
    return value / 2 if pitch(candidate.planes) < THIN_SLICE_MM else value


def _resolution(planes: Sequence[Plane]) -> float:
    pixel = float(np.median([max(p.row_spacing, p.column_spacing) for p in planes]))
    return float(np.clip((WORST_PIXEL_MM - pixel) / (WORST_PIXEL_MM - BEST_PIXEL_MM), 0.0, 1.0))


def beside_its_rivals(candidate: Candidate, rivals: Sequence[Candidate]) -> Candidate:
    """Score what only a comparison shows: a later repeat, another part of the spine.

    Parameters
    ----------
    candidate : Candidate
        With a role.
    rivals : sequence of Candidate
        All candidates of the study for the same role, this one included.
    """
    earlier = sum(r.acquired < candidate.acquired for r in rivals)
    result = candidate.with_part("latest", earlier / max(1, len(rivals) - 1))
    if candidate.role is Role.AXIAL_T2:
        return result
    lowest = min(
        (_height(r) for r in rivals if same_space(r, candidate)), default=_height(candidate)
    )
    above = _height(candidate) - lowest
    if above > OTHER_STATION_MM:
        why = f"lies {above:.0f} mm above another {candidate.role.label if candidate.role else ''}"
        return result.with_part("coverage", 0.0, why)
    return result


def beside_the_sagittal(candidate: Candidate, sagittal: Candidate | None) -> Candidate:
    """Take the coverage from an axial candidate that lies outside the chosen sagittal's view."""
    if sagittal is None or not same_space(candidate, sagittal):
        return candidate
    low, high = extent(sagittal.planes, axis=2)
    inside = np.mean([low <= p.centre[2] <= high for p in candidate.planes])
    if inside >= 0.5:
        return candidate
    return candidate.with_part("coverage", 0.0, "most slices lie outside the sagittal images")


def _height(candidate: Candidate) -> float:
    return float(np.mean([p.centre[2] for p in candidate.planes]))


def same_space(a: Candidate, b: Candidate) -> bool:
    """Tell whether positions of two candidates can be compared (PS3.3 C.7.4.1)."""
    return a.frame_of_reference_uid == b.frame_of_reference_uid
