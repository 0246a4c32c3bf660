"""The directions of imports, and the one place of each large dependency, held by a machine."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = {"spine", "errors", "config"}
PARTS = {"inference", "results", "dicom", "storage", "phantom"}
FILES = sorted((ROOT / "node").rglob("*.py"))

# Where a third-party package may be imported. What is not listed may be imported anywhere.
HOMES = {
    "dbos": {"jobs.py"},
    "obstore": {"storage/store.py"},
    "onnxruntime": {"inference/runtime.py"},
    "highdicom": {"results"},
    "pynetdicom": {"dicom", "bench/plain.py"},
    "orthanc_api_client": {"dicom/orthanc"},
    "sqlalchemy": {"storage", "jobs.py", "bench/history.py"},
    "alembic": {"storage"},
    "fastapi": {"web"},
    "PIL": {"results", "web/dicomweb/rendered.py"},
    "python_multipart": {"dicom/dicomweb/multipart.py"},
    "dicomweb_client": {"dicom/dicomweb/archive.py"},
    "scipy": {"phantom"},
    "typer": {"cli.py", "commands"},
    "uvicorn": {"commands"},
    "torch": set[str](),
    "models": set[str](),
    "onnx": set[str](),
}


def _imports(path: Path) -> Iterator[str]:
    for found in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(found, ast.Import):
            yield from (name.name for name in found.names)
        elif isinstance(found, ast.ImportFrom) and found.module:
            yield found.module
            if found.module == "node":
                yield from (f"node.{name.name}" for name in found.names)


def _room(path: Path) -> str:
    return path.relative_to(ROOT / "node").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    """Core imports only core; a part imports itself and the core; the shell imports anything."""
    room = _room(path)
    own = {name.split(".")[1] for name in _imports(path) if name.startswith("node.")}
    if room in CORE:
        assert own <= CORE | {"__version__"}
    elif room in PARTS:
        assert own <= CORE | {room, "__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_large_dependency_has_one_home(path: Path) -> None:
    """To replace an engine or a library, one file or folder is opened."""
    inside = str(path.relative_to(ROOT / "node"))
    for name in {i.split(".")[0] for i in _imports(path)} & set(HOMES):
        assert any(inside == home or inside.startswith(home + "/") for home in HOMES[name]), name


def test_the_core_is_pure() -> None:
    """node/spine needs numpy and the standard library, and touches neither disk nor network."""
    allowed = {"numpy", "node"}
    standard = {"collections", "dataclasses", "enum", "typing", "math", "functools", "itertools",
                "re", "datetime", "types", "pathlib", "hashlib"}  # fmt: skip
    for path in (ROOT / "node" / "spine").glob("*.py"):
        assert {i.split(".")[0] for i in _imports(path)} <= allowed | standard, path.name


def test_the_plugin_folder_is_no_package() -> None:
    """Inside Orthanc, ``orthanc`` is a built-in module: ours must never answer to that name."""
    assert not (ROOT / "orthanc" / "__init__.py").exists()
