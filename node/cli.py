"""The command line: ``lumbar-node COMMAND``.

Every command prints what a person wants and, with ``--json``, what a program wants. Exit codes:
0 done; 1 failed; 2 wrong use or wrong configuration; 3 done, but at least one study is incomplete
or not assessable. The commands themselves are in `node.commands`.
"""

import sys

import typer

from node.commands import (
    analysing,
    backfilling,
    benching,
    checking,
    database,
    keeping,
    network,
    quarantine,
    running,
    studies,
    viewer,
)
from node.commands.shell import DONE, FAILED, WRONG_USE, app, print_error
from node.errors import LumbarError, Misconfigured

# Importing a file of commands adds them to the application.
__all__ = [
    "analysing",
    "app",
    "backfilling",
    "benching",
    "checking",
    "database",
    "keeping",
    "main",
    "network",
    "quarantine",
    "running",
    "studies",
    "viewer",
]


def main() -> None:
    """Run the command line; an error this product raises becomes one message and an exit code."""
    try:
        # Outside standalone mode click returns the code of a raised Exit.
        sys.exit(app(standalone_mode=False) or DONE)
    except typer.Abort:
        sys.exit(130)
    except Misconfigured as error:
        _fail(error, WRONG_USE)
    except LumbarError as error:
        _fail(error, FAILED)
    except Exception as error:
        # click's own errors (wrong option, missing argument) know how to show themselves.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        sys.exit(WRONG_USE)


def _fail(error: LumbarError, code: int) -> None:
    print_error(error)
    sys.exit(code)


if __name__ == "__main__":
    main()
