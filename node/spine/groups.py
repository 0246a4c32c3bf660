"""Which images of a series are usable, and which of them belong together.

One series may hold several echoes, Dixon parts, orientations, table positions and repeats.
Rules: ``../shared/spec/dicom-objects-and-trust.md`` section 4.3, rules 2, 3 and 7.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from node.spine.facts import (
    MR_CLASSES,
    OWN_MANUFACTURER,
    OWN_MODEL,
    FrameFacts,
    SeriesFacts,
)
from node.spine.stacks import (
    Orientation,
    main_direction,
    orientation,
    stations,
    without_repeats,
)

MIN_SLICES = 5
#: Some scanners make a series of its own for each disc.
MIN_BLOCK = 3
#: Echo times further apart than this (ms) are different echoes, not rounding.
SAME_ECHO_MS = 5.0
#: More echoes than this are raw material for a relaxation map.
MAX_ECHOES = 3
#: A series with all three orientations and fewer images than this is a localizer.
LOCALIZER_IMAGES = 30

#: ImageType values (PS3.3 C.8.3.1.1.1 and vendors) of images that are not anatomy as acquired.
_REFUSED_TYPES: dict[str, str] = {
    "LOCALIZER": "localizer",
    "MPR": "reformatted",
    "PROJECTION IMAGE": "projection",
    "MIP": "projection",
    "MAX_IP": "projection",
    "MIN_IP": "projection",
    "SUBTRACT": "subtraction",
    "SUBTRACTION": "subtraction",
    "P": "phase image",
    "PHASE": "phase image",
    "PHASE MAP": "phase image",
    "PHASE_MAP": "phase image",
    "PHASE SUBTRACT": "phase image",
    "R": "real-part image",
    "REAL": "real-part image",
    "I": "imaginary-part image",
    "IMAGINARY": "imaginary-part image",
    "T1 MAP": "parameter map",
    "T2 MAP": "parameter map",
    "T2_STAR MAP": "parameter map",
    "DIFFUSION MAP": "parameter map",
    "ADC": "parameter map",
    "FIELD_MAP": "parameter map",
    "FF": "parameter map",
    "SECONDARY CAPTURE": "secondary capture",
    "CSA REPORT": "report",
    "CSAPARALLEL": "report",
}

_DIXON: dict[str, str] = {
    "W": "WATER",
    "WATER": "WATER",
    "F": "FAT",
    "FAT": "FAT",
    "IP": "IN PHASE",
    "IN_PHASE": "IN PHASE",
    "INPHASE": "IN PHASE",
    "OP": "OPPOSED PHASE",
    "OPP_PHASE": "OPPOSED PHASE",
    "OUT_PHASE": "OPPOSED PHASE",
    "OUTPHASE": "OPPOSED PHASE",
}

_PHILIPS_PRIVATE = "1.3.46.670589.11.0.0.12."

# "CERVICAL SPINE" ends in "L SPINE": a name begins where no letter stands before it.
_LUMBAR = re.compile(r"(?<![A-Z])(LUMB|LOMB|L ?S? ?SPINE|LSP|LWS|L[1-5](?![0-9])|SACR)|LUMBAR")
_ELSEWHERE = re.compile(
    r"(?<![A-Z])(BRAIN|HEAD|SKULL|CRAN|ORBIT|NECK|CERV|HWS|C ?SPINE|THORA|BWS|T ?SPINE|CHEST|HEART"
    r"|CARDIAC|BREAST|MAMMA|LIVER|PROSTATE|KNEE|SHOULDER|HAND|WRIST|ELBOW|FOOT|ANKLE|FEMUR|HUMERUS)"
)


@dataclass(frozen=True)
class Group:
    """Images of one series with one orientation, one echo, one Dixon part, each position once.

    Attributes
    ----------
    orientation : Orientation
    dixon : str
        ``WATER``, ``FAT``, ``IN PHASE``, ``OPPOSED PHASE`` or empty.
    frames : tuple of FrameFacts
        All have a plane.
    notes : tuple of str
        What was left out, and why.
    refusal : str
        Why no role can use the group; empty when one may.
    """

    orientation: Orientation
    dixon: str
    frames: tuple[FrameFacts, ...]
    notes: tuple[str, ...] = ()
    refusal: str = ""


def series_refusal(series: SeriesFacts, study: Sequence[SeriesFacts]) -> str:
    """Return why the whole series is out, or an empty string."""
    if not series.is_mr:
        return f"modality {series.modality or 'unknown'} is not MR"
    if series.sop_class_uid.startswith(_PHILIPS_PRIVATE):
        return "Philips private object, not an image"
    if series.sop_class_uid not in MR_CLASSES:
        return "not an MR image object"
    if (series.manufacturer, series.model) == (OWN_MANUFACTURER, OWN_MODEL):
        return "a result of this node"  # IN-03: even when a gateway has made MR of a capture
    if "EP" in series.scanning_sequence:
        return "echo planar"
    return _other_region(series, study)


def _other_region(series: SeriesFacts, study: Sequence[SeriesFacts]) -> str:
    """Refuse what the header calls another body part, unless anything in the study says lumbar.

    The text is a hint: it never makes a series lumbar, that is for the level detector.
    """
    own = f"{series.text} {series.body_part} {series.study_description}".upper().replace("_", " ")
    elsewhere = _ELSEWHERE.search(own)
    if not elsewhere:
        return ""
    whole = " ".join(
        f"{s.text} {s.body_part} {s.study_description}".upper().replace("_", " ") for s in study
    )
    if _LUMBAR.search(whole):
        return ""
    return f"the header says {elsewhere.group()}, nothing in the study says lumbar"


def frame_refusal(frame: FrameFacts) -> str:
    """Return why one image is out, or an empty string."""
    if frame.plane is None:
        return frame.problem or "no position in the patient"
    kinds = frame.image_type
    if kinds[:2] == ("DERIVED", "SECONDARY"):
        return "derived image"
    for kind in kinds[2:]:
        if kind in _REFUSED_TYPES:
            return _REFUSED_TYPES[kind]
    return ""


def dixon_part(frame: FrameFacts) -> str:
    """Return which part of a Dixon acquisition the image is, or an empty string."""
    return next((_DIXON[k] for k in frame.image_type[2:] if k in _DIXON), "")


def groups(series: SeriesFacts) -> tuple[list[Group], tuple[str, ...]]:
    """Split a series into groups.

    Returns
    -------
    groups : list of Group
        Empty when no image is usable.
    notes : tuple of str
        The images left out, counted by reason.
    """
    usable, notes = _usable(series)
    directions = {orientation(f.plane) for f in usable if f.plane is not None}
    if len(directions) == 3 and len(usable) < LOCALIZER_IMAGES:
        return [], ("localizer: three orientations in one series",)
    steep = Orientation.AXIAL in directions or says_axial(series.text)
    echoes = _echo_numbers(usable)
    parts: dict[tuple[Orientation, str, int], list[FrameFacts]] = {}
    for frame in usable:
        if frame.plane is not None:
            direction = orientation(frame.plane, steep_axial=steep)
            key = direction, dixon_part(frame), echoes[frame.echo_time]
            parts.setdefault(key, []).append(frame)
    found: list[Group] = []
    for (direction, dixon, _), frames in parts.items():
        split = [frames] if direction is Orientation.AXIAL else stations(frames)
        found += [_group(direction, dixon, part, notes) for part in split]
    if max(echoes.values()) > MAX_ECHOES:
        return [], (f"{max(echoes.values())} echoes: raw material for a map",)
    return found, notes


def _usable(series: SeriesFacts) -> tuple[list[FrameFacts], tuple[str, ...]]:
    refusals = [frame_refusal(f) for f in series.frames]
    left_out = Counter(why for why in refusals if why)
    usable = [f for f, why in zip(series.frames, refusals, strict=True) if not why]
    return usable, tuple(f"{n} left out: {why}" for why, n in left_out.most_common())


def _group(
    direction: Orientation, dixon: str, frames: list[FrameFacts], notes: tuple[str, ...]
) -> Group:
    kept = without_repeats(frames)
    if len(kept) < len(frames):
        notes = (*notes, f"{len(frames) - len(kept)} left out: repeated position")
    if direction is not Orientation.AXIAL:
        parallel = main_direction(kept)
        if len(parallel) < len(kept):
            notes = (*notes, f"{len(kept) - len(parallel)} left out: another direction")
        kept = parallel
    return Group(direction, dixon, tuple(kept), notes, _group_refusal(direction, dixon, len(kept)))


def _group_refusal(direction: Orientation, dixon: str, count: int) -> str:
    if direction is Orientation.CORONAL:
        return "coronal"
    if dixon in {"FAT", "OPPOSED PHASE"}:
        return f"Dixon {dixon.lower()} image"
    least = MIN_BLOCK if direction is Orientation.AXIAL else MIN_SLICES
    return too_few(direction, count) if count < least else ""


def too_few(direction: Orientation, count: int) -> str:
    """Say that a candidate has too few slices for its role."""
    return f"{count} {direction} slice{'s' * (count != 1)}, fewer than {MIN_SLICES}"


def says_axial(text: str) -> bool:
    """Tell whether upper-case words of a description say axial."""
    return bool(re.search(r"(?<![A-Z])(AX|TRA)", text))


def _echo_numbers(frames: Sequence[FrameFacts]) -> dict[float | None, int]:
    """Number the echo times from 1; times within a few ms of each other are one echo."""
    numbers: dict[float | None, int] = {None: 0}
    number, last = 0, -SAME_ECHO_MS - 1
    for te in sorted({f.echo_time for f in frames if f.echo_time is not None}):
        number += te - last > SAME_ECHO_MS
        numbers[te], last = number, te
    return numbers
