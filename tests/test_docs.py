"""What the documents promise exists."""

import ast
import re
from pathlib import Path

import pytest
import typer.main

from node.cli import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_and_picture_is_there(path: Path) -> None:
    """A relative link in a document leads to a file of the repository."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8"))
    missing = [link for link in links if not (path.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_in_a_document_is_a_command(path: Path) -> None:
    """`lumbar-node WORD` in a document is a command of the program."""
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"`(?:\S*/)?lumbar-node ([a-z]+)", path.read_text("utf-8")))
    assert named <= known


def test_the_code_map_is_every_module_and_its_first_sentence() -> None:
    """ARCHITECTURE.md tells of each file of node/ what the file tells of itself."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    expected = {
        f"`{path.relative_to(ROOT / 'node')}`: {_first_sentence(path)}"
        for path in (ROOT / "node").rglob("*.py")
        if path.name != "__init__.py"
    }
    assert set(re.findall(r"^- (`[\w/]+\.py`: .*)$", text, re.MULTILINE)) == expected


def _first_sentence(path: Path) -> str:
    told = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return told.split("\n\n", maxsplit=1)[0].replace("\n", " ")


def test_every_make_target_in_the_readme_exists() -> None:
    """`make WORD` in the README is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(
        re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    )
    assert named
    assert named <= targets
