"""What every command shares: the application, its options, its output and its exit codes."""

import json
import logging
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import structlog
import typer
from rich.console import Console

from node import __version__
from node.app import Node
from node.commands import faults
from node.config import load

DONE, FAILED, WRONG_USE, INCOMPLETE = 0, 1, 2, 3

app = typer.Typer(
    help="A radiology AI node for lumbar spinal stenosis. Research only, not for clinical use.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
out = Console()
err = Console(stderr=True)

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="LUMBAR_CONFIG", help="TOML file; see deploy/node.toml"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs")]


class _Lossy:
    """A stream that loses a line rather than the thread that logs it: its disk may be full."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def start_logging(*, service: bool) -> None:
    """Log JSON lines to stderr as a service; only warnings for a command a person runs."""
    level = logging.INFO if service else logging.ERROR
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            faults.where,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Lossy(sys.stderr))),
    )
    # Their warnings may quote header text, and so a patient.
    for name in ("pynetdicom", "pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    server = logging.getLogger("uvicorn")
    server.handlers, server.propagate = [faults.Forwarder(logging.WARNING)], False
    warnings.simplefilter("ignore")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit")] = False,
) -> None:
    """Radiology AI node for lumbar spinal stenosis. Research only, not for clinical use."""
    if show:
        out.print(f"lumbar-node {__version__}", highlight=False)
        raise typer.Exit(DONE)


def print_json(value: Any) -> None:
    """Print what a program reads."""
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")


def open_node(config: Path | None) -> Node:
    """Open the node's data for a command that a person runs; no role is started."""
    start_logging(service=False)
    return Node(load(config))


def dicom_files(folder: Path) -> list[Path]:
    """List the files below a folder, or the one file."""
    return sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else [folder]


def print_error(reason: object) -> None:
    """Say on stderr what is wrong."""
    err.print(f"error: {reason}", style="red", highlight=False, soft_wrap=True, markup=False)
