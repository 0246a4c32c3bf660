"""The received instances: each counts into its study; all can be rebuilt from the archive."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal, TypeVar

import structlog
from sqlalchemy import (
    case,
    delete,
    select,
    update,
)

from node.errors import Rejected
from node.spine.instances import InstanceRow, StoredFile, input_hash
from node.storage.database import Database
from node.storage.engine import Transaction
from node.storage.tables import (
    REOPENED,
    conflicts,
    instances,
    released,
    studies,
)

log = structlog.get_logger()

_AT_ONCE = 500  # values of one IN (...); SQLite takes 32,766

Outcome = Literal["new", "duplicate", "conflict"]
T = TypeVar("T")


class Instances(Database):
    """Instances of the index; see `index.Index`."""

    def __init__(
        self, url: str, changed: Callable[[str, Transaction], None] = lambda *_: None
    ) -> None:
        super().__init__(url, changed)
        # Made once: making them costs more than running them. RETURNING, since psycopg does not
        # count the rows of such an insert.
        add = self._insert(instances).on_conflict_do_nothing()
        self._add = add.returning(instances.c.sop_instance_uid)
        self._count_in = self._counting()

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

    def released_of(self, hashes: Sequence[str]) -> frozenset[str]:
        """Return those of some content hashes, at most 500, whose files are no longer kept."""
        query = select(released.c.sha256).where(released.c.sha256.in_(hashes))
        return frozenset(row[0] for row in self._read(query))


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
