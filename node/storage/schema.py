"""Bring the tables of the index to the version this code needs, or back to an older one."""

from sqlalchemy import Connection, Engine, inspect, text

from node.errors import Misconfigured

#: What `node.storage.tables` describes; the last file of ``migrations/versions``.
REVISION = "0007"
#: Of PostgreSQL's advisory locks: any number that no other software uses.
_LOCK = 0x6C756D62


def revision_of(connection: Connection) -> str | None:
    """Return the version of the tables; None when there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def migrate(engine: Engine, revision: str = REVISION) -> tuple[str | None, str]:
    """Change the tables step by step, in one transaction; processes that start together wait.

    Parameters
    ----------
    engine : Engine
        Of the index; a SQLite engine has to take the write lock when a transaction begins.
    revision : str
        Newer or older than what is there.

    Returns
    -------
    (before, now)

    Raises
    ------
    Misconfigured
        When this code does not know the version that is there, or the one that is wanted.
    """
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            before = revision_of(connection)
            if before != revision:
                _run(connection, before, revision)
    finally:
        engine.dispose()  # lets go of what a change has attached to its connection
    return before, revision


def _run(connection: Connection, before: str | None, revision: str) -> None:
    # Imported here, since it takes half a second that only the first start of a version needs.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "node.storage:migrations")
    config.attributes["connection"] = connection
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if before is not None and before not in known:
        raise Misconfigured(
            f"the database is of version {before}, made by a newer lumbar-node; with that one run "
            f"`lumbar-node migrate --to {known[0]}`, or install it again"
        )
    if revision not in known:
        raise Misconfigured(f"there is no version {revision}; known are {', '.join(known)}")
    forward = before is None or known.index(revision) < known.index(before)
    try:
        (command.upgrade if forward else command.downgrade)(config, revision)
    except CommandError as error:
        raise Misconfigured(f"the database cannot become version {revision}: {error}") from error
