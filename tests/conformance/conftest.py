"""The cases every foreign reader is shown, each built once; or one study from a folder.

``pytest tests/conformance --study DIR`` (``make conformance STUDY=DIR``) analyses the study in a
folder, shows its results to every reader that is installed here, and prints a table.
"""

from collections import Counter
from pathlib import Path

import pydicom
import pytest

from node.config import Config
from node.inference.runtime import ModelStore
from tests.conformance.cases import CASES, Case, make_case, of_real_study, saved

REAL = "real study"
STUDY_FIXTURES = {"case", "shown_case"}

#: The results of ``--study``, for the table at the end.
_STUDY = pytest.StashKey[Case]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--study", type=Path, help="a folder with the DICOM files of one study")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        kinds = [REAL] if _study_folder(metafunc.config) else [*CASES, REAL]
        metafunc.parametrize("case", kinds, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _study_folder(config):
        wanted = [i for i in items if STUDY_FIXTURES & set(getattr(i, "fixturenames", ()))]
        config.hook.pytest_deselected(items=[i for i in items if i not in wanted])
        items[:] = wanted


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """With ``--study``, tell each check in words, and every warning with its number."""
    case = config.stash.get(_STUDY, None)
    if case is None:
        return
    from tests.conformance.test_results import run

    line = terminalreporter.write_line
    told = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    terminalreporter.section("conformance of one study")
    for report in sorted(told, key=lambda r: r.nodeid):
        line(f"{report.outcome:7} {report.head_line.split('[')[0].replace('_', ' ')}")
    line("")
    warnings: Counter[str] = Counter()
    for path in case.files:
        kind = pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID.name
        line(f"object  {path}  {kind}")
        answer = run("/usr/bin/dciodvfy", path)
        lines = (answer.stdout + answer.stderr).splitlines()
        warnings.update(w.strip() for w in lines if w.startswith(("Warning", "Error")))
    line("")
    line("dciodvfy says (explained in docs/results.md):")
    for warning, count in warnings.most_common():
        line(f"{count:5} x {warning}")


@pytest.fixture(scope="session")
def study_folder(request: pytest.FixtureRequest) -> Path:
    """The folder of ``--study``, else the real study beside the checkout."""
    folder = _study_folder(request.config)
    return folder or request.getfixturevalue("shared_data") / "real-study"


@pytest.fixture(scope="session")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Results of one kind of study, as objects and as files."""
    kind, folder = str(request.param), tmp_path_factory.mktemp("results")
    if kind != REAL:
        return make_case(kind, request.getfixturevalue("phantom"), folder)
    made = _of_study(request.getfixturevalue("study_folder"), folder)
    if _study_folder(request.config):
        request.config.stash[_STUDY] = made
    return made


@pytest.fixture(scope="session")
def shown_case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Results by default settings: of the phantom, or with ``--study`` of that study."""
    folder = tmp_path_factory.mktemp("shown")
    if _study_folder(request.config):
        return _of_study(request.getfixturevalue("study_folder"), folder)
    return make_case("default", request.getfixturevalue("phantom"), folder)


@pytest.fixture(scope="session")
def source_folder(request: pytest.FixtureRequest) -> Path:
    """The files that ``shown_case`` was made of."""
    folder = _study_folder(request.config)
    return folder or Path(request.getfixturevalue("phantom_folder"))


def _of_study(study: Path, folder: Path) -> Case:
    return saved(REAL, of_real_study(study, ModelStore(Config().models_dir)), folder)


def _study_folder(config: pytest.Config) -> Path | None:
    folder: Path | None = config.getoption("--study", default=None)
    return folder
