"""The outbox's decisions, without an engine: when to try again, and when to stop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.config import Deliver
from node.errors import DeliveryRefused, DestinationUnavailable
from node.outbox import Delivery, Outcome, Try, next_delay

RULES = Deliver(first_retry_s=5, last_retry_s=3600, give_up_after_s=7200)
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


class Recorder:
    """Runs steps at once and remembers what the delivery did."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.noted: list[Outcome] = []
        self.enqueued: list[tuple[Try, float]] = []

    def step(self, _name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    def send(self, _destination: str, _files: Any) -> None:
        if self.error:
            raise self.error

    def run(self, rules: Deliver, this: Try) -> None:
        Delivery(
            rules=rules,
            files_of=lambda _job: [Path("sr.dcm")],
            send=self.send,
            note=lambda _try, outcome: self.noted.append(outcome),
            enqueue=lambda following, delay: self.enqueued.append((following, delay)),
        )(self.step, *this)


def test_a_delivered_result_is_done() -> None:
    """Success is noted and nothing more is handed in."""
    seen = Recorder(None)
    seen.run(RULES, FIRST)

    assert [o.state for o in seen.noted] == ["delivered"]
    assert not seen.enqueued


def test_a_refusal_is_never_repeated() -> None:
    """What the PACS refuses for good waits for a person, with the PACS's words."""
    seen = Recorder(DeliveryRefused("0xA900: not its SOP class"))
    seen.run(RULES, FIRST)

    assert seen.noted == [Outcome("refused", "0xA900: not its SOP class")]
    assert not seen.enqueued


def test_an_unreachable_destination_is_tried_again_later() -> None:
    """The next try has the next number, the same beginning, and a delay."""
    seen = Recorder(DestinationUnavailable("no answer"))
    seen.run(RULES.model_copy(update={"give_up_after_s": 1e12}), FIRST)

    ((following, delay),) = seen.enqueued
    assert following == FIRST._replace(attempt=2)
    assert following.job_id == "study:1/deliver/pacs/2"
    assert 5 <= delay <= 6.25
    assert seen.noted[0].state == "waiting"


def test_after_the_configured_age_it_is_dead() -> None:
    """Dead letters are visible and stay until they are requeued."""
    seen = Recorder(DestinationUnavailable("no answer"))
    seen.run(RULES, FIRST)  # first tried years ago

    assert seen.noted[0].state == "dead"
    assert not seen.enqueued
