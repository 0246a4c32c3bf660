"""Ask the source of a study how many images it has; a slow or silent source holds up nobody."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field

import structlog

from node.errors import LumbarError
from node.spine.completeness import Counted, compare
from node.spine.instances import InstanceRow

log = structlog.get_logger()

#: A source on the same network answers within this; a slower one is looked at in the next round.
PATIENCE_S = 0.2
#: An answer other than "that is all" is asked for again after this.
AGAIN_S = 5.0

Counts = Mapping[str, int | None]


@dataclass(frozen=True)
class _Question:
    """One question on its way."""

    asked_at: float
    answer: "Future[Counts]"


@dataclass
class Asking:
    """Questions to sources, one at a time for each study.

    Attributes
    ----------
    count : callable
        ``(address, study_uid)``: the MR series a source holds, each with its number of instances.
        DestinationUnavailable when it does not answer.
    """

    count: Callable[[str, str], Counts]
    _questions: dict[str, _Question] = field(default_factory=dict)
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(4, thread_name_prefix="asking")
    )

    def about(self, address: str, study_uid: str, instances: Sequence[InstanceRow]) -> Counted:
        """Return what a source says beside the images that are here."""
        question = self._questions.get(study_uid)
        now = time.monotonic()
        if question is None or (question.answer.done() and now - question.asked_at > AGAIN_S):
            question = _Question(now, self._pool.submit(self.count, address, study_uid))
            self._questions[study_uid] = question
        try:
            theirs = question.answer.result(PATIENCE_S)
        except NotYet:
            return Counted("pending", f"asking {address} how many images the study has")
        except LumbarError as error:
            log.info("a source does not tell its count", study_uid=study_uid, reason=str(error))
            return Counted("silent", f"{error}: silence decides")
        return compare(address, theirs, Counter(i.series_uid for i in instances))

    def forget(self, study_uid: str) -> None:
        """Drop what was asked about a study: what arrived since may have changed the answer."""
        self._questions.pop(study_uid, None)

    def close(self) -> None:
        """Ask nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
