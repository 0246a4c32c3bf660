"""``python -m tests.soak --minutes 20``: everything goes wrong all the time; nothing may be lost.

Foreign senders send without a pause, abort and are killed; acceptors, listener and worker are
killed; the disk is full to the node's watermark or to the last byte. In the end every instance that
was acknowledged has to be in the archive, byte for byte, and in the index, and every study that
came whole has to have its end. Prints a report in Markdown; exits with 1 when anything is lost.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.report import markdown
from tests.soak.run import soak


def main() -> int:
    """Run the soak as the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--folder", type=Path, help="where node and senders work (default: /tmp)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="soak-") as folder:
        outcome = soak(Path(folder), options.minutes * 60)
    sys.stdout.write(markdown(outcome) + "\n")
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
