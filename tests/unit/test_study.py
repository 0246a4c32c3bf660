"""The story of a study when the engine ends under it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from node.config import Report
from node.jobs import EngineStopped
from node.study import StudyStory

if TYPE_CHECKING:
    from node.inference.runtime import ModelStore


def test_a_worker_that_is_stopped_tells_nobody_of_a_failure() -> None:
    """The chapter runs again at the next start; until then nothing is written and nothing sent."""
    told: list[str] = []

    def step(name: str, _chapter: Callable[..., Any], *_: Any) -> None:
        told.append(name)
        if name == "find":
            raise EngineStopped("the engine was stopped")

    story = StudyStory(
        store=cast("ModelStore", None),
        settings=Report(),
        files_of=lambda _: [],
        folder_of=Path,
        earlier_of=lambda *_: [],
        note=lambda *_: None,
        deliver=lambda *_: None,
        again=lambda *_: None,
    )
    with pytest.raises(EngineStopped):
        story(step, "job", "1.2.3", [])

    assert told == ["begin", "find"]
