"""A node's past, made up: so many finished studies and their jobs, as rows of the database."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, MetaData, Table, text

from node.storage.engine import engine_of

#: Of each table of the index, the columns that differ from study to study.
INDEX = {
    "studies": ("study_uid", "job_id"),
    "instances": ("sop_instance_uid", "study_uid", "sha256"),
    "deliveries": ("job_id", "study_uid"),
    "deleted_results": ("job_id",),
    "released": ("sha256", "study_uid"),
}
#: The same of the engine, whose jobs are named after their study.
_OF_A_JOB = "workflow_status", "workflow_input", "workflow_output", "operation_outputs"
JOBS = dict.fromkeys(_OF_A_JOB, ("workflow_uuid",))
#: DBOS keeps its tables in a schema of this name where the database has schemas.
SCHEMA = "dbos"
_MOMENTS = {"last_received", "released_at", "updated_at", "deleted_at"}
#: So many seconds ago.
_PAST = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || {} || ' seconds')",
    "postgresql": "now() - {} * interval '1 second'",
}


def copy(url: str, tables: Mapping[str, Sequence[str]], count: int, start: int) -> None:
    """Repeat the first row, or the first job's rows, of each table.

    Parameters
    ----------
    url : str
        SQLAlchemy URL.
    tables : mapping
        `INDEX` or `JOBS`.
    count, start : int
        How many, numbered from ``start``.
    """
    engine = engine_of(url)
    with engine.begin() as connection:
        for name, differing in tables.items():
            table = _table(connection, name, is_job=tables is JOBS)
            _copy(connection, table, differing, count, start)
    if engine.dialect.name == "postgresql":  # as its autovacuum does; SQLite does so only when told
        with engine.begin() as connection:
            connection.execute(text("ANALYZE"))
    engine.dispose()


def _table(connection: Connection, name: str, *, is_job: bool) -> Table:
    schema = SCHEMA if is_job and connection.dialect.name == "postgresql" else None
    return Table(name, MetaData(), schema=schema, autoload_with=connection)


def _copy(
    connection: Connection, table: Table, differing: Sequence[str], count: int, start: int
) -> None:
    keys = [column.name for column in table.columns]
    first = differing[0]
    number = f"({start} + n.i)"
    cells = {key: f't."{key}"' for key in keys}
    cells |= dict.fromkeys(differing, f"'history-' || CAST({number} AS VARCHAR)")
    past = _PAST[connection.dialect.name].format(number)
    if table.name in INDEX:
        cells |= dict.fromkeys(_MOMENTS & cells.keys(), past)
    names = ", ".join(f'"{key}"' for key in cells)
    statement = (
        f"INSERT INTO {table.fullname} ({names}) "  # noqa: S608 - names of our own tables
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
        f"SELECT {', '.join(cells.values())} FROM n CROSS JOIN {table.fullname} t "
        f'WHERE t."{first}" = (SELECT MIN("{first}") FROM {table.fullname} '
        f"WHERE \"{first}\" NOT LIKE 'history-%')"
    )
    connection.execute(text(statement))
