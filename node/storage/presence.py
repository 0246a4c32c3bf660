"""Which listeners share a database, and what each of them is receiving: who may decide, and when.

An open association is known to the process that serves it. Each listener says twice a second which
studies its open associations have sent, so that no other takes one of them for complete.
"""

import json
import threading
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from uuid import uuid4

import structlog
from sqlalchemy import Column, Float, MetaData, String, Table, Text, delete, insert, select, update

from node.storage.engine import create_tables, engine_of
from node.storage.leases import clock_of

log = structlog.get_logger()

EVERY_S = 0.5

metadata = MetaData()

listeners = Table(
    "listeners",
    metadata,
    Column("listener", String(32), primary_key=True),
    Column("renewed", Float(53), nullable=False),
    Column("studies", Text, nullable=False),
)


class Alone:
    """A listener that shares its database with no other."""

    def start(self) -> None:
        """Nobody has to hear of it."""

    def stop(self) -> None:
        """Nobody has to hear of it."""

    def elsewhere(self, study_uid: str) -> int:  # noqa: ARG002
        """Return how many other listeners have an open association that sent a study."""
        return 0

    def decides(self, study_uid: str) -> bool:  # noqa: ARG002
        """Tell whether this listener decides about a study."""
        return True


class Presence(Alone):
    """This listener among those of the same database.

    Parameters
    ----------
    url : str
        SQLAlchemy URL of the database that the listeners share.
    limit_s : float
        Who was silent for longer (s) is gone; others decide about its studies.
    receiving : callable
        Returns the UIDs of the studies that open associations here have sent.
    """

    def __init__(self, url: str, limit_s: float, receiving: Callable[[], Collection[str]]) -> None:
        self._engine = engine_of(url)
        self._now = clock_of(self._engine)
        self._limit_s = limit_s
        self._receiving = receiving
        #: Never used again, so that nobody mistakes a successor for its predecessor.
        self.listener = uuid4().hex
        self._others: Mapping[str, frozenset[str]] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        create_tables(self._engine, metadata)

    def start(self) -> None:
        """Say that this listener is here, and hear of the others, before anybody decides."""
        self.tell()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Leave: others decide at once."""
        if self._thread is None:
            return
        self._stopped.set()
        self._thread.join()
        own = listeners.c.listener == self.listener
        with self._engine.begin() as connection:
            connection.execute(delete(listeners).where(own))
        self._engine.dispose()

    def tell(self) -> None:
        """Write what is being received here, and read what is being received elsewhere."""
        own = listeners.c.listener == self.listener
        row = {"studies": json.dumps(sorted(self._receiving())), "renewed": self._now}
        long_ago = listeners.c.renewed < self._now - 100 * self._limit_s
        with self._engine.begin() as connection:
            if not connection.execute(update(listeners).where(own).values(row)).rowcount:
                connection.execute(delete(listeners).where(long_ago))
                connection.execute(insert(listeners).values(listener=self.listener, **row))
            # From the future is a row of before the database's clock was set back.
            fresh = listeners.c.renewed.between(
                self._now - self._limit_s, self._now + self._limit_s
            )
            living = select(listeners).where(~own, fresh)
            found = connection.execute(living).all()
        self._others = {one.listener: frozenset(json.loads(one.studies)) for one in found}

    def elsewhere(self, study_uid: str) -> int:
        """Return how many other listeners have an open association that sent a study."""
        return sum(study_uid in studies for studies in self._others.values())

    def decides(self, study_uid: str) -> bool:
        """Tell whether this listener decides about a study; all that are here agree on one.

        Each listener has a number for each study, and the highest decides: studies spread evenly,
        and those of one that goes are spread over the others.
        """
        here = _weight(self.listener, study_uid)
        return all(_weight(other, study_uid) < here for other in self._others)

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            try:
                self.tell()
            except Exception:  # noqa: BLE001 - whatever it is, the database is away for now
                log.warning("the other listeners cannot be seen; it is tried again")


def _weight(listener: str, study_uid: str) -> str:
    return sha256(f"{listener} {study_uid}".encode()).hexdigest()
