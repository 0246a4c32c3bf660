"""When a study has everything the node needs: a pure rule of facts and clock.

DICOM has no message that says "this study is complete", so this is a rule of open associations,
silence and the three roles.
"""

from dataclasses import dataclass
from typing import Literal

from node.config import Complete
from node.spine.anatomy import Role

Verdict = Literal["wait", "ready", "incomplete"]


@dataclass(frozen=True)
class StudyState:
    """What is known about a study at one moment.

    Attributes
    ----------
    open_associations : int
        Associations that have sent instances of this study and are still open.
    seconds_since_last, seconds_since_first : float
        Since the last and the first instance arrived, s.
    roles : frozenset of Role
        Roles for which a series has been found.
    instances : int
    """

    open_associations: int
    seconds_since_last: float
    seconds_since_first: float
    roles: frozenset[Role]
    instances: int


@dataclass(frozen=True)
class Decision:
    """What to do with a study now, and why; the reasons are read by people."""

    verdict: Verdict
    reasons: tuple[str, ...]


def decide(state: StudyState, times: Complete) -> Decision:
    """Decide whether a study waits, is ready, or is taken as incomplete.

    The first rule that applies:

    1. ``times.forced_s`` after the first image it is decided whatever else holds;
    2. an open association waits;
    3. less than ``times.quiet_s`` of silence waits;
    4. with all three roles it is ready;
    5. less than ``times.incomplete_s`` of silence waits for the missing roles;
    6. it is incomplete.
    """
    missing = tuple(f"no {role.label} series" for role in Role if role not in state.roles)
    if state.seconds_since_first >= times.forced_s:
        forced = f"decided {_span(times.forced_s)} after the first image"
        return Decision("incomplete" if missing else "ready", (forced, *missing))
    if state.open_associations:
        count = state.open_associations
        return Decision("wait", (f"{count} association{'s' if count > 1 else ''} still open",))
    silence = f"last image {_span(state.seconds_since_last)} ago"
    if state.seconds_since_last < times.quiet_s:
        return Decision("wait", (f"{silence}, waiting for {_span(times.quiet_s)} of silence",))
    if not missing:
        return Decision("ready", (f"all three series are there, {silence}",))
    if state.seconds_since_last < times.incomplete_s:
        until = f"{silence}, waiting up to {_span(times.incomplete_s)} for the rest"
        return Decision("wait", (*missing, until))
    return Decision("incomplete", (*missing, silence))


def _span(seconds: float) -> str:
    """Write a span of time as a person says it."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"
