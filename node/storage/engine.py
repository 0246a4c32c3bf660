"""Connections to the node's database: SQLite or PostgreSQL, and how durable a commit is."""

from functools import partial
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, event, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import DBAPIError

#: Classes of SQLSTATE that say that the server, not the statement, is the trouble: connection
#: exceptions, and what an operator or a crash does (PostgreSQL's manual, appendix A).
_AWAY = ("08", "57P")

#: A connection on which a transaction is open; whoever opened it commits it.
Transaction = Connection
#: Of PostgreSQL's advisory locks: any number that no other software uses.
_LOCK = 0x6C756D63


def engine_of(url: str, *, flush: bool = True) -> Engine:
    """Return an engine whose transactions write, and are flushed to the disk or only whole."""
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": 30})
    event.listen(engine, "connect", partial(_set_up_sqlite, "FULL" if flush else "NORMAL"))
    event.listen(engine, "begin", _begin)
    return engine.execution_options(writes=True)


def is_away(error: Exception) -> bool:
    """Tell whether an error says that the database's server cannot be reached, or went away.

    The same again is right once it is back. SQLite has no server and is never away.
    """
    if not isinstance(error, DBAPIError):
        return False
    # psycopg gives no state for a connection that cannot be made, or ended without a word.
    state = getattr(error.orig, "sqlstate", "")
    return error.connection_invalidated or state is None or state.startswith(_AWAY)


def create_tables(engine: Engine, tables: MetaData) -> None:
    """Create tables that are not there; processes that start together wait for each other."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        tables.create_all(connection)


def _set_up_sqlite(synchronous: str, connection: Any, _record: object) -> None:
    """Let readers pass writers (WAL), and make a commit durable (FULL) or only whole (NORMAL)."""
    connection.isolation_level = None  # this module says when a transaction begins
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """Take the write lock at once where something is written: a lock cannot be raised later."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
