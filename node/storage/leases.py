"""Which workers are alive: each renews a row, by the clock of the database they share.

The engine does not notice that another worker died; what tells is a lease that is not renewed. A
worker of this very machine whose process is gone is known to be dead at once.
"""

import os
import socket
import time
from collections import deque
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    literal_column,
    select,
    update,
)

from node.storage.engine import create_tables, engine_of

#: The database's own clock, in seconds: the clocks of several hosts differ.
CLOCKS = {
    "sqlite": "(julianday('now') * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())::float8",
}

#: Renewals whose silences are remembered, and the most patience asked for, in limits.
_REMEMBERED = 60
_MOST_PATIENCE = 10.0

metadata = MetaData()

leases = Table(
    "worker_leases",
    metadata,
    Column("worker", String(128), primary_key=True),
    Column("host", String(64), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("renewed", Float(53), nullable=False),
)


class Leases:
    """The leases of all workers, and this process's own.

    Parameters
    ----------
    url : str
        SQLAlchemy URL of the database that the workers share.
    version : str
        Of this worker.
    limit_s : float
        A lease not renewed for longer (s) is a dead worker's. A false alarm costs a second run of
        the same work, not a wrong result; a worker that was silent for long because its machine
        has too much to do asks for more patience, or two workers would take each other's jobs
        for ever.
    """

    def __init__(self, url: str, limit_s: float, version: str = "") -> None:
        self._engine = engine_of(url)
        self._now = clock_of(self._engine)
        self._limit_s = limit_s
        self._renewed_at: float | None = None
        self._silences: deque[float] = deque(maxlen=_REMEMBERED)
        self._host = _host()
        #: Never used again, so that nobody mistakes a successor for its predecessor.
        self.worker = f"{socket.gethostname()[:64]}-{uuid4().hex[:12]}:{version}"
        create_tables(self._engine, metadata)

    def renew(self) -> None:
        """Say that this process lives; forget who has been silent for very long."""
        own = leases.c.worker == self.worker
        renewed = self._now + self._patience()
        with self._engine.begin() as connection:
            if connection.execute(update(leases).where(own).values(renewed=renewed)).rowcount:
                return
            long_ago = leases.c.renewed < self._now - 100 * self._limit_s
            connection.execute(delete(leases).where(long_ago))
            row = {"worker": self.worker, "host": self._host, "pid": os.getpid()}
            connection.execute(insert(leases).values(**row, renewed=renewed))

    def living(self) -> frozenset[str]:
        """Return the workers that are alive.

        A lease from far in the future is left from before the clock was set back, and as good as
        none: a living worker renews its own at once.
        """
        limits = (self._now - self._limit_s, self._now + _MOST_PATIENCE * self._limit_s)
        fresh = select(leases).where(leases.c.renewed.between(*limits))
        with self._engine.execution_options(writes=False).connect() as connection:
            rows = connection.execute(fresh).all()
        return frozenset(r.worker for r in rows if not self._is_gone(r.worker, r.host, r.pid))

    def _patience(self) -> float:
        """Return how much longer (s) this lease has to hold: twice the longest silence of late."""
        before, self._renewed_at = self._renewed_at, time.monotonic()
        self._silences.append(self._renewed_at - before if before else 0.0)
        wanted = 2 * max(self._silences) - self._limit_s
        return min(max(0.0, wanted), _MOST_PATIENCE * self._limit_s)

    def release(self) -> None:
        """Give the own lease back: what this worker left undone is free for others."""
        with self._engine.begin() as connection:
            connection.execute(delete(leases).where(leases.c.worker == self.worker))
        self._engine.dispose()

    def _is_gone(self, worker: str, host: str, pid: int) -> bool:
        """Tell whether a worker of this host has no process; a reused pid only delays the news."""
        if host != self._host or worker == self.worker:
            return False
        if pid == os.getpid():  # a container's first process has the same number every time
            return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # there, under another user
            return False
        return False


def version_of(worker: str) -> str:
    """Return the version of a worker; none of those before versions were told has one."""
    return worker.partition(":")[2]


def clock_of(engine: Engine) -> ColumnElement[float]:
    """Return the time (s) by the database's own clock, as a part of a statement."""
    return literal_column(CLOCKS[engine.dialect.name], Float(53))


def clock_difference(url: str) -> float:
    """Return how far this machine's clock is ahead of the database's (s)."""
    engine = engine_of(url)
    try:
        with engine.connect() as connection:
            told = connection.scalar(select(clock_of(engine)))
            return time.time() - float(told or 0.0)
    finally:
        engine.dispose()


def _host() -> str:
    """Return what tells the processes of one machine, or container, from those of all others.

    A name alone does not: two machines may be called localhost, and a container sees other
    process numbers than its host.
    """
    parts = [socket.gethostname()]
    for place in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        path = Path(place)
        with suppress(OSError):  # another system than Linux
            parts.append(str(path.readlink()) if path.is_symlink() else path.read_text("ascii"))
    return sha256("|".join(parts).encode()).hexdigest()
