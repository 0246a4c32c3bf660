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
from node.errors import LumbarError, RetryLater
from node.jobs import Desk, Step
from node.storage.engine import Transaction
from node.storage.index import Index

log = structlog.get_logger()

#: States of a delivery that is still on its way.
OPEN = frozenset({"pending", "waiting"})
UNDELIVERED = "not delivered to"
UNSENT = "no destination is configured: the results stay on this node"

DeliveryState = Literal["pending", "delivered", "waiting", "refused", "dead"]


class Stored(NamedTuple):
    """One object that a destination took: the class it went as, itself, its series."""

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str


class Delivered(NamedTuple):
    """What became of a result set that was accepted.

    Attributes
    ----------
    message : str
        What the destination got differently or not at all, in words.
    stored : sequence of Stored
    proof, proof_note : str
        What proves it already, as `DeliveryRow` has it.
    """

    message: str
    stored: Sequence[Stored]
    proof: str = ""
    proof_note: str = ""


@dataclass(frozen=True)
class Outcome:
    """How one try ended: ``delivered``, ``waiting`` for the next, ``refused`` or ``dead``."""

    state: DeliveryState
    message: str
    next_try_s: float | None = None
    stored: Sequence[Sequence[str]] = ()
    proof: str = ""
    proof_note: str = ""


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

    ``since`` is the ISO time (UTC) of the first try, ``again`` how often a destination that took
    the results turned out not to have them.
    """

    study_job: str
    study_uid: str
    destination: str
    attempt: int
    since: str
    again: int = 0

    @property
    def job_id(self) -> str:
        """The id of this try; the same try handed in twice is one job."""
        return f"{self.study_job}/deliver/{self.destination}/{self.attempt}"


@dataclass(frozen=True)
class Outbox:
    """Puts results out to every destination, and the study's end into the index.

    Attributes
    ----------
    rules : Deliver
    index : Index
    desk : Desk
    note : callable
        ``(study_uid, job_id, state, reasons)``: the study's state into the index.
    ending_of : callable
        A study job's id to the state its study ends in when everything is delivered.
    destinations_of : callable
        A study's source to the names of the destinations that get its results.
    files_of : callable
        A study job's id to its result objects, in delivery order; FileNotFoundError when they
        were deleted.
    send : callable
        ``(destination name, files)`` to what became of them; raises DestinationUnavailable or
        DeliveryRefused.
    prove : callable
        ``(try, stored, transaction)``: begin to look for a proof.
    """

    rules: Deliver
    index: Index
    desk: Desk
    note: Callable[[str, str, str, Sequence[str]], None]
    ending_of: Callable[[str], str]
    destinations_of: Callable[[str], Sequence[str]]
    files_of: Callable[[str], Sequence[Path]]
    send: Callable[[str, Sequence[Path]], Delivered]
    prove: Callable[[Try, Sequence[Stored], Transaction], None]

    def put(self, study_uid: str, job_id: str) -> None:
        """Start a delivery to each destination; none at all ends the study here.

        So does a repeat, after a crash, when all of them have ended meanwhile.
        """
        row = self.index.study(study_uid)
        names = self.destinations_of(row.source) if row else ()
        with self.index.together():
            for name in names:
                self.post(study_uid, job_id, name, 1)
            self._settle(study_uid, job_id)

    def post(self, study_uid: str, job_id: str, destination: str, attempt: int) -> None:
        """Hand in one try, counted from now."""
        this = Try(job_id, study_uid, destination, attempt, datetime.now(UTC).isoformat())
        with self.index.together() as transaction:
            if self._note(this, Outcome("pending", "")):
                self._enqueue(this, 0.0, transaction)

    def repeat(self, this: Try, why: str, delay_s: float) -> None:
        """Send once more what a destination took and does not have."""
        now = datetime.now(UTC).isoformat()
        following = this._replace(attempt=this.attempt + 1, since=now, again=this.again + 1)
        with self.index.together() as transaction:
            if self._note(following, Outcome("pending", why)):
                self._enqueue(following, delay_s, transaction)

    def lose(self, this: Try, why: str) -> None:
        """Give up a delivery that was taken, and is not there: a person must look."""
        with self.index.together():
            self._note(this, Outcome("dead", why))

    def story(self, step: Step, *told: Any) -> None:
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
        try:
            step("note", self._end, this, outcome)
        except RetryLater as error:  # of the object store, which knows how the study ends
            waiting = Outcome("waiting", str(error), self.rules.first_retry_s)
            step("again", self._end, this, waiting)

    def _try(self, this: Try) -> list[Any]:
        try:
            done = self.send(this.destination, self.files_of(this.study_job))
        except FileNotFoundError:
            return ["refused", "the results are no longer here ([retention] results_days)", None]
        except RetryLater as error:  # the destination's, or of the object store that has them
            age = (datetime.now(UTC) - datetime.fromisoformat(this.since)).total_seconds()
            delay = next_delay(this.attempt, age, self.rules)
            return ["dead" if delay is None else "waiting", str(error), delay]
        except LumbarError as error:
            return ["refused", str(error), None]
        except Exception as error:  # the worker's edge: a fault here must not hide the study
            log.exception("delivery failed", study_uid=this.study_uid)
            return ["refused", f"internal error ({type(error).__name__}): see the log", None]
        stored = [list(one) for one in done.stored]
        return ["delivered", done.message, None, stored, done.proof, done.proof_note]

    def _end(self, this: Try, outcome: Outcome) -> None:
        """Note how a try ended, together with the next one, or with the search for its proof."""
        with self.index.together() as transaction:
            if not self._note(this, outcome):
                return
            if outcome.next_try_s is not None:
                following = this._replace(attempt=this.attempt + 1)
                self._enqueue(following, outcome.next_try_s, transaction)
            elif outcome.state == "delivered" and not outcome.proof:
                self.prove(this, [Stored(*one) for one in outcome.stored], transaction)

    def _enqueue(self, this: Try, delay_s: float, within: Transaction) -> None:
        self.desk.enqueue("deliver", this.job_id, *this, delay_s=delay_s, within=within)

    def _note(self, this: Try, outcome: Outcome) -> bool:
        """Note how far a delivery is; False when it was noted before, with what follows from it."""
        is_news = self.index.upsert_delivery(
            this.study_job,
            this.study_uid,
            this.destination,
            outcome.state,
            this.attempt,
            outcome.message,
            proof=outcome.proof,
            proof_note=outcome.proof_note,
        )
        if is_news and outcome.state not in OPEN:
            self._settle(this.study_uid, this.study_job)
        return is_news

    def _settle(self, study_uid: str, job_id: str) -> None:
        """Put the study's end into the index once no delivery is open.

        Inside `Index.together`. The lock lets one delivery settle after the other: of two that
        end at the same moment each would take the other for open.
        """
        row = self.index.study(study_uid, lock=True)
        deliveries = [d for d in self.index.deliveries(study_uid) if d.job_id == job_id]
        # A study that waits for images again is not at its end, whatever became of earlier results.
        if row is None or row.state == "incomplete" or any(d.state in OPEN for d in deliveries):
            return
        lost = [d for d in deliveries if d.state != "delivered"]
        reasons = [r for r in row.reasons if not r.startswith((UNDELIVERED, UNSENT))]
        reasons += [f"{UNDELIVERED} {d.destination}: {d.message}" for d in lost]
        if not deliveries:
            reasons.append(UNSENT)
        self.note(study_uid, job_id, "failed" if lost else self.ending_of(job_id), reasons)
