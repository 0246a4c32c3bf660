"""How a delivery is proven, turn by turn, against destinations of a few lines; no engine."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from node.config import Deliver
from node.dicom.pledge import Reported
from node.errors import DeliveryRefused, DestinationUnavailable
from node.exchange.outbox import Stored, Try
from node.exchange.proving import Phase, Proving, Turn
from node.storage.pledges import Pledge
from node.storage.rows import DeliveryRow

if TYPE_CHECKING:
    from node.exchange.outbox import Outbox
    from node.jobs import Desk
    from node.storage.engine import Transaction
    from node.storage.index import Index
    from node.storage.pledges import Pledges

#: No time at all: a turn that fails is the last of its phase.
AT_ONCE = Deliver(first_retry_s=5, last_retry_s=60, proof_within_s=1e-9)
PATIENT = Deliver(first_retry_s=5, last_retry_s=60, proof_within_s=600)
STORED = [Stored("1.2.840.10008.5.1.4.1.1.7", f"1.2.3.{n}", "1.2.3") for n in (1, 2)]
UIDS = tuple(one.sop_instance_uid for one in STORED)
GONE = DestinationUnavailable("pacs does not answer")
NO_COMMITMENT = DeliveryRefused("pacs offers no storage commitment")
NO_QUERIES = DeliveryRefused("pacs answers no queries")


@dataclass
class Peer:
    """A destination, and everything around it that a proof is kept in.

    Attributes
    ----------
    reports : dict of str to int, or None
        What it reports at once: a failure reason for each object that is not committed; None:
        it accepts the request and says nothing.
    trouble : exception, optional
        Instead: what becomes of the request.
    holds : sequence of str, or an exception
        What a query finds.
    """

    reports: dict[str, int] | None = None
    trouble: Exception | None = None
    holds: Sequence[str] | Exception = UIDS
    rows: dict[str, DeliveryRow] = field(default_factory=dict)
    pledged: dict[str, Pledge] = field(default_factory=dict)
    jobs: dict[str, tuple[Turn, float]] = field(default_factory=dict)
    again: list[Try] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    keep: Callable[[Reported], bool] = lambda _: False
    transaction: str | None = None

    # -- the destination
    def ask(
        self, _to: str, stored: Sequence[Stored], transaction: str, _told: Callable[[], bool]
    ) -> None:
        if self.trouble:
            raise self.trouble
        if self.reports is not None:
            done = [o.sop_instance_uid for o in stored if o.sop_instance_uid not in self.reports]
            failed = tuple((uid, reason) for uid, reason in self.reports.items() if reason >= 0)
            assert self.keep(Reported(transaction, tuple(done), failed))

    def missing(self, _to: str, _study: str, stored: Sequence[Stored]) -> Sequence[str]:
        if isinstance(self.holds, Exception):
            raise self.holds
        return [o.sop_instance_uid for o in stored if o.sop_instance_uid not in self.holds]

    # -- the index
    def deliveries(self, _uid: str) -> tuple[DeliveryRow, ...]:
        return tuple(self.rows.values())

    def set_proof(self, job: str, to: str, attempts: int, proof: str, note: str) -> None:
        now = datetime.now(UTC)
        self.rows[to] = DeliveryRow(
            job, "1.2", to, "delivered", attempts, "", now, proof=proof, proof_note=note
        )

    @contextmanager
    def together(self) -> Iterator[str]:
        self.transaction = "one transaction"
        yield self.transaction
        self.transaction = None

    # -- the pledges
    def open(self, transaction: str, turn: dict[str, Any]) -> None:
        self.pledged[transaction] = Pledge(turn, None)

    def find(self, transaction: str) -> Pledge | None:
        return self.pledged.get(transaction)

    # -- the desk
    def enqueue(self, queue: str, job_id: str, *turn: Any, delay_s: float, within: Any) -> None:
        assert queue == "prove"
        assert within == self.transaction
        self.jobs.setdefault(job_id, (Turn(*turn), delay_s))

    # -- the outbox
    def repeat(self, this: Try, _why: str, _delay_s: float) -> None:
        self.again.append(this)

    def lose(self, _this: Try, why: str) -> None:
        self.lost.append(why)


class Kept:
    """The pledges of a peer, as the table keeps them."""

    def __init__(self, peer: Peer) -> None:
        self.open, self.find, self._peer = peer.open, peer.find, peer

    def keep(self, transaction: str, report: dict[str, Any]) -> Pledge | None:
        pledge = self._peer.pledged.get(transaction)
        if pledge is None:
            return None
        self._peer.pledged[transaction] = pledge._replace(report=pledge.report or report)
        return self._peer.pledged[transaction]


def proven(
    peer: Peer, *, begin: Phase = "ask", again: int = 0, rules: Deliver = AT_ONCE
) -> DeliveryRow:
    """Run a proof until nothing of it is left to run at once, and return the delivery."""
    proving = Proving(
        rules=rules,
        index=cast("Index", peer),
        desk=cast("Desk", peer),
        pledges=cast("Pledges", Kept(peer)),
        outbox=cast("Outbox", peer),
        begins_with=lambda _: begin,
        ask=peer.ask,
        missing=peer.missing,
    )
    peer.keep = proving.keep
    peer.set_proof("job", "pacs", 1, "", "")
    first = Try("job", "1.2", "pacs", 1, "2026-01-01T00:00:00+00:00", again)
    with peer.together() as transaction:
        proving.begin(first, STORED, cast("Transaction", transaction))
    done: set[str] = set()
    while due := [i for i, (_, delay) in peer.jobs.items() if i not in done and delay < 1]:
        for job_id in due:
            done.add(job_id)
            turn = peer.jobs[job_id][0]
            proving.story(lambda _name, function, *told: function(*told), *turn)
    return peer.rows["pacs"]


@pytest.mark.parametrize(
    ("peer", "proof", "words"),
    [
        (Peer(reports={}), "commitment", ""),
        (Peer(trouble=NO_COMMITMENT), "query", "offers no storage commitment"),
        (Peer(trouble=GONE), "query", "does not answer"),
        (Peer(reports=None), "query", "no report of storage commitment within"),
        (Peer(reports={UIDS[0]: 0x0122}), "query", "1 of 2 objects (SOP class not supported)"),
        (Peer(trouble=NO_COMMITMENT, holds=NO_QUERIES), "status", "pacs answers no queries"),
        (Peer(trouble=GONE, holds=GONE), "status", "pacs does not answer"),
        (Peer(reports={UIDS[1]: 0x0122}, holds=NO_QUERIES), "status", "answers no queries"),
    ],
    ids=[
        "committed", "not offered", "away", "silent", "class not known to its commitment",
        "neither offered", "away for good", "an answer that is none",
    ],
)  # fmt: skip
def test_the_best_proof_that_is_to_be_had(peer: Peer, proof: str, words: str) -> None:
    """Commitment, else a query, else the status; the note says what stood in the way."""
    row = proven(peer)
    assert row.proof == proof
    assert words in row.proof_note
    assert not peer.again
    assert not peer.lost


@pytest.mark.parametrize("reason", [0x0110, 0x0112, 0x0213, 0x0119, -1])
def test_what_it_does_not_have_is_sent_again(reason: int) -> None:
    """A report that fails, or does not name, one of two objects: the results go once more."""
    peer = Peer(reports={UIDS[0]: reason}, holds=[UIDS[1]])
    assert proven(peer).proof == ""
    assert len(peer.again) == 1
    assert not peer.lost


@pytest.mark.parametrize(
    ("holds", "proof"), [(UIDS, "query"), (UIDS[:1], ""), (NO_QUERIES, ""), (GONE, "")]
)
def test_a_no_is_overruled_by_a_query_and_by_nothing_else(
    holds: Sequence[str] | Exception, proof: str
) -> None:
    """After it was sent again in vain a status proves nothing: a person has to look."""
    peer = Peer(reports={UIDS[0]: 0x0112}, holds=holds)
    row = proven(peer, again=2)
    assert row.proof == proof
    assert "no storage commitment for 1 of 2 objects (no such SOP instance)" in (
        row.proof_note or peer.lost[0]
    )
    assert bool(peer.lost) != bool(proof)
    assert not peer.again


def test_what_a_query_does_not_name_is_sent_again_and_then_shown() -> None:
    """Twice it goes once more; the third time the message says what to do."""
    peer = Peer(trouble=NO_COMMITMENT, holds=UIDS[:1])
    assert proven(peer).proof == ""
    assert len(peer.again) == 1

    peer = Peer(trouble=NO_COMMITMENT, holds=UIDS[:1])
    assert proven(peer, again=2).proof == ""
    assert UIDS[1] in peer.lost[0]
    assert 'proof = "status"' in peer.lost[0]


def test_a_peer_that_needs_time_gets_it() -> None:
    """An index that lags behind, a peer that is away: asked again, a little later each time."""
    for peer, phase in (
        (Peer(trouble=NO_COMMITMENT, holds=[]), "query"),
        (Peer(trouble=GONE), "ask"),
    ):
        row = proven(peer, rules=PATIENT)
        assert row.proof == ""
        assert "not proven yet" in row.proof_note
        turn, delay = peer.jobs[f"job/prove/pacs/1/{phase}/2"]
        assert turn.tries == 2
        assert 5 <= delay <= 6.25


def test_a_report_is_waited_for_without_a_worker() -> None:
    """What stands in the queue meanwhile is one job with a delay: the time limit."""
    peer = Peer(reports=None)
    row = proven(peer, rules=PATIENT)
    assert "not reported yet" in row.proof_note
    assert peer.jobs["job/prove/pacs/1/wait/1"][1] == 600


def test_a_late_report_still_counts() -> None:
    """It comes after the time limit, when a query has proven the delivery: now it is committed."""
    peer = Peer(reports=None)
    assert proven(peer).proof == "query"
    (transaction,) = peer.pledged
    assert peer.keep(Reported(transaction, UIDS, ()))
    turn = peer.jobs[f"job/prove/pacs/1/told/{transaction}"][0]
    run(peer, turn)
    assert peer.rows["pacs"].proof == "commitment"


def test_a_late_failure_does_not_undo_what_a_query_found() -> None:
    """The objects are there: nothing is sent again."""
    peer = Peer(reports=None)
    proven(peer)
    (transaction,) = peer.pledged
    peer.keep(Reported(transaction, (), tuple((uid, 0x0110) for uid in UIDS)))
    run(peer, peer.jobs[f"job/prove/pacs/1/told/{transaction}"][0])
    assert peer.rows["pacs"].proof == "query"
    assert not peer.again


def test_a_report_about_an_earlier_try_is_ignored() -> None:
    """Results that were sent again since need a proof of their own."""
    peer = Peer(reports=None)
    proven(peer, rules=PATIENT)
    (transaction,) = peer.pledged
    peer.set_proof("job", "pacs", 2, "", "")
    peer.keep(Reported(transaction, UIDS, ()))
    run(peer, peer.jobs[f"job/prove/pacs/1/told/{transaction}"][0])
    assert peer.rows["pacs"].proof == ""


def test_a_report_that_nobody_asked_for_is_refused() -> None:
    """Whoever sends it, it changes nothing."""
    peer = Peer(reports={})
    proven(peer)
    assert not peer.keep(Reported("1.2.3.4", UIDS, ()))


def run(peer: Peer, turn: Turn) -> None:
    """Run one turn of a proof that has begun."""
    proving = peer.keep.__self__  # type: ignore[attr-defined]
    proving.story(lambda _name, function, *told: function(*told), *turn)
