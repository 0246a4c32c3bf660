"""The outbox's decisions, without an engine: when to try again, and when to stop."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from node.config import Deliver
from node.errors import DeliveryRefused, DestinationUnavailable, StoreUnavailable
from node.exchange.outbox import Delivered, Outbox, Stored, Try, next_delay
from node.storage.rows import DeliveryRow, StudyRow

if TYPE_CHECKING:
    from node.jobs import Desk
    from node.storage.index import Index

RULES = Deliver(first_retry_s=5, last_retry_s=3600, give_up_after_s=7200)
STORED = Stored("1.2.840.10008.5.1.4.1.1.88.34", "1.2.3.9", "1.2.3.8")
FIRST = Try("study:1", "1.2.3", "pacs", 1, "2026-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("attempt", "age_s", "at_least", "at_most"),
    [
        (1, 0, 5, 6.25),
        (2, 5, 10, 12.5),
        (5, 100, 80, 100),
        (10, 3000, 2560, 3200),
        (11, 7000, 3600, 4500),  # never longer than last_retry_s and its spread
        (40, 7199, 3600, 4500),
    ],
)
def test_the_delay_doubles_up_to_its_limit(
    attempt: int, age_s: float, at_least: float, at_most: float
) -> None:
    """Seconds at first, an hour at most, spread by up to a quarter."""
    delay = next_delay(attempt, age_s, RULES)
    assert delay is not None
    assert at_least <= delay <= at_most


def test_a_delivery_that_is_too_old_is_given_up() -> None:
    """At the configured age there is no next try: a person must look."""
    assert next_delay(3, 7200, RULES) is None


def test_a_repeated_decision_is_the_same() -> None:
    """A step that runs twice after a crash must not plan two different next tries."""
    assert next_delay(4, 10, RULES) == next_delay(4, 10, RULES)


class Ledger:
    """Remembers what the outbox put into the index and handed in; answers as both."""

    def __init__(self) -> None:
        self.rows: dict[str, DeliveryRow] = {}
        self.enqueued: list[tuple[str, float]] = []
        self.ended: list[tuple[str, tuple[str, ...]]] = []
        self.to_prove: list[tuple[Try, list[Stored]]] = []

    def upsert_delivery(self, job: str, uid: str, to: str, *rest: Any, **proof: str) -> bool:
        state, attempts, message = rest
        now = datetime.now(UTC)
        self.rows[to] = DeliveryRow(job, uid, to, state, attempts, message, now, **proof)
        return True

    def prove(self, this: Try, stored: Sequence[Stored], within: Any) -> None:
        assert within == "one transaction"
        self.to_prove.append((this, list(stored)))

    def deliveries(self, _uid: str) -> tuple[DeliveryRow, ...]:
        return tuple(self.rows.values())

    def study(self, uid: str, **_: bool) -> StudyRow:
        now = datetime.now(UTC)
        return StudyRow(uid, "delivering", ("as found",), "study:1", "PACS", now, now, 3)

    @contextmanager
    def together(self) -> Iterator[str]:
        yield "one transaction"

    def enqueue(
        self, _queue: str, job_id: str, *_told: Any, within: str, delay_s: float = 0.0
    ) -> None:
        assert within == "one transaction"
        self.enqueued.append((job_id, delay_s))

    def note(self, _uid: str, _job: str, state: str, reasons: Sequence[str]) -> None:
        self.ended.append((state, tuple(reasons)))


def tried(
    error: Exception | None,
    rules: Deliver = RULES,
    *,
    proof: str = "",
    is_gone: bool = False,
    is_away: bool = False,
) -> Ledger:
    """Run one try whose sending raises ``error``, and return what was noted."""
    ledger = Ledger()

    def files_of(_job: str) -> list[Path]:
        if is_gone:
            raise FileNotFoundError
        return [Path("sr.dcm")]

    def send(_destination: str, _files: Sequence[Path]) -> Delivered:
        if error:
            raise error
        return Delivered("report sent as Comprehensive SR", [STORED], proof)

    def ending_of(_job: str) -> str:
        if is_away:
            raise StoreUnavailable("the object store cannot read it: it does not answer")
        return "done"

    outbox = Outbox(
        rules=rules,
        index=cast("Index", ledger),
        desk=cast("Desk", ledger),
        note=ledger.note,
        ending_of=ending_of,
        destinations_of=lambda _source: ["pacs"],
        files_of=files_of,
        send=send,
        prove=ledger.prove,
    )
    outbox.story(lambda _name, function, *arguments: function(*arguments), *FIRST)
    return ledger


def test_a_delivered_result_ends_the_study() -> None:
    """Success and what it got otherwise are noted; the study is done for its own reasons."""
    seen = tried(None)

    assert seen.rows["pacs"].state == "delivered"
    assert seen.rows["pacs"].message == "report sent as Comprehensive SR"
    assert seen.ended == [("done", ("as found",))]
    assert not seen.enqueued
    assert seen.to_prove == [(FIRST, [STORED])]


def test_what_is_proven_on_arrival_is_not_asked_about() -> None:
    """An Orthanc looks each object up at once; a proof by status is one that was configured."""
    seen = tried(None, proof="query")

    assert seen.rows["pacs"].proof == "query"
    assert not seen.to_prove


@pytest.mark.parametrize("trouble", ["sending", "ending"])
def test_an_object_store_that_is_away_ends_no_study(trouble: str) -> None:
    """Whether the results or how they end cannot be read: the delivery is tried again."""
    error = StoreUnavailable("it does not answer") if trouble == "sending" else None
    patient = RULES.model_copy(update={"give_up_after_s": 1e9})
    seen = tried(error, patient, is_away=trouble == "ending")

    assert seen.rows["pacs"].state == "waiting"
    assert [job for job, _ in seen.enqueued] == ["study:1/deliver/pacs/2"]
    assert not seen.ended


def test_results_that_were_deleted_are_not_sent() -> None:
    """Whoever asks for them again reads why, and not that the PACS takes nothing."""
    seen = tried(None, is_gone=True)

    assert seen.rows["pacs"].state == "refused"
    assert "no longer here" in seen.rows["pacs"].message


def test_a_refusal_is_never_repeated() -> None:
    """What the PACS refuses for good waits for a person, with the PACS's words."""
    seen = tried(DeliveryRefused("0xA900: not its SOP class"))

    assert seen.rows["pacs"].state == "refused"
    assert seen.ended == [
        ("failed", ("as found", "not delivered to pacs: 0xA900: not its SOP class"))
    ]
    assert not seen.enqueued


def test_a_fault_of_our_own_is_shown_and_not_repeated() -> None:
    """A study must never stand in "delivering" because of an error nobody expected."""
    seen = tried(KeyError("oops"))

    assert seen.rows["pacs"].state == "refused"
    assert "internal error (KeyError)" in seen.rows["pacs"].message
    assert [state for state, _ in seen.ended] == ["failed"]


def test_an_unreachable_destination_is_tried_again_later() -> None:
    """The next try has the next number and a delay, and the study is not at its end."""
    seen = tried(
        DestinationUnavailable("no answer"), RULES.model_copy(update={"give_up_after_s": 1e12})
    )

    ((job_id, delay),) = seen.enqueued
    assert job_id == "study:1/deliver/pacs/2"
    assert 5 <= delay <= 6.25
    assert seen.rows["pacs"].state == "waiting"
    assert not seen.ended


def test_after_the_configured_age_it_is_dead() -> None:
    """Dead letters are visible and stay until they are requeued."""
    seen = tried(DestinationUnavailable("no answer"))  # first tried years ago

    assert seen.rows["pacs"].state == "dead"
    assert [state for state, _ in seen.ended] == ["failed"]
    assert not seen.enqueued
