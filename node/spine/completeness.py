"""When a study has everything the node needs: a pure rule of facts and clock.

DICOM has no message that says "this study is complete". What the headers prove lets a study run
at once; otherwise silence decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from node.config import Complete
from node.spine.anatomy import Role

#: ``over``: nothing is to be run, now or later.
Verdict = Literal["wait", "ready", "incomplete", "over"]
Answer = Literal["agrees", "more", "silent", "pending"]


@dataclass(frozen=True)
class Contents:
    """What the headers of the images that are here say together.

    Attributes
    ----------
    roles : frozenset of Role
        Roles for which a series has been found.
    proven : tuple of str
        What shows that the series of the roles are whole and reach from L1 to S1.
    doubts : tuple of str
        What keeps that from being proven; only told when all roles are there.
    """

    roles: frozenset[Role]
    proven: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def is_proven(self) -> bool:
        """All roles are there, and nothing in the headers says that images are missing."""
        return bool(self.proven) and not self.doubts


@dataclass(frozen=True)
class Counted:
    """What the source says about how many images the study has, and that in words."""

    answer: Answer
    words: str


@dataclass(frozen=True)
class StudyState:
    """What is known about a study at one moment.

    Attributes
    ----------
    open_associations : int
        Associations that have sent instances of this study and are still open.
    seconds_since_last, seconds_since_first : float
        Since the last and the first instance arrived, s.
    contents : Contents
    counted : Counted or None
        None where no source is configured to be asked.
    is_settled : bool
        The source itself says that nothing more comes (Orthanc: stable).
    """

    open_associations: int
    seconds_since_last: float
    seconds_since_first: float
    contents: Contents
    counted: Counted | None = None
    is_settled: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do with a study now, and why; the reasons are read by people."""

    verdict: Verdict
    reasons: tuple[str, ...]


def decide(state: StudyState, times: Complete) -> Decision:
    """Decide whether a study waits, is ready, or is taken as incomplete.

    The first rule that applies:

    1. ``times.forced_s`` after the first image, or when the source calls it stable, it is decided
       whatever else holds;
    2. an open association waits;
    3. a study that is proven whole is ready: at once where the source's count agrees, after
       ``times.proven_s`` of silence where no source is asked;
    4. less than ``times.quiet_s`` of silence waits;
    5. a source that has more images waits, up to ``times.incomplete_s`` of silence;
    6. with all three roles it is ready;
    7. less than ``times.incomplete_s`` of silence waits for the missing roles;
    8. it is incomplete.
    """
    missing = tuple(f"no {role.label} series" for role in Role if role not in state.contents.roles)
    if state.is_settled or state.seconds_since_first >= times.forced_s:
        why = (
            "its source calls the study stable"
            if state.is_settled
            else f"decided {_span(times.forced_s)} after the first image"
        )
        return Decision("incomplete" if missing else "ready", (why, *missing))
    if state.open_associations:
        count = state.open_associations
        return Decision("wait", (f"{count} association{'s' if count > 1 else ''} still open",))
    if state.counted is not None and state.counted.answer == "pending":
        return Decision("wait", (state.counted.words,))
    at_once = _at_once(state, times) if state.contents.is_proven else None
    return at_once or _by_silence(state, times, missing)


def _at_once(state: StudyState, times: Complete) -> Decision | None:
    """Decide about a study that is proven whole; None when only silence can decide."""
    counted, proven = state.counted, state.contents.proven
    if counted is None:
        if state.seconds_since_last >= times.proven_s:
            return Decision("ready", ("proven complete", *proven))
        return Decision(
            "wait", (f"proven complete, waiting for {_span(times.proven_s)} of silence",)
        )
    if counted.answer == "agrees":
        return Decision("ready", ("proven complete", *proven, counted.words))
    return None


def _by_silence(state: StudyState, times: Complete, missing: tuple[str, ...]) -> Decision:
    told = (*state.contents.doubts, *((state.counted.words,) if state.counted else ()))
    if state.seconds_since_last < times.quiet_s:
        return Decision("wait", (*missing, *told, f"waiting for {_span(times.quiet_s)} of silence"))
    until = f"waiting up to {_span(times.incomplete_s)} for the rest"
    has_more = state.counted is not None and state.counted.answer == "more"
    is_silent = state.seconds_since_last >= times.incomplete_s
    if (missing or has_more) and not is_silent:
        return Decision("wait", (*missing, *told, until))
    silence = f"no image for {_span(times.incomplete_s if missing or has_more else times.quiet_s)}"
    if missing:
        return Decision("incomplete", (*missing, *told, silence))
    return Decision("ready", ("all three series are there", silence, *told))


def compare(peer: str, theirs: Mapping[str, int | None], ours: Mapping[str, int]) -> Counted:
    """Compare what a source says it holds of a study with what is here.

    Parameters
    ----------
    peer : str
        To name it to people.
    theirs : dict of series UID to int or None
        Its MR series, each with its number of instances, None where it does not tell.
    ours : dict of series UID to int
        All series that are here.
    """
    if not theirs or None in theirs.values():
        return Counted("silent", f"{peer} does not tell how many images the study has")
    lacking = {uid: n - ours.get(uid, 0) for uid, n in theirs.items() if n is not None}
    more = sum(n for n in lacking.values() if n > 0)
    if not more:
        return Counted("agrees", f"{peer} holds no image that is not here")
    series = sum(n > 0 for n in lacking.values())
    return Counted("more", f"{peer} holds {more} more image(s), in {series} MR series")


def _span(seconds: float) -> str:
    """Write a span of time as a person says it."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"
