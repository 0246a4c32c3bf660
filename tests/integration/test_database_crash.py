"""PostgreSQL crashes and comes back while the node's processes run on."""

import threading
import time
from datetime import UTC, datetime

from node.jobs import Desk, Queue, Step, Worker
from node.spine.instances import InstanceRow
from node.storage.index import Index
from tests.postgres_server import PostgresServer
from tests.waiting import wait_for


def test_rows_of_instances_outlive_a_crash_of_the_server(postgres: PostgresServer) -> None:
    """Nobody rebuilds the index of a listener that runs on."""
    index = Index(postgres.database())
    rows = [
        InstanceRow(f"1.2.{n}", "1.3", "1.4", "1.5", "1.6", f"{n:064x}", 1, "A", datetime.now(UTC))
        for n in range(3)
    ]
    try:
        index.add_instances(rows)
        postgres.crash()
        postgres.start()

        assert len(index.instances("1.4")) == len(rows)
    finally:
        index.close()


def test_a_step_waits_for_its_database(postgres: PostgresServer) -> None:
    """A study does not fail because the database is being restarted."""
    url = postgres.database()
    index, desk = Index(url), Desk(url)
    is_begun, is_away = threading.Event(), threading.Event()
    found: list[int] = []

    def look() -> None:
        is_begun.set()
        is_away.wait(30)
        found.append(len(index.studies()))

    def story(step: Step) -> None:
        step("look", look)

    worker = Worker(url, (Queue("study", story, 1),))
    worker.start()
    try:
        desk.enqueue("study", "job")
        assert is_begun.wait(30)
        postgres.crash()
        is_away.set()
        time.sleep(1.0)
        assert found == []
        postgres.start()

        wait_for(lambda: (job := desk.job("job")) and job.status == "SUCCESS", seconds=60)
        assert found == [0]
    finally:
        worker.stop()
        desk.close()
        index.close()
