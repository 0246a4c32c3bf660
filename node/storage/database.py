"""The index's connections: reading, and what is written together."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from node.storage.engine import Transaction, engine_of
from node.storage.schema import migrate


class Database:
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

    def _read(self, query: Any) -> Sequence[Any]:
        within: Transaction | None = getattr(self._open, "transaction", None)
        if within is not None:
            return within.execute(query).all()
        with self._engine.connect() as connection:
            return connection.execute(query).all()
