"""What the node knows about instances, studies and deliveries, in SQLite or PostgreSQL.

Instances are derived data: `Index.rebuild` recreates them from the archive. States, reasons and
deliveries are the node's own memory and live only here.
"""

import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal, TypeVar

import structlog
from sqlalchemy import (
    case,
    delete,
    exists,
    not_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from node.config import BACKFILL
from node.errors import Rejected
from node.spine.instances import InstanceRow, StoredFile, input_hash
from node.storage.engine import Transaction, engine_of
from node.storage.schema import migrate
from node.storage.tables import (
    REOPENED,
    TRANSITIONS,
    conflicts,
    deleted_results,
    deliveries,
    instances,
    released,
    studies,
)
from node.storage.turns import Priority, next_turn

log = structlog.get_logger()

_AT_ONCE = 500  # values of one IN (...); SQLite takes 32,766

#: What proves a delivery, best first (`node.exchange.proving`).
PROOFS = ("commitment", "query", "status")

Outcome = Literal["new", "duplicate", "conflict"]
T = TypeVar("T")


@dataclass(frozen=True)
class LastRun:
    """How the last run of a study began and ended.

    Attributes
    ----------
    started : tuple of str
        Why; read by people.
    used : str
        The fingerprint of the series that were chosen.
    ended : str
        The state it ended in; empty before.
    """

    started: tuple[str, ...]
    used: str
    ended: str = ""


@dataclass(frozen=True)
class StudyRow:
    """One line of the work list.

    Attributes
    ----------
    study_uid : str
    state : str
        receiving, incomplete, queued, running, delivering, done, rejected, failed or cancelled.
    reasons : tuple of str
        Why it is in this state; read by people.
    job_id : str or None
        The workflow that works, or worked, on it.
    source : str
        Who sent the first image.
    first_received, last_received : datetime
        UTC.
    instances : int
    last_run : LastRun or None
        None before the first.
    urgent : bool
        Some of its images were sent as urgent.
    """

    study_uid: str
    state: str
    reasons: tuple[str, ...]
    job_id: str | None
    source: str
    first_received: datetime
    last_received: datetime
    instances: int
    last_run: LastRun | None = None
    urgent: bool = False

    @property
    def started(self) -> tuple[str, ...]:
        """Why the last run was started; empty before the first."""
        return self.last_run.started if self.last_run else ()


@dataclass(frozen=True)
class DeliveryRow:
    """The results of one job on their way to one destination.

    Attributes
    ----------
    proof : str
        What proves that they are there: "commitment", "query" or "status"; empty: nothing yet.
    proof_note : str
        What stands in the way of a better proof, or of any; read by people.
    """

    job_id: str
    study_uid: str
    destination: str
    state: str
    attempts: int
    message: str
    updated_at: datetime
    proof: str = ""
    proof_note: str = ""


class Index:
    """The index database; safe to use from several threads and processes.

    Parameters
    ----------
    url : str
        SQLAlchemy URL. A SQLite file has to be on a local disk, not on NFS.
    changed : callable
        Called with the UID of a study whose state is being set, in that transaction: what it
        writes through it is written together with the state or not at all.
    """

    def __init__(
        self, url: str, changed: Callable[[str, Transaction], None] = lambda *_: None
    ) -> None:
        self._changed = changed
        self._open = threading.local()
        self._writer = engine_of(url)
        self._engine = self._writer.execution_options(writes=False)
        self._unflushed = engine_of(url, flush=False)
        # Both dialects know INSERT ... ON CONFLICT, by the same names.
        self._insert: Any = (
            sqlite.insert if self._engine.dialect.name == "sqlite" else postgresql.insert
        )
        # Made once: making them costs more than running them. RETURNING, since psycopg does not
        # count the rows of such an insert.
        add = self._insert(instances).on_conflict_do_nothing()
        self._add = add.returning(instances.c.sop_instance_uid)
        self._count_in = self._counting()
        migrate(self._writer)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
        self._unflushed.dispose()

    @contextmanager
    def together(self) -> Iterator[Transaction]:
        """Make what this thread reads and changes inside one transaction; nested, it is the same.

        Whatever else writes to this database inside has to do so through the transaction it
        yields: SQLite has one writer at a time.
        """
        within: Transaction | None = getattr(self._open, "transaction", None)
        if within is not None:
            yield within
            return
        with self._writer.begin() as transaction:
            self._open.transaction = transaction
            try:
                yield transaction
            finally:
                self._open.transaction = None

    def add_instance(self, row: InstanceRow) -> Outcome:
        """Add one instance; see `add_instances`."""
        return self.add_instances([row])[0]

    def add_instances(self, rows: Sequence[InstanceRow]) -> list[Outcome]:
        """Add instances and bring their studies up to date, in one transaction.

        With SQLite it is not flushed to the disk: rows that a power cut takes back are rebuilt
        from the archive at the next start, and later changes of other kinds take them along. A
        PostgreSQL server may crash alone, while its listeners run on: there it is flushed.

        Returns
        -------
        list
            For each row "new", "duplicate" (same UID, same bytes) or "conflict" (same UID, other
            bytes: the first stays, the second is noted).
        """
        first: dict[str, InstanceRow] = {}
        for row in rows:
            first.setdefault(row.sop_instance_uid, row)
        with self._unflushed.begin() as connection:
            values = [asdict(row) for row in first.values()]
            new = set(connection.execute(self._add, values).scalars())
            for study in _by_study([first[uid] for uid in first if uid in new]):
                connection.execute(self._count_in, _counted(study))
            if len(new) == len(rows):
                return ["new"] * len(rows)
            self._take_back(connection, rows)
            return self._sort_out(connection, rows, {uid: first[uid] for uid in new})

    def _sort_out(
        self, connection: Transaction, rows: Sequence[InstanceRow], new: dict[str, InstanceRow]
    ) -> list[Outcome]:
        """Tell what each row is when not all are new, and note the conflicts."""
        uids = {row.sop_instance_uid for row in rows}
        query = select(instances.c.sop_instance_uid, instances.c.sha256).where(
            instances.c.sop_instance_uid.in_(uids)
        )
        kept = {row[0]: row[1] for row in connection.execute(query)}
        outcomes: list[Outcome] = []
        for row in rows:
            if new.get(row.sop_instance_uid) is row:
                outcomes.append("new")
            elif kept[row.sop_instance_uid] == row.sha256:
                outcomes.append("duplicate")
            else:
                outcomes.append("conflict")
                note = {column.name: getattr(row, column.name) for column in conflicts.columns}
                connection.execute(self._insert(conflicts).values(note).on_conflict_do_nothing())
        return outcomes

    def _take_back(self, connection: Transaction, rows: Sequence[InstanceRow]) -> None:
        """Note that released files came again; a study that waited for them is looked at."""
        hashes = {row.sha256: row for row in rows}
        back = delete(released).where(released.c.sha256.in_(hashes)).returning(released.c.sha256)
        for study in _by_study([hashes[sha] for sha in connection.execute(back).scalars()]):
            waits = studies.c.state == "incomplete"
            connection.execute(
                update(studies)
                .where(studies.c.study_uid == study[0].study_uid)
                .values(
                    last_received=datetime.now(UTC),
                    released_at=None,
                    state=case((waits, "receiving"), else_=studies.c.state),
                )
            )

    def release(self, study_uid: str) -> list[str]:
        """Note that the files of a study are no longer kept; return their content hashes."""
        kept = select(instances.c.sha256, instances.c.study_uid).where(
            instances.c.study_uid == study_uid
        )
        other = select(conflicts.c.sha256, conflicts.c.study_uid).where(
            conflicts.c.study_uid == study_uid
        )
        now = datetime.now(UTC)
        its = studies.c.study_uid == study_uid
        with self._writer.begin() as connection:
            # First: an image that arrives now waits for this, and takes it back.
            connection.execute(update(studies).where(its).values(released_at=now))
            found = connection.execute(kept.union(other)).all()
            values = [{"sha256": r[0], "study_uid": r[1], "released_at": now} for r in found]
            if values:
                row = self._insert(released).on_conflict_do_nothing()
                connection.execute(row, values)
        return [value["sha256"] for value in values]

    def released(self, study_uid: str) -> frozenset[str]:
        """Return the content hashes of the files of a study that are no longer kept."""
        query = select(released.c.sha256).where(released.c.study_uid == study_uid)
        return frozenset(row[0] for row in self._read(query))

    def released_of(self, hashes: Sequence[str]) -> frozenset[str]:
        """Return those of some content hashes, at most 500, whose files are no longer kept."""
        query = select(released.c.sha256).where(released.c.sha256.in_(hashes))
        return frozenset(row[0] for row in self._read(query))

    def walked(self) -> tuple[str, ...]:
        """Return the studies of a back-fill that have ended and whose files are still kept.

        The archive that was walked through has them; no delivery of theirs is open or failed.
        """
        its = deliveries.c.job_id == studies.c.job_id
        query = select(studies.c.study_uid).where(
            studies.c.released_at.is_(None),
            studies.c.state.in_(("done", "rejected")),
            studies.c.source.startswith(f"{BACKFILL}:"),
            not_(exists().where(its, deliveries.c.state != "delivered")),
        )
        return tuple(row[0] for row in self._read(query))

    def delivered_before(self, when: datetime, proofs: Collection[str] = PROOFS) -> tuple[str, ...]:
        """Return the studies that need their files no longer, the oldest first.

        They have ended, the delivery of every result has been proven, the last one before
        ``when``, as was the last image received, and some of their files are still kept.

        Parameters
        ----------
        when : datetime
        proofs : collection of str
            What counts as proven.
        """
        query = (
            select(studies.c.study_uid)
            .where(
                *_is_proven(when, proofs),
                studies.c.released_at.is_(None),
            )
            .order_by(studies.c.last_received)
        )
        return tuple(row[0] for row in self._read(query))

    def results_due(self, when: datetime, proofs: Collection[str] = PROOFS) -> tuple[str, ...]:
        """Return the jobs whose results need not be kept, those that were superseded too.

        Every one of their deliveries has been proven before ``when``, as have those of their
        study's present job, and their results have not been deleted yet.
        """
        query = (
            select(deliveries.c.job_id)
            .distinct()
            .join(studies, studies.c.study_uid == deliveries.c.study_uid)
            .where(
                *_is_proven(when, proofs),
                not_(_open_or_young(deliveries.c.job_id, when, proofs)),
                not_(exists().where(deleted_results.c.job_id == deliveries.c.job_id)),
            )
            .order_by(deliveries.c.job_id)
        )
        return tuple(row[0] for row in self._read(query))

    def note_results_deleted(self, job_id: str, when: datetime) -> None:
        """Note that the results of a job are no longer kept."""
        row = self._insert(deleted_results).values(job_id=job_id, deleted_at=when)
        with self.together() as transaction:
            transaction.execute(row.on_conflict_do_nothing())

    def results_deleted(self, job_id: str) -> datetime | None:
        """Return when the results of a job were deleted; None when they were not."""
        query = select(deleted_results.c.deleted_at).where(deleted_results.c.job_id == job_id)
        found = self._read(query)
        return found[0][0] if found else None

    def rebuild(
        self, files: Iterable[StoredFile], read: Callable[[StoredFile], InstanceRow]
    ) -> int:
        """Add the instances of all files that are not in the index; return how many are new.

        Cheap where nothing is missing, so it can run at every start: after a crash it finds the
        files that were stored and not yet indexed.

        Parameters
        ----------
        files : iterable of StoredFile
            Everything in the archive, oldest first, since the first of a UID is the one kept.
        read : callable
            Reads the row of a file; what it finds `Rejected` is reported and left out.
        """
        kept, added = self._kept_files(), 0
        for some in batches(file for file in files if file.sha256 not in kept):
            gone = self.released_of([file.sha256 for file in some])
            for file in some:
                if file.sha256 in gone:
                    continue
                try:
                    added += self.add_instance(read(file)) == "new"
                except Rejected as error:
                    told = {"file": file.path, "reason": str(error)}
                    log.warning("a file of the archive is damaged", **told)
        return added

    def instances(self, study_uid: str) -> tuple[InstanceRow, ...]:
        """Return the instances of a study, in the order of their UIDs."""
        query = (
            select(instances)
            .where(instances.c.study_uid == study_uid)
            .order_by(instances.c.sop_instance_uid)
        )
        return tuple(InstanceRow(**row._mapping) for row in self._read(query))

    def instances_named(self, sop_instance_uids: Sequence[str]) -> tuple[InstanceRow, ...]:
        """Return the instances with these SOP Instance UIDs, as far as there are any."""
        found: list[InstanceRow] = []
        for start in range(0, len(sop_instance_uids), _AT_ONCE):
            some = sop_instance_uids[start : start + _AT_ONCE]
            query = select(instances).where(instances.c.sop_instance_uid.in_(some))
            found += (InstanceRow(**row._mapping) for row in self._read(query))
        return tuple(found)

    def conflicts(self, study_uid: str) -> tuple[tuple[str, str], ...]:
        """Return (SOP Instance UID, SHA-256) of what came under a UID that was taken."""
        query = select(conflicts.c.sop_instance_uid, conflicts.c.sha256).where(
            conflicts.c.study_uid == study_uid
        )
        return tuple((row[0], row[1]) for row in self._read(query))

    def input_hash(self, study_uid: str) -> str:
        """Return the SHA-256 over a study's sorted (SOP Instance UID, file hash) pairs."""
        return input_hash(self.instances(study_uid))

    def study(self, study_uid: str, *, lock: bool = False) -> StudyRow | None:
        """Return one study, or None when no instance of it was ever received.

        With ``lock``, inside `together`: nobody else changes it until that ends.
        """
        query = select(studies).where(studies.c.study_uid == study_uid)
        found = self._read(query.with_for_update() if lock else query)
        return _study(found[0]) if found else None

    def studies(self, limit: int = 100, *, state: str | None = None) -> tuple[StudyRow, ...]:
        """Return the studies that received an image last, newest first."""
        query = select(studies).order_by(studies.c.last_received.desc(), studies.c.study_uid)
        if state is not None:
            query = query.where(studies.c.state == state)
        return tuple(_study(row) for row in self._read(query.limit(limit)))

    def set_state(
        self, study_uid: str, state: str, reasons: Sequence[str] = (), job_id: str | None = None
    ) -> None:
        """Change a study's state; the job id stays when none is given.

        Raises
        ------
        LookupError
            When the study is unknown.
        ValueError
            When the study may not change to this state from the one it is in.
        """
        allowed = {state} | {old for old, new in TRANSITIONS.items() if state in new}
        values: dict[str, Any] = {"state": state, "reasons": json.dumps(list(reasons))}
        if job_id is not None:
            values["job_id"] = job_id
        if state != "queued":
            values["turn"] = None
        change = (
            update(studies)
            .where(studies.c.study_uid == study_uid, studies.c.state.in_(allowed))
            .values(values)
        )
        if state not in TRANSITIONS:
            raise ValueError(f"{state!r} is not a state of a study")
        with self.together() as transaction:
            if transaction.execute(change).rowcount == 1:
                self._changed(study_uid, transaction)
                return
        study = self.study(study_uid)
        if study is None:
            raise LookupError(f"study {study_uid} is not in the index")
        raise ValueError(f"study {study_uid} is {study.state}: it cannot become {state}")

    def set_reasons(self, study_uid: str, state: str, reasons: Sequence[str]) -> None:
        """Change why a study is in a state; nothing happens when it has left that state."""
        where = (studies.c.study_uid == study_uid, studies.c.state == state)
        with self.together() as transaction:
            told = json.dumps(list(reasons))
            transaction.execute(update(studies).where(*where).values(reasons=told))

    def set_last_run(self, study_uid: str, run: LastRun) -> None:
        """Keep how a run began or ended."""
        self._set(study_uid, last_run=asdict(run))

    def set_urgent(self, study_uid: str) -> None:
        """Note that images of a study were sent as urgent."""
        self._set(study_uid, urgent=True)

    def give_turn(self, study: StudyRow, priority: Priority) -> int:
        """Give a study that will be queued its place among those that wait; see `turns`."""
        with self.together() as transaction:
            turn = next_turn(transaction, study.source, priority)
            self._set(study.study_uid, turn=turn)
            return turn

    def _set(self, study_uid: str, **values: Any) -> None:
        with self.together() as transaction:
            where = studies.c.study_uid == study_uid
            transaction.execute(update(studies).where(where).values(values))

    def upsert_delivery(  # noqa: PLR0917
        self,
        job_id: str,
        study_uid: str,
        destination: str,
        state: str,
        attempts: int,
        message: str = "",
        *,
        proof: str = "",
        proof_note: str = "",
    ) -> None:
        """Note how far a delivery is; one row for each job and destination."""
        values = {
            "study_uid": study_uid,
            "state": state,
            "attempts": attempts,
            "message": message,
            "updated_at": datetime.now(UTC),
            "proof": proof,
            "proof_note": proof_note,
        }
        key = {"job_id": job_id, "destination": destination}
        row = self._insert(deliveries).values(key | values)
        with self.together() as transaction:
            transaction.execute(row.on_conflict_do_update(index_elements=list(key), set_=values))

    def set_proof(
        self, job_id: str, destination: str, attempts: int, proof: str, note: str
    ) -> None:
        """Note what proves a delivery; nothing happens when it was sent again since.

        Only commitment takes the place of another proof: two turns may end at the same moment.
        """
        its = [
            deliveries.c.job_id == job_id,
            deliveries.c.destination == destination,
            deliveries.c.attempts == attempts,
            deliveries.c.state == "delivered",
        ]
        if proof != PROOFS[0]:
            its.append(deliveries.c.proof == "")
        values = {"proof": proof, "proof_note": note, "updated_at": datetime.now(UTC)}
        with self.together() as transaction:
            transaction.execute(update(deliveries).where(*its).values(values))

    def deliveries(self, study_uid: str) -> tuple[DeliveryRow, ...]:
        """Return a study's deliveries, the one that changed last first."""
        query = (
            select(deliveries)
            .where(deliveries.c.study_uid == study_uid)
            .order_by(deliveries.c.updated_at.desc(), deliveries.c.destination)
        )
        return tuple(DeliveryRow(**row._mapping) for row in self._read(query))

    def _counting(self) -> Any:
        """Return the statement that counts new instances into their study; see `_counted`.

        A finished study is looked at again.
        """
        more = json.dumps(["more images arrived after the study was decided"])
        first = self._insert(studies)
        old, new = studies.c, first.excluded
        reopened = old.state.in_(REOPENED)
        later = new.last_received > old.last_received
        return first.on_conflict_do_update(
            index_elements=["study_uid"],
            set_={
                "instances": old.instances + new.instances,
                "last_received": case((later, new.last_received), else_=old.last_received),
                "released_at": None,
                "state": case((reopened, "receiving"), else_=old.state),
                "reasons": case((reopened, more), else_=old.reasons),
            },
        )

    def _kept_files(self) -> frozenset[str]:
        """Return the content hashes of everything that was received and not released."""
        here = instances.join(studies, studies.c.study_uid == instances.c.study_uid)
        kept = select(instances.c.sha256).select_from(here).where(studies.c.released_at.is_(None))
        return frozenset(row[0] for row in self._read(kept.union_all(select(conflicts.c.sha256))))

    def _read(self, query: Any) -> Sequence[Any]:
        within: Transaction | None = getattr(self._open, "transaction", None)
        if within is not None:
            return within.execute(query).all()
        with self._engine.connect() as connection:
            return connection.execute(query).all()


def _open_or_young(job_id: Any, when: datetime, proofs: Collection[str]) -> Any:
    """Return the condition that a job has a delivery which is not proven, or not long enough."""
    one = deliveries.alias()
    is_open = (one.c.state != "delivered") | one.c.proof.not_in(proofs)
    return exists().where(one.c.job_id == job_id, is_open | (one.c.updated_at >= when))


def _is_proven(when: datetime, proofs: Collection[str]) -> tuple[Any, ...]:
    """Return the conditions for a study that has ended and whose results are where they belong."""
    its = deliveries.alias()
    return (
        studies.c.state.in_(("done", "rejected")),
        studies.c.last_received < when,
        exists().where(its.c.job_id == studies.c.job_id),
        not_(_open_or_young(studies.c.job_id, when, proofs)),
    )


def _study(row: Any) -> StudyRow:
    values = dict(row._mapping)
    del values["turn"], values["released_at"]
    values["reasons"] = tuple(json.loads(values["reasons"]))
    if last := values.pop(studies.c.last_run.name):
        values["last_run"] = LastRun(
            tuple(last["started"]), last.get("used", ""), last.get("ended", "")
        )
    return StudyRow(**values)


def batches(many: Iterable[T]) -> Iterator[list[T]]:
    """Yield lists that are not too long for one question to a database."""
    rest = iter(many)
    while some := list(islice(rest, _AT_ONCE)):
        yield some


def _counted(rows: Sequence[InstanceRow]) -> dict[str, Any]:
    """Return the row of a study that begins with these instances."""
    return {
        "study_uid": rows[0].study_uid,
        "state": "receiving",
        "reasons": "[]",
        "source": rows[0].source,
        "first_received": min(row.received_at for row in rows),
        "last_received": max(row.received_at for row in rows),
        "instances": len(rows),
    }


def _by_study(rows: Sequence[InstanceRow]) -> list[list[InstanceRow]]:
    """Group rows, in an order in which no two writers can wait for each other."""
    groups: dict[str, list[InstanceRow]] = {}
    for row in rows:
        groups.setdefault(row.study_uid, []).append(row)
    return [groups[uid] for uid in sorted(groups)]
