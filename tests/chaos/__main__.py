"""``python -m tests.chaos --kills 500``: everything goes wrong all the time; nothing may be lost.

Foreign senders send without a pause, abort and are killed. Listener, acceptors, workers and web
pages are killed at every state and at random; the database is restarted, destinations refuse,
hang, break off and answer with errors, the disk is full, the clock is set. In the end every
instance that was acknowledged has to be in the archive, byte for byte, and in the index; every
study that came whole has to have one result, whole, at every destination. Prints a report in
Markdown; exits with 1 when anything is lost or there twice. Run as root: it mounts a small disk.
"""

import argparse
import json
import shutil
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from node.phantom import make_study
from tests.chaos.run import chaos
from tests.chaos.senders import small

DATABASES = ("sqlite", "postgres")


def _say(what: str) -> None:
    sys.stderr.write(f"{datetime.now():%H:%M:%S} {what}\n")  # noqa: DTZ005 - for people here


def main() -> int:
    """Run the chaos as the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="of all databases together")
    parser.add_argument("--database", choices=DATABASES, help="default: both, one after the other")
    parser.add_argument("--minutes", type=float, default=240, help="at most, all together")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, help="where to write everything that was found")
    parser.add_argument("--folder", type=Path, help="where node and senders work (default: /tmp)")
    options = parser.parse_args()
    databases = [options.database] if options.database else DATABASES
    phantom, outcomes = small(make_study(options.seed).datasets()), []
    for database in databases:
        folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="chaos-"))
        outcomes.append(
            chaos(
                folder,
                database,
                options.kills // len(databases),
                phantom,
                seed=options.seed,
                most_s=options.minutes * 60 / len(databases),
                say=_say,
            )
        )
        if outcomes[-1].is_good:
            shutil.rmtree(folder)
        else:
            _say(f"what the processes said is in {folder}")
        sys.stdout.write(outcomes[-1].markdown() + "\n\n")
        sys.stdout.flush()
        if options.json:
            options.json.write_text(json.dumps([o.as_json() for o in outcomes], indent=1), "utf-8")
    return 0 if all(outcome.is_good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
