"""Jobs and index in one database, and whose turn it is."""

import re
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op

from node.errors import Misconfigured

revision = "0004"
down_revision = "0003"

#: With SQLite the jobs had a file of their own, beside that of the index.
_JOBS = "jobs.sqlite"
#: The tables in it: those of the engine, and the leases of the workers.
_TABLES = (
    "application_versions",
    "dbos_migrations",
    "notifications",
    "operation_outputs",
    "queues",
    "streams",
    "worker_leases",
    "workflow_events",
    "workflow_events_history",
    "workflow_input",
    "workflow_output",
    "workflow_schedules",
    "workflow_status",
)
_CREATE = re.compile(r"^CREATE (UNIQUE )?(TABLE|INDEX) ")
#: A worker renews its lease once a second.
_SILENCE_S = 5.0


def upgrade() -> None:
    """Bring the jobs in; the file they were in stays as it is, and is no longer used."""
    op.add_column(
        "studies", sa.Column("urgent", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column("studies", sa.Column("turn", sa.Integer))
    op.create_index("ix_studies_turn", "studies", ["state", "turn"])
    op.create_index("ix_studies_source_turn", "studies", ["state", "source", "turn"])
    connection = op.get_bind()
    if (file := _jobs_file(connection)) and file.exists():
        connection.execute(sa.text("ATTACH :file AS jobs"), {"file": str(file)})
        _wait_for_its_workers(connection)
        _copy(connection, "jobs", "main")


def downgrade() -> None:
    """Put the jobs back into their file."""
    connection = op.get_bind()
    if file := _jobs_file(connection):
        connection.execute(sa.text("ATTACH :file AS jobs"), {"file": str(file)})
        _drop(connection, "jobs")
        _copy(connection, "main", "jobs")
        _drop(connection, "main")
    op.drop_index("ix_studies_source_turn", "studies")
    op.drop_index("ix_studies_turn", "studies")
    op.drop_column("studies", "turn")
    op.drop_column("studies", "urgent")


def _jobs_file(connection: sa.Connection) -> Path | None:
    if connection.dialect.name != "sqlite":
        return None
    return Path(str(connection.engine.url.database)).with_name(_JOBS)


def _wait_for_its_workers(connection: sa.Connection) -> None:
    """Refuse while a worker of the version before is at work on the file."""
    silent = sa.text(
        f"SELECT max(renewed) < julianday('now') * 86400.0 - {_SILENCE_S} FROM jobs.worker_leases"  # noqa: S608
    )
    if not _objects(connection, "jobs", "worker_leases"):
        return
    for _ in range(10):
        if connection.scalar(silent) in (1, None):
            return
        time.sleep(1)
    raise Misconfigured("an older lumbar-node works in this folder: stop all its roles first")


def _copy(connection: sa.Connection, source: str, target: str) -> None:
    """Make the engine's tables as they are there, with their rows, then their indices."""
    for table in _TABLES:
        objects = _objects(connection, source, table)
        for kind, create in sorted(objects, reverse=True):
            connection.exec_driver_sql(_CREATE.sub(rf"CREATE \1\2 {target}.", create))
            if kind == "table":
                connection.exec_driver_sql(
                    f"INSERT INTO {target}.{table} SELECT * FROM {source}.{table}"  # noqa: S608
                )


def _drop(connection: sa.Connection, place: str) -> None:
    for table in _TABLES:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {place}.{table}")


def _objects(connection: sa.Connection, place: str, table: str) -> list[Any]:
    """Return what a table is made of: its own statement and those of its indices."""
    query = sa.text(
        f"SELECT type, sql FROM {place}.sqlite_master WHERE tbl_name = :table AND sql IS NOT NULL"  # noqa: S608
    )
    return [tuple(row) for row in connection.execute(query, {"table": table})]
