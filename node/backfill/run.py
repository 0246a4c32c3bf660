"""One walk through an archive: a few studies at a time, each brought in and seen to its end."""

import re
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from node.backfill.archives import Collection, Files, Wanted
from node.errors import DiskFull, NotAssessable, Rejected, RetryLater
from node.storage.index import Index
from node.storage.ledger import Entry, Ledger, State
from node.storage.rows import StudyRow

POLL_S = 0.5
#: How often a study that its archive cannot hand out is asked for, and how long is waited between.
TRIES = 4
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0
#: How often is looked whether anybody works.
LOOK_S = 10.0
#: States of the index in which nothing more happens by itself.
ENDS = frozenset({"done", "rejected", "failed", "cancelled", "incomplete"})

_UID = re.compile(r"\b[0-9]+(?:\.[0-9]+){4,}\b")

T = TypeVar("T")
#: A study that has ended, or None: time has passed.
News = Entry | None


@dataclass
class Backfill:
    """The walk; `run` is called once.

    Attributes
    ----------
    archive : Collection
    ledger : Ledger
    index : Index
    at_once : int
        How many studies may be here without an end.
    hand_in : callable
        A study's UID: all its images are here.
    findings_of : callable
        A study's UID to its findings, as JSON.
    has_space, has_worker : callable
        Whether there is room for more images; whether anybody works on the queue.
    said : str
        Why the walk waits; empty while it goes on.
    """

    archive: Collection
    ledger: Ledger
    index: Index
    at_once: int
    hand_in: Callable[[str], None]
    findings_of: Callable[[str], dict[str, Any] | None]
    has_space: Callable[[], bool]
    has_worker: Callable[[], bool]
    said: str = ""
    _flight: dict[str, Entry] = field(default_factory=dict)
    _looked_at: float = 0.0

    @property
    def in_flight(self) -> int:
        """How many studies are here and have no end yet."""
        return len(self._flight)

    def listed(self, wanted: Wanted) -> Iterator[int]:
        """Write down what the archive holds, unless that is done; yield studies so far."""
        if not self.ledger.is_listed:
            yield from self.ledger.list_all(self.archive.pages(wanted))

    def run(self) -> Iterator[News]:
        """Bring in study after study, those first that an earlier process began."""
        for entry in self.ledger.begun():
            yield from self._begin(entry)
        while True:
            yield from self._landed()
            self._look_around()
            is_full = len(self._flight) >= self.at_once or not self.has_space()
            following = None if is_full else self.ledger.next()
            if following is not None:
                yield from self._begin(following)
            elif is_full or self._flight:
                yield from self._pause(POLL_S)
            else:
                self.ledger.end()
                return

    def _begin(self, entry: Entry) -> Iterator[News]:
        """Bring a study in and hand it in, unless the node has it already.

        Every line may be repeated: only missing images are fetched, and the same images are the
        same job.
        """
        try:
            if entry.state == "listed":
                study_uid, images = yield from self._patiently(self.archive.images, entry)
                entry = replace(entry, study_uid=study_uid)
                if self._has(study_uid, images):
                    yield self._end(entry, "known")
                    return
                entry = self._set(entry, "fetching")
            if entry.state == "fetching":
                study_uid = yield from self._patiently(self.archive.bring, entry)
                if self.index.study(study_uid) is None:
                    raise NotAssessable("none of its images can be read: lumbar-node quarantine")
                self.hand_in(study_uid)
        except (RetryLater, Rejected) as error:
            state: State = "not_assessable" if isinstance(error, NotAssessable) else "failed"
            yield self._end(entry, state, str(error))
        else:
            self._flight[entry.name] = self._set(entry, "waiting")

    def _has(self, study_uid: str, images: frozenset[str]) -> bool:
        if self.index.study(study_uid) is None:
            return False
        return images <= {row.sop_instance_uid for row in self.index.instances(study_uid)}

    def _patiently(self, ask: Callable[[str, Files], T], entry: Entry) -> Generator[News, None, T]:
        """Ask the archive until it answers; for one study alone it is not asked for ever."""
        tries, wait_s = 0, FIRST_WAIT_S
        while True:
            try:
                return ask(entry.name, self.ledger.files(entry.name))
            except RetryLater as error:
                # A silent archive or a full disk is not the fault of this study.
                tries += not isinstance(error, DiskFull) and self.archive.answers()
                if tries == TRIES:
                    raise
                self.said = str(error)
            yield from self._pause(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _pause(self, seconds: float) -> Iterator[News]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            yield from self._landed()
            yield None
            time.sleep(POLL_S)

    def _look_around(self) -> None:
        """Find out what keeps the walk, for a person to read."""
        now = time.monotonic()
        if not self.said and now - self._looked_at < LOOK_S:
            return
        self._looked_at, self.said = now, ""
        if not self.has_space():
            self.said = "the disk is nearly full: waiting until the node has released other images"
        elif self._flight and not self.has_worker():
            self.said = "no worker is alive: start `lumbar-node serve` or `lumbar-node work`"

    def _landed(self) -> Iterator[News]:
        """Yield the studies that have ended."""
        for entry in list(self._flight.values()):
            row = self.index.study(entry.study_uid or "")
            if row is not None and row.state in ENDS:
                del self._flight[entry.name]
                yield self._end(entry, *self._outcome(row))

    def _outcome(self, row: StudyRow) -> tuple[State, str]:
        if row.state == "rejected":
            return "not_assessable", "; ".join(row.reasons)
        findings = self.findings_of(row.study_uid)
        if row.state != "done" or findings is None:
            return "failed", "; ".join((row.state, *row.reasons))
        if findings["status"] == "complete":
            return "done", ""
        lacking = [f["reason"] for f in findings["findings"] if f["status"] == "not_assessed"]
        return "partial", "; ".join(findings["reasons"] or dict.fromkeys(lacking))

    def _end(self, entry: Entry, state: State, reason: str = "") -> Entry:
        # Without names of single studies, so that equal reasons can be counted.
        return self._set(replace(entry, reason=_UID.sub("…", reason)), state)

    def _set(self, entry: Entry, state: State) -> Entry:
        entry = replace(entry, state=state)
        self.ledger.set(entry)
        return entry
