"""What an MR series is weighted by, from header physics; written text only breaks ties.

Thresholds are engineering defaults (``../shared/spec/dicom-objects-and-trust.md`` section 4.3,
rule 4) in milliseconds, for spin echo and turbo spin echo at 0.2 to 3 T.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from node.spine.facts import FrameFacts, SeriesFacts

SHORT_TE_MS = 40.0
LONG_TE_MS = 60.0
T1_TR_MS = 1200.0
#: Turbo spin echo T1 at 3 T reaches this; beyond it the image is proton density.
LONGEST_T1_TR_MS = 1500.0
T2_TR_MS = 1500.0
#: 3-D spin echo (SPACE, CUBE, VISTA) drives recovery and gets by with less.
T2_TR_3D_MS = 1000.0
STIR_TI_MS = (80.0, 300.0)
T1_FLAIR_TI_MS = (400.0, 1200.0)
FLAIR_TI_MS = 1500.0


class Weighting(StrEnum):
    """What gives an image its contrast."""

    T1 = "T1"
    T2 = "T2"
    STIR = "STIR"
    PD = "proton density"
    FLAIR = "T2-FLAIR"
    T2_STAR = "gradient echo"
    UNKNOWN = "unknown weighting"


@dataclass(frozen=True)
class Contrast:
    """The weighting of some images of a series, and how far to believe it.

    Attributes
    ----------
    weighting : Weighting
    sure : bool
        False when the header is incomplete, in between, or in conflict with the text.
    fat_suppressed : bool
        The header says so.
    maybe_fat_suppressed : bool
        Only the text says so.
    post_contrast : bool
        The header names an agent, or the text says so.
    reasons : tuple of str
    """

    weighting: Weighting
    sure: bool = True
    fat_suppressed: bool = False
    maybe_fat_suppressed: bool = False
    post_contrast: bool = False
    reasons: tuple[str, ...] = ()


def contrast(series: SeriesFacts, frames: Sequence[FrameFacts], dixon: str = "") -> Contrast:
    """Decide the weighting of `frames`, which share one echo time.

    Parameters
    ----------
    series : SeriesFacts
    frames : sequence of FrameFacts
        At least one.
    dixon : str
        ``WATER``, ``FAT``, ``IN PHASE``, ``OPPOSED PHASE`` or empty.
    """
    te = _median([f.echo_time for f in frames])
    tr = _median([f.repetition_time for f in frames])
    ti = _median([f.inversion_time for f in frames])
    found = _by_physics(series, te, tr, ti)
    if found.weighting is Weighting.UNKNOWN and te is None and tr is None:
        found = _by_text(series)
    else:
        found = _checked_by_text(found, series.text)
    numbers = [f"{name} {v:g} ms" for name, v in (("TE", te), ("TR", tr), ("TI", ti)) if v]
    suppressed = dixon == "WATER" or has_fat_suppression(series.scan_options)
    return replace(
        found,
        fat_suppressed=suppressed,
        maybe_fat_suppressed=suppressed or bool(_FAT_SUPPRESSED.search(series.text)),
        post_contrast=_has_agent(series.contrast_agent) or _says_post_contrast(series.text),
        reasons=(f"{found.weighting} by {', '.join(numbers) or 'no physics'}", *found.reasons),
    )


def _by_physics(
    series: SeriesFacts, te: float | None, tr: float | None, ti: float | None
) -> Contrast:
    sequence = series.scanning_sequence
    if "GR" in sequence and "SE" not in sequence:
        return Contrast(Weighting.T2_STAR)
    inverted = "IR" in sequence or ti is not None
    found = _inversion_recovery(series, te, tr, ti) if inverted else None
    return found or _spin_echo(te, tr, series)


def _inversion_recovery(
    series: SeriesFacts, te: float | None, tr: float | None, ti: float | None
) -> Contrast | None:
    """Return None when the inversion does not make the contrast (SPAIR, or an unused field)."""
    if ti is None:
        if _said(series.text) is Weighting.STIR:
            why = "no inversion time; the text says STIR"
            return Contrast(Weighting.STIR, sure=False, reasons=(why,))
        return Contrast(Weighting.UNKNOWN, sure=False, reasons=("inversion time is missing",))
    if STIR_TI_MS[0] <= ti <= STIR_TI_MS[1]:
        return Contrast(Weighting.STIR) if _inverts_everything(series, te, tr) else None
    if T1_FLAIR_TI_MS[0] <= ti <= T1_FLAIR_TI_MS[1] and te is not None and te < SHORT_TE_MS:
        return Contrast(Weighting.T1, reasons=("T1 by inversion (T1-FLAIR)",))
    if ti > FLAIR_TI_MS:
        return Contrast(Weighting.FLAIR)
    declared = "IR" in series.scanning_sequence
    why = "inversion time fits no contrast"
    return Contrast(Weighting.UNKNOWN, sure=False, reasons=(why,)) if declared else None


def _inverts_everything(series: SeriesFacts, te: float | None, tr: float | None) -> bool:
    """Tell STIR from SPAIR, whose inversion touches fat only and leaves the spin-echo contrast."""
    if tr is not None and tr < T2_TR_MS:
        return False
    declared = "IR" in series.scanning_sequence or _said(series.text) is Weighting.STIR
    return declared or (te is not None and te >= LONG_TE_MS)


def _spin_echo(te: float | None, tr: float | None, series: SeriesFacts) -> Contrast:
    said = _said(series.text)
    if te is None or tr is None:
        return _by_echo_time(te, said)
    long_tr = T2_TR_3D_MS if series.acquisition_type == "3D" else T2_TR_MS
    if te >= LONG_TE_MS and tr >= long_tr:
        return Contrast(Weighting.T2)
    if te <= SHORT_TE_MS and tr <= T1_TR_MS:
        return Contrast(Weighting.T1)
    between = _between(te, tr, long_tr)
    if between is said and between is not None:
        why = f"echo and repetition time lie between two contrasts; the text says {said}"
        return Contrast(between, sure=False, reasons=(why,))
    if te < LONG_TE_MS and tr > T1_TR_MS:
        return Contrast(Weighting.PD)
    why = "echo and repetition time fit no contrast"
    return Contrast(Weighting.UNKNOWN, sure=False, reasons=(why,))


def _by_echo_time(te: float | None, said: Weighting | None) -> Contrast:
    if te is None:
        return Contrast(Weighting.UNKNOWN, sure=False, reasons=("echo time is missing",))
    why = "repetition time is missing"
    if te >= LONG_TE_MS:
        return Contrast(Weighting.T2, sure=False, reasons=(why,))
    if te <= SHORT_TE_MS and said is Weighting.T1:
        return Contrast(said, sure=False, reasons=(f"{why}; the text says T1",))
    return Contrast(Weighting.UNKNOWN, sure=False, reasons=(why,))


def _between(te: float, tr: float, long_tr: float) -> Weighting | None:
    """Return the contrast that needs the text's word: a long T1, or a T2 with a middling echo."""
    if te <= SHORT_TE_MS and tr <= LONGEST_T1_TR_MS:
        return Weighting.T1
    if te > SHORT_TE_MS and tr >= long_tr:
        return Weighting.T2
    return None


