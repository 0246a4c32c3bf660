"""``python -m tests.hostile``: the survival table of ``docs/security.md``, in Markdown."""

import sys
import tempfile
from pathlib import Path

from tests.hostile.survival import LIMIT_MB, Siege


def main() -> None:
    """Lay siege to a node and print what became of each kind of attack."""
    write = sys.stdout.write
    write(
        "| attack | cases | what became of them | MB of the node afterwards |\n|---|---|---|---|\n"
    )
    with tempfile.TemporaryDirectory(prefix="siege-") as folder:
        total = 0
        for row in Siege(Path(folder)).run():
            write(f"| {row.attack} | {row.cases} | {row.outcome} | {row.memory_mb:.0f} |\n")
            total += row.cases
    write(f"\n{total} cases; no process ended, and the next image was taken each time ")
    write(f"(limit {LIMIT_MB} MB).\n")


if __name__ == "__main__":
    main()
