"""The tables' history: forward, back, several processes at once, and a newer version refused."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from node.errors import Misconfigured
from node.jobs import Desk
from node.storage.engine import engine_of
from node.storage.leases import Leases
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


def test_what_was_delivered_before_there_was_a_proof_counts_as_delivered(engine: Engine) -> None:
    """After an upgrade old deliveries are proven by their status; what was on its way is not."""
    migrate(engine, "0004")
    row = (
        "INSERT INTO deliveries VALUES (:job, 'pacs', '1.2', :state, 1, '', '2026-01-01 00:00:00')"
    )
    with engine.begin() as connection:
        for state in ("delivered", "waiting"):
            connection.execute(text(row), {"job": state, "state": state})
    migrate(engine)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT job_id, proof FROM deliveries")).all()
    assert sorted(map(tuple, found)) == [("delivered", "status"), ("waiting", "")]


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


def test_jobs_that_wait_in_a_file_of_their_own_move_in_and_out_again(tmp_path: Path) -> None:
    """A site upgrades, or goes back, with studies in its queue."""
    engine = engine_of(f"sqlite:///{tmp_path}/index.sqlite")
    alone, together = f"sqlite:///{tmp_path}/jobs.sqlite", str(engine.url)
    migrate(engine, "0003")
    _hand_in(alone, "before")

    migrate(engine)
    assert _jobs(together) == ["before"]
    _hand_in(together, "after")
    assert _jobs(alone) == ["before"]

    migrate(engine, "0003")
    assert _jobs(alone) == ["after", "before"]
    migrate(engine)
    assert _jobs(together) == ["after", "before"]


def test_jobs_do_not_move_while_an_older_worker_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on in the old file, and the study would run twice."""
    engine = engine_of(f"sqlite:///{tmp_path}/index.sqlite")
    migrate(engine, "0003")
    worker = Leases(f"sqlite:///{tmp_path}/jobs.sqlite", 60.0)
    worker.renew()
    monkeypatch.setattr(time, "sleep", lambda _: worker.renew())

    with pytest.raises(Misconfigured, match="stop all its roles"):
        migrate(engine)
    worker.release()
    migrate(engine)


def _hand_in(url: str, job_id: str) -> None:
    desk = Desk(url)
    desk.enqueue("study", job_id, "x")
    desk.close()


def _jobs(url: str) -> list[str]:
    desk = Desk(url)
    found = sorted(job.job_id for job in desk.jobs(""))
    desk.close()
    return found


def test_processes_that_start_together_migrate_once(engine: Engine) -> None:
    """A listener, a worker and a web page meet an empty database at the same moment."""
    url = engine.url.render_as_string(hide_password=False)
    script = f"from node.storage.index import Index; Index({url!r}).close()"
    started = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]

    assert [process.wait(timeout=60) for process in started] == [0] * 4
