"""The tables' history: forward, back, several processes at once, and a newer version refused."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from node.errors import Misconfigured
from node.storage.engine import engine_of
from node.storage.schema import REVISION, migrate, revision_of
from node.storage.tables import metadata

VERSIONS = Path(__file__).parents[2] / "node" / "storage" / "migrations" / "versions"
REVISIONS = sorted(path.name[:4] for path in VERSIONS.glob("0*.py"))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


def test_the_history_ends_in_the_tables_of_the_code(engine: Engine) -> None:
    """A change of a table without a migration is found here."""
    assert migrate(engine) == (None, REVISION)
    with engine.connect() as connection:
        compared = MigrationContext.configure(
            connection, opts={"compare_type": True, "target_metadata": metadata}
        )
        assert compare_metadata(compared, metadata) == []


def test_every_step_goes_back_and_forward_again(engine: Engine) -> None:
    """An administrator who has to go back to the version before can."""
    migrate(engine)
    for revision in (*reversed(REVISIONS), *REVISIONS):
        migrate(engine, revision)
        with engine.connect() as connection:
            assert revision_of(connection) == revision
            assert inspect(connection).has_table("studies")
    assert REVISIONS[-1] == REVISION


def test_a_newer_database_is_refused_and_left_alone(engine: Engine) -> None:
    """Old software never writes into tables it does not know."""
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Misconfigured, match="newer lumbar-node"):
        migrate(engine)
    with engine.connect() as connection:
        assert revision_of(connection) == "9999"


def test_an_unknown_version_is_refused(engine: Engine) -> None:
    """A typing error changes nothing."""
    migrate(engine)
    with pytest.raises(Misconfigured, match="no version 7"):
        migrate(engine, "7")


def test_processes_that_start_together_migrate_once(engine: Engine) -> None:
    """A listener, a worker and a web page meet an empty database at the same moment."""
    url = engine.url.render_as_string(hide_password=False)
    script = f"from node.storage.index import Index; Index({url!r}).close()"
    started = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]

    assert [process.wait(timeout=60) for process in started] == [0] * 4
