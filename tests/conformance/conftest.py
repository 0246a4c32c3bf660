"""The cases every foreign reader is shown, each built once."""

from pathlib import Path

import pytest

from node.phantom import PhantomStudy
from tests.conformance.cases import CASES, Case, make_case, of_real_study, saved


@pytest.fixture(scope="session", params=[*CASES, "real study"])
def case(
    request: pytest.FixtureRequest, phantom: PhantomStudy, tmp_path_factory: pytest.TempPathFactory
) -> Case:
    """Results of one kind of study, as objects and as files."""
    kind, folder = str(request.param), tmp_path_factory.mktemp("results")
    if kind == "real study":
        shared_data: Path = request.getfixturevalue("shared_data")
        return saved(kind, of_real_study(shared_data / "real-study"), folder)
    return make_case(kind, phantom, folder)
