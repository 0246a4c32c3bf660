"""``python -m tests.scale --studies 2000``: a back-fill through a real node, and what it costs.

Small studies go from a folder tree through a node as shipped into a PACS that counts; node and
command are killed on the way. Prints a report in Markdown with the figures for 100,000 studies;
exits with 1 when a study failed, ended twice or has more than one report.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.scale.report import markdown
from tests.scale.run import Scale


def main() -> int:
    """Measure as the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=4, help="as of `lumbar-node backfill`")
    parser.add_argument("--minutes", type=float, default=600.0, help="then it stops, done or not")
    parser.add_argument(
        "--folder", type=Path, help="where all of it stays: a run that was cut off goes on there"
    )
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="scale-"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        outcome = Scale(
            folder, options.studies, options.kills, options.minutes * 60, options.at_once
        ).run()
    sys.stdout.write(markdown(outcome) + "\n")
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
