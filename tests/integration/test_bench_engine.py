"""``bench engine``: every figure is there, for both databases."""

from pathlib import Path

from node.bench import engine
from tests.postgres_server import PostgresServer


def test_the_engine_is_measured_beside_a_plain_loop(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """Times of the engine, its peer and its floor; a killed worker's job went on in another."""
    found = engine.run(
        tmp_path, jobs=3, kills=1, database=postgres.database(), progress=lambda _: None
    )

    assert list(found["databases"]) == ["sqlite", "postgresql"]
    for measured in found["databases"].values():
        ms = measured["ms"]
        assert set(ms) == {engine.HAND_IN, engine.STORY, engine.STUDY, engine.PLAIN, engine.SYNC}
        assert all(figure["wall"] > 0 for figure in ms.values())
        assert ms[engine.STUDY]["wall"] > ms[engine.HAND_IN]["wall"]
        assert len(measured["resumed_s"]) == 1
        assert measured["resumed_s"][0] > 0
    assert list(tmp_path.iterdir()) == []
