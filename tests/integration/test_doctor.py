"""What ``doctor`` and the health page say of a database and a store that several hosts share."""

from itertools import takewhile
from pathlib import Path

from node.app import Node
from node.config import Config
from node.doctor import Check, examine
from tests.builders import mr_image, part10
from tests.postgres_server import PostgresServer
from tests.s3_server import S3Server


def checks(config: Config) -> dict[str, Check]:
    """Return the checks that come before the ports, by what they look at."""
    return {
        check.what: check for check in takewhile(lambda c: c.what != "DICOM port", examine(config))
    }


def test_a_store_is_tried_as_the_node_will_use_it(s3: S3Server, tmp_path: Path) -> None:
    """Put, read, deleted; a store that is away is a fault for doctor and for the monitor."""
    config = Config(data_dir=tmp_path, storage=s3.settings("doctor", timeout_s=1.0))
    node = Node(config)
    assert checks(config)["object store"].ok
    s3.freeze()
    try:
        seen = checks(config)["object store"]
        health = node.health()
    finally:
        s3.thaw()
        node.stop()
    assert (seen.ok, "does not answer" in seen.found) == (False, True)
    assert "images are refused" in health["status"]


def test_the_clocks_are_compared(postgres: PostgresServer, tmp_path: Path) -> None:
    """Hosts decide by their clocks, so these have to agree with the database's."""
    config = Config(data_dir=tmp_path, database_url=postgres.database())
    assert checks(config)["clock"].ok


def test_what_was_left_unfinished_before_the_switch_is_named(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """A node that moves to PostgreSQL leaves no study behind without a word."""
    before = Node(Config(data_dir=tmp_path))
    before.intake.receive(part10(mr_image()), "SCANNER")
    before.stop()
    config = Config(data_dir=tmp_path, database_url=postgres.database())
    seen = checks(config)["earlier database"]
    assert (seen.ok, seen.found.startswith("1 studies in")) == (False, True)
    after = Node(Config(data_dir=tmp_path))
    after.index.set_state(mr_image().StudyInstanceUID, "cancelled")
    after.stop()
    assert checks(config)["earlier database"].ok
