"""The outbox: every result set, to every destination, until it is there or a person must look.

One delivery to one destination is a chain of short jobs. A try that fails for now hands in the
next try with a delay, so that waiting holds no worker and survives a restart; one destination
that is down never delays another and never runs a model again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

import structlog

from node.config import Deliver
from node.errors import DeliveryRefused, DestinationUnavailable
from node.jobs import Step

log = structlog.get_logger()

DeliveryState = Literal["pending", "delivered", "waiting", "refused", "dead"]


@dataclass(frozen=True)
class Outcome:
    """How one try ended: ``delivered``, ``waiting`` for the next, ``refused`` or ``dead``."""

    state: DeliveryState
    message: str
    next_try_s: float | None = None


def next_delay(attempt: int, age_s: float, rules: Deliver) -> float | None:
    """Return the seconds until the next try, or None when the delivery is too old.

    The delay doubles from ``first_retry_s`` to ``last_retry_s``. It is spread by up to a quarter,
    so that a PACS that comes back is not met by everything at once; the spread depends on the
    attempt alone, so that a repeated step decides the same.

    Parameters
    ----------
    attempt : int
        The try that just failed, 1 for the first.
    age_s : float
        Since the first try.
    rules : Deliver
    """
    if age_s >= rules.give_up_after_s:
        return None
    delay: float = min(rules.first_retry_s * 2.0 ** (attempt - 1), rules.last_retry_s)
    return delay * (1 + 0.25 * Random(attempt).random())  # noqa: S311 - no secret


class Try(NamedTuple):
    """One try of one delivery: which results, whose, where to, the how manieth, since when.

    ``since`` is the ISO time (UTC) of the first try.
    """

    study_job: str
    study_uid: str
    destination: str
    attempt: int
    since: str

    @property
    def job_id(self) -> str:
        """The id of this try; the same try handed in twice is one job."""
        return f"{self.study_job}/deliver/{self.destination}/{self.attempt}"


@dataclass(frozen=True)
class Delivery:
    """The story of one try.

    Attributes
    ----------
    rules : Deliver
    files_of : callable
        A study job's id to its result objects, in delivery order.
    send : callable
        ``(destination name, files)``; raises DestinationUnavailable or DeliveryRefused.
    note : callable
        Put a try and its outcome into the index.
    enqueue : callable
        Hand in a try, after so many seconds.
    """

    rules: Deliver
    files_of: Callable[[str], Sequence[Path]]
    send: Callable[[str, Sequence[Path]], None]
    note: Callable[[Try, Outcome], None]
    enqueue: Callable[[Try, float], None]

    def __call__(self, step: Step, *told: Any) -> None:
        """Try once; on a failure that may pass, hand in the next try."""
        this = Try(*told)
        outcome = Outcome(*step("send", self._try, this))
        log.info(
            "delivery",
            study_uid=this.study_uid,
            destination=this.destination,
            attempt=this.attempt,
            state=outcome.state,
            message=outcome.message,
        )
        step("note", self.note, this, outcome)
        if outcome.next_try_s is not None:
            following = this._replace(attempt=this.attempt + 1)
            step("next", self.enqueue, following, outcome.next_try_s)

    def _try(self, this: Try) -> list[Any]:
        try:
            self.send(this.destination, self.files_of(this.study_job))
        except DestinationUnavailable as error:
            age = (datetime.now(UTC) - datetime.fromisoformat(this.since)).total_seconds()
            delay = next_delay(this.attempt, age, self.rules)
            return ["dead" if delay is None else "waiting", str(error), delay]
        except DeliveryRefused as error:
            return ["refused", str(error), None]
        return ["delivered", "", None]