def _by_text(series: SeriesFacts) -> Contrast:
    said = _said(series.text)
    if said is None:
        return Contrast(
            Weighting.UNKNOWN, sure=False, reasons=("no echo time, no repetition time, no text",)
        )
    why = "the header has no echo and no repetition time: weighting from the text only"
    return Contrast(said, sure=False, reasons=(why,))


def _checked_by_text(found: Contrast, text: str) -> Contrast:
    said = _said(text)
    agree = said is None or said is found.weighting
    if agree or (said is Weighting.T2 and found.weighting is Weighting.STIR):
        return found
    conflict = f"conflict: the header says {found.weighting}, the text says {said}"
    return replace(found, sure=False, reasons=(*found.reasons, conflict))


# ``SAGT1`` counts, ``POST1`` and the vertebra ``T12`` do not.
_APART = r"(?:(?<![A-Z0-9])|(?<=SAG)|(?<=AX)|(?<=TRA)|(?<=COR))"
# The first that matches counts; T1 and T2 in one text say nothing.
_WORDS: tuple[tuple[re.Pattern[str], Weighting], ...] = (
    (re.compile(r"STIR|TIRM"), Weighting.STIR),
    (re.compile(r"FLAIR"), Weighting.FLAIR),
    (re.compile(r"MERGE|MEDIC|T2 ?(\*|STAR)"), Weighting.T2_STAR),
    (re.compile(_APART + r"T1(?![0-9])"), Weighting.T1),
    (re.compile(_APART + r"T2(?![0-9])"), Weighting.T2),
    (re.compile(r"(?<![A-Z])PD(?![A-Z])|PROTON DEN"), Weighting.PD),
)
_FAT_SUPPRESSED = re.compile(
    r"(?<![A-Z])(FS|FATSAT|FAT SAT|FSAT|SPAIR|SPIR|CHESS|STIR|TIRM|WATER)(?![A-Z])"
)
_NO_AGENT_PHRASE = re.compile(r"(W ?O|WITHOUT|NON?|PRE|SANS|OHNE) ?\+?(CONTRAST|GAD\w*|GD|C|KM)\b")
_AGENT_PHRASE = re.compile(
    r"\+ ?C(?![A-Z])|(?<![A-Z])(C ?\+|POST|GD|GAD\w*|CE|KM|INJ\w*)(?![A-Z])|CONTRAST"
)


def _said(text: str) -> Weighting | None:
    if re.search(r"T1 ?(W|TSE)? ?(DARK FLUID|FLAIR)", text):
        return Weighting.T1
    found = [w for pattern, w in _WORDS if pattern.search(text)]
    if Weighting.T1 in found and Weighting.T2 in found:
        return None
    return found[0] if found else None


def has_fat_suppression(options: Sequence[str]) -> bool:
    """Tell whether ScanOptions name fat suppression (``SAT_GEMS`` and ``SAT1`` are spatial)."""
    return any(o == "FS" or "FAT" in o or o in {"SPIR", "SPAIR", "CHESS"} for o in options)


def _has_agent(agent: str) -> bool:
    return agent.strip().upper() not in {"", "NO", "NONE", "N", "0", "NO CONTRAST", "NATIVE"}


def _says_post_contrast(text: str) -> bool:
    return bool(_AGENT_PHRASE.search(_NO_AGENT_PHRASE.sub(" ", text)))


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None
