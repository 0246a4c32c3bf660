"""The cases every foreign reader is shown, each built once."""

import pytest

from node.phantom import PhantomStudy
from tests.conformance.cases import CASES, Case, make_case


@pytest.fixture(scope="session", params=CASES)
def case(
    request: pytest.FixtureRequest, phantom: PhantomStudy, tmp_path_factory: pytest.TempPathFactory
) -> Case:
    """Results of one kind of study, as objects and as files."""
    kind = str(request.param)
    return make_case(kind, phantom, tmp_path_factory.mktemp("results"))
