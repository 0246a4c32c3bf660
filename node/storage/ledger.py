"""The ledger of back-fills: which walk through which archive, what it found, how far it came."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from node.storage.engine import engine_of
from node.storage.schema import migrate
from node.storage.tables import backfill_files, backfill_studies, backfills

#: listed: not begun; fetching: its images are being brought in; waiting: handed in.
State = Literal[
    "listed", "fetching", "waiting", "done", "partial", "not_assessable", "failed", "known"
]
OPEN: tuple[State, ...] = ("fetching", "waiting")


@dataclass(frozen=True)
class Entry:
    """One study of a walk.

    Attributes
    ----------
    name : str
        What its archive calls it: its UID, or an Orthanc's own identifier.
    state : State
    study_uid : str or None
        Once it is known.
    reason : str
        Why it ended as it did.
    """

    name: str
    state: State
    study_uid: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Found:
    """A study that an archive holds, and some of its files where the archive is a folder tree."""

    name: str
    folder: str = ""
    files: tuple[str, ...] = ()


class Ledger:
    """One walk through one archive, kept in the index database.

    Opening it finds the walk that was not finished for the same archive and the same wishes, or
    begins one.

    Parameters
    ----------
    url : str
        SQLAlchemy URL of the index.
    source : str
    wanted : mapping
        The filters, as JSON values.
    """

    def __init__(self, url: str, source: str, wanted: Mapping[str, Any]) -> None:
        self._writer = engine_of(url)
        self._reader = self._writer.execution_options(writes=False)
        is_sqlite = self._writer.dialect.name == "sqlite"
        self._insert: Any = sqlite.insert if is_sqlite else postgresql.insert
        migrate(self._writer)
        told = json.dumps(dict(wanted), sort_keys=True)
        same = (backfills.c.source == source, backfills.c.wanted == told)
        query = select(backfills).where(*same, backfills.c.ended_at.is_(None))
        with self._writer.begin() as connection:
            row = connection.execute(query.order_by(backfills.c.run)).first()
            if row is None:
                values = {"source": source, "wanted": told, "started_at": datetime.now(UTC)}
                made = insert(backfills).values(values).returning(backfills.c.run)
                self.run: int = connection.execute(made).scalar_one()
            else:
                self.run = row.run
        #: Whether an earlier process began it.
        self.is_resumed = row is not None
        #: Whether all studies of the archive are in it.
        self.is_listed = row is not None and row.listed_at is not None

    def close(self) -> None:
        """Give the connections back."""
        self._writer.dispose()

    def list_all(self, pages: Iterable[Iterable[Found]]) -> Iterator[int]:
        """Write down what an archive holds, a transaction for each page; yield studies so far.

        A listing that was cut off begins anew; no study is begun before it is whole.
        """
        with self._writer.begin() as connection:
            connection.execute(delete(backfill_files).where(backfill_files.c.run == self.run))
        for page in pages:
            found = list(page)
            with self._writer.begin() as connection:
                self._add(connection, found)
            yield self.counts()["listed"]
        with self._writer.begin() as connection:
            its = backfills.c.run == self.run
            connection.execute(update(backfills).where(its).values(listed_at=datetime.now(UTC)))
        self.is_listed = True

    def _add(self, connection: Connection, found: list[Found]) -> None:
        studies = [
            {"run": self.run, "name": name, "state": "listed", "reason": ""}
            for name in dict.fromkeys(one.name for one in found)
        ]
        files = [
            {"run": self.run, "name": f.name, "folder": f.folder, "files": json.dumps(f.files)}
            for f in found
            if f.files
        ]
        if studies:
            row = self._insert(backfill_studies).on_conflict_do_nothing()
            connection.execute(row, studies)
        if files:
            connection.execute(insert(backfill_files), files)

    def begun(self) -> list[Entry]:
        """Return the studies that an earlier process began and that have no end."""
        its = (backfill_studies.c.run == self.run, backfill_studies.c.state.in_(OPEN))
        return self._entries(select(backfill_studies).where(*its))

    def next(self) -> Entry | None:
        """Return the next study to begin, or None when all are begun."""
        its = (backfill_studies.c.run == self.run, backfill_studies.c.state == "listed")
        query = select(backfill_studies).where(*its).order_by(backfill_studies.c.name).limit(1)
        return next(iter(self._entries(query)), None)

    def set(self, entry: Entry) -> None:
        """Write down how far a study is; of one that has ended its files are forgotten."""
        values = {"state": entry.state, "study_uid": entry.study_uid, "reason": entry.reason}
        studies, files = backfill_studies.c, backfill_files.c
        with self._writer.begin() as connection:
            its = (studies.run == self.run, studies.name == entry.name)
            connection.execute(update(backfill_studies).where(*its).values(values))
            if entry.state not in OPEN:
                its = (files.run == self.run, files.name == entry.name)
                connection.execute(delete(backfill_files).where(*its))

    def files(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield (folder, file name) of a study in a folder tree."""
        its = (backfill_files.c.run == self.run, backfill_files.c.name == name)
        query = select(backfill_files.c.folder, backfill_files.c.files).where(*its)
        with self._reader.connect() as connection:
            rows = connection.execute(query.order_by(backfill_files.c.id)).all()
        for folder, files in rows:
            yield from ((folder, file) for file in json.loads(files))

    def counts(self) -> Counter[str]:
        """Return how many studies are in each state."""
        its = backfill_studies.c
        query = select(its.state, func.count()).where(its.run == self.run).group_by(its.state)
        with self._reader.connect() as connection:
            return Counter({row[0]: row[1] for row in connection.execute(query)})

    def reasons(self, state: State) -> Counter[str]:
        """Return why studies ended in a state, each reason with its number of studies."""
        its = backfill_studies.c
        query = select(its.reason, func.count()).where(its.run == self.run, its.state == state)
        with self._reader.connect() as connection:
            rows = connection.execute(query.group_by(its.reason)).all()
        return Counter({row[0]: row[1] for row in rows})

    def end(self) -> None:
        """Close the walk: the next one of the same archive begins anew."""
        with self._writer.begin() as connection:
            its = backfills.c.run == self.run
            connection.execute(update(backfills).where(its).values(ended_at=datetime.now(UTC)))

    def _entries(self, query: Any) -> list[Entry]:
        with self._reader.connect() as connection:
            rows = connection.execute(query).all()
        return [Entry(row.name, row.state, row.study_uid, row.reason) for row in rows]
