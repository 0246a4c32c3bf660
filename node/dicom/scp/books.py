"""The listener's books: who is connected, what came, and who waits for a storage commitment.

An instance is durable before it is entered here; its index row follows (`rows`). An association
counts as open until its last row is written, so whoever asks never sees a study as silent while
rows of it are on their way.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import structlog

from node.dicom.audit import Event, Note
from node.dicom.commitment import Asked, Commitments, Holding, NoCommitments
from node.dicom.intake import Register
from node.dicom.pledge import Keep, Reported
from node.dicom.scp.admission import Gate, Refusal
from node.dicom.scp.rows import Rows
from node.dicom.upper_layer import pdu
from node.spine.instances import InstanceRow

log = structlog.get_logger()

#: Names an association: the acceptor it came to, and a number there.
Key = tuple[int, int]


@dataclass(frozen=True)
class Peer:
    """Who is at the other end of an association, as far as it said.

    Attributes
    ----------
    address : str
        IP address.
    calling_ae, called_ae : str
    """

    address: str
    calling_ae: str = ""
    called_ae: str = ""


@dataclass
class _Open:
    """An association that is open, or has rows on their way."""

    peer: Peer
    studies: set[str] = field(default_factory=set)
    urgent: set[str] = field(default_factory=set)  # those of them that are known to be
    asked: dict[str, Asked] = field(default_factory=dict)  # commitments, by transaction


class Books:
    """Kept by one process for all acceptors; every method may be called from any thread.

    Parameters
    ----------
    max_associations : int
        How many may be open at once.
    gate : admission.Gate
        Who may enter.
    register : intake.Register
        Where rows go.
    note : callable, optional
        Records, in the audit trail, an event and the SOP class it was about.
    commitments : commitment.Commitments, optional
        Who answers storage commitment; none: requests are refused.
    keep : callable, optional
        What keeps the reports of destinations; none: nobody has asked for any.
    """

    def __init__(
        self,
        max_associations: int,
        gate: Gate,
        register: Register,
        note: Note = lambda *_: None,
        commitments: Commitments | None = None,
        *,
        keep: Keep = lambda _: False,
    ) -> None:
        self._keep = keep
        self._commitments = commitments or NoCommitments()
        self._max_associations = max_associations
        self._gate = gate
        self._note = note
        self._lock = threading.Lock()
        self._open: dict[Key, _Open] = {}
        self._counts: Counter[str] = Counter()
        self._rows = Rows(register, self._count)
        self._urge = register.urge

    def start(self) -> None:
        """Begin to write rows."""
        self._rows.start()

    def stop(self) -> None:
        """Write what has come, then end."""
        self._rows.stop()

    @property
    def counts(self) -> dict[str, int]:
        """What happened to instances since the start."""
        with self._lock:
            return dict(self._counts)

    def open_associations(self, study_uid: str) -> int:
        """Return how many associations are open, or not yet written, that sent a study."""
        with self._lock:
            return sum(study_uid in one.studies for one in self._open.values())

    def receiving(self) -> frozenset[str]:
        """Return the studies that open, or not yet written, associations have sent."""
        with self._lock:
            return frozenset().union(*(one.studies for one in self._open.values()))

    # -- what acceptors say -----------------------------------------------------------------------

    def opened(self, key: Key, peer: Peer) -> Refusal | None:
        """Enter an association, or say why it is refused."""
        refusal = self._gate.enter(key, peer.calling_ae, peer.called_ae, peer.address)
        with self._lock:
            if refusal is None and len(self._open) >= self._max_associations:
                why = f"{len(self._open)} associations are open: listen.max_associations"
                refusal = Refusal(*pdu.NO_ROOM, why)
                self._gate.leave(key)
            if refusal is None:
                self._open[key] = _Open(peer)
                return None
        self._turn_away(peer, refusal.why)
        return refusal

    def turned_away(self, key: Key, address: str, why: str) -> None:  # noqa: ARG002
        """Log a peer that did not get as far as a request."""
        self._turn_away(Peer(address), why)

    def stored(self, key: Key, row: InstanceRow, is_urgent: bool) -> None:
        """Enter an instance that is durable, and whether it was sent as urgent."""
        with self._lock:
            one = self._open[key]
            one.studies.add(row.study_uid)
            is_news = is_urgent and row.study_uid not in one.urgent
            if is_news:
                one.urgent.add(row.study_uid)
        self._rows.put(row)
        if is_news:
            self._rows.behind(partial(self._safely, self._urge, row.study_uid))
        peer = one.peer
        self._note(
            Event("received", peer.calling_ae, peer.address, row.study_uid), row.sop_class_uid
        )

    def ignored(self, key: Key) -> None:  # noqa: ARG002 - the others need it
        """Count an instance that nobody keeps."""
        self._count(["ignored"])

    def refused(self, key: Key, count: str, reason: str, status: int) -> None:
        """Count and log an instance that was not taken."""
        self._count([count])
        peer = self._peer(key)
        log.warning("instance refused", reason=reason, status=f"0x{status:04X}", **_who(peer))

    def broken(self, key: Key, reason: str) -> None:
        """Log an association that ended in a way it should not."""
        log.warning("association aborted", reason=reason, **_who(self._peer(key)))

    def closed(self, key: Key) -> "Future[None]":
        """Close an association; the future is done once all its rows are in the index."""
        self._gate.leave(key)
        with self._lock:
            one = self._open.get(key)
            asked = list(one.asked.values()) if one else []
        if one is not None and asked:
            one.asked.clear()
            for request in asked:
                self._safely(self._commitments.untold, one.peer.calling_ae, request)
        if one is not None and one.studies:
            return self._rows.behind(partial(self._forget, key))
        self._forget(key)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def lost(self, acceptor: int) -> None:
        """Close the associations of an acceptor that has ended."""
        with self._lock:
            keys = [key for key in self._open if key[0] == acceptor]
        for key in keys:
            self.closed(key)

    # -- storage commitment -----------------------------------------------------------------------

    def commit(self, key: Key, asked: Asked) -> bool:
        """Take on a request; say whether that worked."""
        peer = self._peer(key)
        if not self._safely(self._commitments.take, peer.calling_ae, asked):
            return False
        with self._lock:
            if key in self._open:
                self._open[key].asked[asked.transaction_uid] = asked
        return True

    def holdings(self, key: Key, sop_instance_uids: Sequence[str]) -> "Future[Any]":  # noqa: ARG002
        """Return where instances are, once every row that has come is written."""
        return self._rows.behind(partial(self._look_up, sop_instance_uids))

    def told(self, key: Key, transaction_uid: str) -> None:
        """Note that the peer knows the outcome of a request."""
        with self._lock:
            if key in self._open:
                self._open[key].asked.pop(transaction_uid, None)
        self._safely(self._commitments.told, self._peer(key).calling_ae, transaction_uid)

    def reported(self, key: Key, report: Reported) -> bool | None:
        """Keep a report of a destination; False: nobody asked for it, None: it failed."""
        who = _who(self._peer(key))
        try:
            is_known = self._keep(report)
        except Exception:
            log.exception("a storage commitment report cannot be kept", **who)
            return None
        if not is_known:
            log.warning("a storage commitment report that nobody asked for", **who)
        return is_known

    def _look_up(self, sop_instance_uids: Sequence[str]) -> Mapping[str, Holding] | None:
        try:
            return self._commitments.holdings(sop_instance_uids)
        except Exception:
            log.exception("storage commitment does not work")
            return None

    def _safely(self, function: Callable[..., None], *arguments: Any) -> bool:
        """Call; say whether it worked. The line to an acceptor must not end with a database."""
        try:
            function(*arguments)
        except Exception:
            log.exception("what a peer asked for does not work", what=function.__name__)
            return False
        return True

    def _forget(self, key: Key) -> None:
        with self._lock:
            self._open.pop(key, None)

    def _turn_away(self, peer: Peer, why: str) -> None:
        log.warning("association refused", why=why, **_who(peer))
        self._note(Event("refused", peer.calling_ae, peer.address, failure=why), "")

    def _peer(self, key: Key) -> Peer:
        with self._lock:
            return self._open[key].peer if key in self._open else Peer("unknown")

    def _count(self, what: Iterable[str]) -> None:
        with self._lock:
            self._counts.update(what)


def _who(peer: Peer) -> dict[Literal["calling_ae", "address"], str]:
    return {"calling_ae": peer.calling_ae, "address": peer.address}
