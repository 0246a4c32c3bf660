"""Proof of delivery: storage commitment where it is offered, else a query, else the status.

A proof is a chain of short jobs, so waiting for a report holds no worker and survives a restart.
A report is kept by whoever receives it, the worker on its own association or the listener on one
that the destination opens, and becomes a job of its own. What a destination *says* it does not
have is sent again; a destination that says nothing in time is believed one rung lower.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import structlog

from node.config import Deliver
from node.dicom import statuses
from node.dicom.pledge import Reported
from node.errors import LumbarError, RetryLater
from node.exchange.outbox import Outbox, Stored, Try, next_delay
from node.jobs import Desk, Step
from node.storage.engine import Transaction
from node.storage.index import Index
from node.storage.pledges import Pledges
from node.storage.rows import DeliveryRow

log = structlog.get_logger()

#: How often results are sent again of which the destination says that it does not have them.
MOST_AGAIN = 2
#: Reasons that say nothing about whether it has the object: class not supported, transaction known.
_NO_ANSWER = frozenset({0x0122, 0x0131})
#: Asked for, and named neither as committed nor as failed.
_NOT_NAMED = 0

Phase = Literal["ask", "wait", "told", "query"]


class _NotThere(RetryLater):
    """A query does not name all objects."""


class Turn(NamedTuple):
    """One step of a proof; JSON.

    Attributes
    ----------
    delivery : Try
        What is to be proven.
    stored : sequence of Stored
        What the destination took.
    phase : str
        ``ask`` for commitment, ``wait`` for the report's time limit, ``told`` what was reported,
        ``query`` what is there.
    tries : int
        Of this phase, 1 for the first.
    since : str
        ISO time (UTC) at which the phase began.
    doubt : str
        Why there is no better proof, in words.
    is_denied : bool
        The destination itself says that it does not have something: a status is no proof then.
    transaction_uid : str
        Of the request for commitment, once there is one.
    """

    delivery: Sequence[Any]
    stored: Sequence[Sequence[str]]
    phase: Phase
    tries: int
    since: str
    doubt: str = ""
    is_denied: bool = False
    transaction_uid: str = ""

    @property
    def to(self) -> Try:
        """The delivery."""
        return Try(*self.delivery)

    @property
    def job_id(self) -> str:
        """The id of this turn; the same turn handed in twice is one job."""
        to, which = self.to, self.transaction_uid if self.phase == "told" else self.tries
        place = f"{to.study_job}/prove/{to.destination}/{to.attempt}"
        return f"{place}/{self.phase}/{which}"

    def begin(self, phase: Phase, doubt: str = "", **more: Any) -> "Turn":
        """Return the first turn of another phase."""
        doubt = "; ".join(filter(None, [self.doubt, doubt]))
        return self._replace(phase=phase, tries=1, since=_now(), doubt=doubt, **more)


#: The next turn and the seconds until then; None at the end.
Following = tuple[Turn, float] | None


@dataclass(frozen=True)
class Proving:
    """Finds a proof for every delivery.

    Attributes
    ----------
    rules : Deliver
    index : Index
    desk : Desk
    pledges : Pledges
    outbox : Outbox
    begins_with : callable
        A destination's name to the first phase of its proofs.
    ask : callable
        ``(destination, stored, transaction UID, is told)``: ask for commitment.
    missing : callable
        ``(destination, study UID, stored)``: which objects a query does not find.
    """

    rules: Deliver
    index: Index
    desk: Desk
    pledges: Pledges
    outbox: Outbox
    begins_with: Callable[[str], Phase]
    ask: Callable[[str, Sequence[Stored], str, Callable[[], bool]], None]
    missing: Callable[[str, str, Sequence[Stored]], Sequence[str]]

    def begin(self, this: Try, stored: Sequence[Stored], within: Transaction) -> None:
        """Hand in the first turn for a delivery that was accepted."""
        phase = self.begins_with(this.destination)
        first = Turn([*this], [list(one) for one in stored], phase, 1, _now())
        self._enqueue(first, 0.0, within)

    def keep(self, report: Reported) -> bool:
        """Keep a report together with the job that looks at it; say whether it is ours."""
        with self.index.together() as transaction:
            pledge = self.pledges.keep(report.transaction_uid, report._asdict())
            if pledge is not None:
                self._enqueue(Turn(**pledge.turn).begin("told"), 0.0, transaction)
        return pledge is not None

    def story(self, step: Step, *told: Any) -> None:
        """Take one turn, and hand in the next."""
        following = step("turn", self._turn, *told)
        if following is not None:
            turn, delay_s = following
            step("next", self._enqueue, Turn(*turn), delay_s)

    def _enqueue(self, turn: Turn, delay_s: float, within: Transaction | None = None) -> None:
        self.desk.enqueue("prove", turn.job_id, *turn, delay_s=delay_s, within=within)

    def _turn(self, *told: Any) -> Following:
        turn = Turn(*told)
        row = self._delivery(turn)
        if row is None or (row.proof and turn.phase != "told"):
            return None  # sent again since, or proven
        try:
            if turn.phase == "ask":
                return self._ask(turn)
            if turn.phase == "query":
                return self._query(turn)
            return self._told(turn, row)
        except RetryLater as error:
            return self._again(turn, error)
        except (LumbarError, LookupError) as error:
            return self._less(turn, str(error))

    def _delivery(self, turn: Turn) -> DeliveryRow | None:
        """Return the delivery that is to be proven, if it still is the one that was made."""
        to = turn.to
        its = (to.study_job, to.destination, to.attempt, "delivered")
        rows = self.index.deliveries(to.study_uid)
        return next(
            (r for r in rows if its == (r.job_id, r.destination, r.attempts, r.state)), None
        )

    def _ask(self, turn: Turn) -> Following:
        transaction = f"2.25.{uuid.uuid4().int}"
        asked = turn.begin("wait", transaction_uid=transaction)
        self.pledges.open(transaction, asked._asdict())
        to = turn.to
        stored = [Stored(*one) for one in turn.stored]
        self.ask(to.destination, stored, transaction, lambda: self._report(asked) is not None)
        if self._report(asked) is not None:
            return asked.begin("told"), 0.0
        self._note(turn, "", "storage commitment is asked for, and not reported yet")
        return asked, self.rules.proof_within_s

    def _report(self, turn: Turn) -> Reported | None:
        pledge = self.pledges.find(turn.transaction_uid)
        if pledge is None or pledge.report is None:
            return None
        return Reported(**pledge.report)

    def _told(self, turn: Turn, row: DeliveryRow) -> Following:
        """Look at the report; without one, its time is over."""
        report = self._report(turn)
        if report is None:
            late = f"no report of storage commitment within {self.rules.proof_within_s:g} s"
            return self._less(turn, late)
        failed, committed = dict(report.failed), set(report.committed)
        reasons = {
            uid: failed.get(uid, _NOT_NAMED) for _, uid, _ in turn.stored if uid not in committed
        }
        if not reasons:
            self._note(turn, "commitment")
            return None
        if row.proof:
            return None  # a query has found them meanwhile
        doubt = f"no storage commitment for {_words(reasons, len(turn.stored))}"
        if set(reasons.values()) <= _NO_ANSWER:
            return self._less(turn, doubt)
        if turn.to.again < MOST_AGAIN:
            self._send_again(turn, doubt)
            return None
        return turn.begin("query", doubt, is_denied=True), 0.0

    def _query(self, turn: Turn) -> Following:
        to = turn.to
        missing = self.missing(to.destination, to.study_uid, [Stored(*one) for one in turn.stored])
        if missing:
            raise _NotThere(
                f"{len(missing)} of {len(turn.stored)} objects are not named by a query "
                f"({', '.join(missing[:3])})"
            )
        self._note(turn, "query", turn.doubt)
        return None

    def _again(self, turn: Turn, error: RetryLater) -> Following:
        """Return the same turn once more, later; when its time is over, what else there is."""
        age = (datetime.now(UTC) - datetime.fromisoformat(turn.since)).total_seconds()
        delay = next_delay(turn.tries, age, self.rules)
        if delay is not None and age < self.rules.proof_within_s:
            self._note(turn, "", f"not proven yet: {error}")
            return turn._replace(tries=turn.tries + 1), min(delay, self.rules.proof_within_s)
        if not isinstance(error, _NotThere):
            return self._less(turn, str(error))
        if turn.to.again < MOST_AGAIN and not turn.is_denied:
            self._send_again(turn, str(error))
        else:
            self._lose(turn, str(error))
        return None

    def _less(self, turn: Turn, doubt: str) -> Following:
        """Go on with the next lesser proof."""
        if turn.phase != "query":
            return turn.begin("query", doubt), 0.0
        if turn.is_denied:
            self._lose(turn, doubt)
        else:
            self._note(turn, "status", "; ".join(filter(None, [turn.doubt, doubt])))
        return None

    def _send_again(self, turn: Turn, why: str) -> None:
        to = turn.to
        delay = next_delay(to.again + 1, 0.0, self.rules) or 0.0
        log.warning(
            "sent again: the destination does not have it",
            study_uid=to.study_uid,
            destination=to.destination,
            reason=why,
        )
        self.outbox.repeat(to, f"sent again: {why}", delay)

    def _lose(self, turn: Turn, why: str) -> None:
        doubt = "; ".join(filter(None, [turn.doubt, why]))
        self.outbox.lose(
            turn.to,
            f"{turn.to.destination} took the objects and does not have them: {doubt}. Ask its "
            "administrator what became of them, then requeue the study; if they are there all the "
            'same, set proof = "status" for this destination',
        )

    def _note(self, turn: Turn, proof: str, note: str = "") -> None:
        to = turn.to
        log.info(
            "proof of delivery",
            study_uid=to.study_uid,
            destination=to.destination,
            proof=proof or "none yet",
            note=note,
        )
        self.index.set_proof(to.study_job, to.destination, to.attempt, proof, note)


def _words(reasons: dict[str, int], count: int) -> str:
    """Say of how many objects, and why."""
    why = dict.fromkeys(
        statuses.meaning(reason) if reason else "not named" for reason in reasons.values()
    )
    return f"{len(reasons)} of {count} objects ({', '.join(why)})"


def _now() -> str:
    return datetime.now(UTC).isoformat()
