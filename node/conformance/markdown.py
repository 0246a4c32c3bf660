"""What the conformance statement is set with: tables, and UIDs with their names."""

from collections.abc import Iterable, Sequence

from pydicom.uid import UID


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def named(uid: str) -> str:
    """Return the name of a UID as the standard has it."""
    return str(UID(uid).name)


def section(title: str, *parts: str) -> str:
    """Return a heading and paragraphs."""
    return "\n\n".join([title, *parts])
