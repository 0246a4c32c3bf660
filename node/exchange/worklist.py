"""Work that a workflow manager asks for: claimed, done like any other study, and reported back.

One item is a chain of short jobs. The transaction UID by which this node owns the item is part of
the first job, so it is durable before the claim; each turn hands in the next one. So a claimed item
is never forgotten, whoever dies in between. The worklist is polled: a subscription would tell of
new items sooner, and of requests to cancel, which polling does not see.
"""

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from node.config import Deliver, DicomwebPeer, WorklistPeer
from node.dicom.dicomweb import ups
from node.dicom.reading.limits import InstanceFacts, uid
from node.errors import LumbarError, NotAssessable, RetryLater
from node.exchange.outbox import next_delay
from node.exchange.pull import DICOMWEB
from node.jobs import Desk, Step
from node.storage.rows import StudyRow

log = structlog.get_logger()

#: Seconds between two looks at a study that is being worked on.
LOOK_S = 5.0
#: How far a study in this state is, in percent.
PROGRESS = {"receiving": 20, "queued": 30, "running": 50, "delivering": 90}
ENDED = frozenset({"incomplete", "done", "rejected", "failed", "cancelled"})

#: What one turn hands on to the next; JSON.
Turn = dict[str, Any]


@dataclass
class Worklists:
    """The performer of every configured worklist.

    Attributes
    ----------
    worklists : sequence of WorklistPeer
    archives : sequence of DicomwebPeer
        Where inputs are fetched from, and where results go.
    desk : Desk
    rules : Deliver
        How long and how often what failed for now is repeated.
    station : str
        The AE title of this node.
    fetch, consider : callable
        As `node.exchange.pull.Pull` has them.
    study_of : callable
        A study's row in the index, or None.
    results_of : callable
        A study's UID to the objects that came of its last job.
    is_delivered : callable
        ``(study_uid, destination)``: whether they have arrived there.
    """

    worklists: Sequence[WorklistPeer]
    archives: Sequence[DicomwebPeer]
    desk: Desk
    rules: Deliver
    station: str
    fetch: Callable[[str, str], str]
    consider: Callable[[str, str], None]
    study_of: Callable[[str], StudyRow | None]
    results_of: Callable[[str], Sequence[InstanceFacts]]
    is_delivered: Callable[[str, str], bool]
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Poll each worklist in a thread of its own."""
        for peer in self.worklists:
            thread = threading.Thread(
                target=self._poll, args=(peer,), name=f"worklist {peer.name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop polling; claimed items go on at the next start."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def look(self, peer: WorklistPeer) -> None:
        """Hand in a job for each item that is scheduled; one that is known is not taken twice.

        Raises
        ------
        LumbarError
            When the worklist does not answer.
        """
        for item in ups.scheduled(peer):
            now = datetime.now(UTC).isoformat()
            transaction = f"2.25.{uuid.uuid4().int}"
            turn = {"phase": "claim", "number": 1, "attempt": 1, "since": now, "begun": now}
            self._enqueue(peer.name, uid(item), turn | {"transaction": transaction}, 0.0)

    def story(self, step: Step, peer: str, item: str, turn: Turn) -> None:
        """Take one turn for an item, and hand in the next."""
        following = step("turn", self._turn, peer, item, turn)
        if following is not None:
            step("next", self._enqueue, peer, item, *following)

    def _poll(self, peer: WorklistPeer) -> None:
        while True:
            try:
                self.look(peer)
            except LumbarError as error:
                log.warning("the worklist cannot be read", worklist=peer.name, reason=str(error))
            except Exception:
                log.exception("the worklist cannot be read", worklist=peer.name)
            if self._stopped.wait(peer.poll_s):
                return

    def _enqueue(self, peer: str, item: str, turn: Turn, delay_s: float) -> None:
        job_id = f"task/{peer}/{item}/{turn['number']}"
        self.desk.enqueue("task", job_id, peer, item, turn, delay_s=delay_s)

    def _turn(self, name: str, item: str, turn: Turn) -> tuple[Turn, float] | None:
        """Do what a turn is for; return the next turn and its delay, or None at the end."""
        say = log.bind(worklist=name, item=item, phase=turn["phase"])
        peer = next((p for p in self.worklists if p.name == name), None)
        if peer is None:
            say.error("the worklist is no longer in the configuration: the item is left as it is")
            return None
        phases: dict[str, Callable[[WorklistPeer, str, Turn], tuple[Turn, float] | None]] = {
            "claim": self._claim,
            "fetch": self._fetch,
            "watch": self._watch,
            "end": self._end,
        }
        try:
            return phases[turn["phase"]](peer, item, turn)
        except RetryLater as error:
            return self._again(turn, error)
        except (LumbarError, LookupError) as error:
            if turn["phase"] in {"claim", "end"}:
                say.error("the manager refuses: the item is left as it is", reason=str(error))
                return None
            return _next(turn, "end", why=str(error))

    def _again(self, turn: Turn, error: RetryLater) -> tuple[Turn, float] | None:
        """Return the same turn once more, later; or, when it took too long, the end."""
        say = log.bind(phase=turn["phase"], reason=str(error))
        age = (datetime.now(UTC) - datetime.fromisoformat(turn["since"])).total_seconds()
        delay = next_delay(turn["attempt"], age, self.rules)
        say.warning("a turn failed", next_try_s=delay)
        if delay is not None:
            again = {"number": turn["number"] + 1, "attempt": turn["attempt"] + 1}
            return turn | again, delay
        return None if turn["phase"] in {"claim", "end"} else _next(turn, "end", why=str(error))

    def _claim(self, peer: WorklistPeer, item: str, turn: Turn) -> tuple[Turn, float] | None:
        is_ours = ups.claim(peer, item, turn["transaction"])
        log.info("claimed" if is_ours else "not ours", worklist=peer.name, item=item)
        return _next(turn, "fetch") if is_ours else None

    def _fetch(self, peer: WorklistPeer, item: str, turn: Turn) -> tuple[Turn, float]:
        task = ups.read(peer, item)
        if len(task.study_uids) != 1:
            raise NotAssessable(
                f"the item names {len(task.study_uids)} studies as its input, it has to be one"
            )
        source = DICOMWEB + self._archive_of(peer, task).name
        study_uid = self.fetch(source, uid(task.study_uids[0]))
        self.consider(study_uid, source)
        return _next(turn, "watch", study_uid=study_uid, source=source)

    def _watch(self, peer: WorklistPeer, item: str, turn: Turn) -> tuple[Turn, float]:
        row = self.study_of(turn["study_uid"])
        if row is None:
            raise NotAssessable("none of its images could be read")
        # Another destination's trouble is not the manager's; a study that was done before this item
        # came is delivered once more.
        if row.state in {"done", "failed"} and self.is_delivered(turn["study_uid"], turn["source"]):
            return _next(turn, "end", why="")
        if row.state in ENDED - {"done"}:
            return _next(turn, "end", why=f"{row.state}: {'; '.join(row.reasons)}")
        if turn.get("said") != row.state:
            ups.progress(peer, item, turn["transaction"], PROGRESS.get(row.state, 0), row.state)
        return _next(turn, "watch", said=row.state, delay_s=LOOK_S)

    def _end(self, peer: WorklistPeer, item: str, turn: Turn) -> None:
        now = datetime.now(UTC)
        if turn["why"]:
            is_told = ups.cancel(peer, item, turn["transaction"], turn["why"], now)
        else:
            performed = ups.Performed(
                self.station,
                ups.read(peer, item).code,
                datetime.fromisoformat(turn["begun"]),
                now,
                self.results_of(turn["study_uid"]),
                self._archive(turn["source"].removeprefix(DICOMWEB)).url,
            )
            is_told = ups.complete(peer, item, turn["transaction"], performed)
        log.info("item ended", worklist=peer.name, item=item, reason=turn["why"], is_told=is_told)

    def _archive_of(self, peer: WorklistPeer, task: ups.Task) -> DicomwebPeer:
        """Return the archive that an item names, if it is one of ours; else the worklist's own.

        No other address is ever asked: a manager must not send this node anywhere it likes.
        """
        for archive in self.archives:
            base = archive.url.rstrip("/") + "/"
            if any(address.startswith(base) for address in task.addresses):
                return archive
        if peer.source is None:
            raise NotAssessable(
                "its input is at no configured archive: set worklist.source, or add the archive"
            )
        return self._archive(peer.source)

    def _archive(self, name: str) -> DicomwebPeer:
        for archive in self.archives:
            if archive.name == name:
                return archive
        raise LookupError(f"archive {name!r} is not in the configuration")


def _next(turn: Turn, phase: str, *, delay_s: float = 0.0, **more: Any) -> tuple[Turn, float]:
    now = datetime.now(UTC).isoformat()
    fresh = {"phase": phase, "number": turn["number"] + 1, "attempt": 1, "since": now}
    return turn | fresh | more, delay_s
