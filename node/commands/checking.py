"""``doctor``, ``demo`` and ``conformance``: what works here, and what it conforms to."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from node import demonstration, doctor, tables
from node.commands.shell import (
    DONE,
    FAILED,
    AsJson,
    ConfigFile,
    app,
    out,
    print_json,
    start_logging,
)
from node.config import load
from node.conformance import statement


@app.command("doctor")
def doctor_command(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Check configuration, disk, ports, models and destinations, then one phantom round trip."""
    start_logging(service=False)
    checks = list(doctor.examine(load(config)))
    if as_json:
        print_json([check._asdict() for check in checks])
    else:
        out.print(tables.checks(checks))
    raise typer.Exit(DONE if all(c.ok for c in checks) else FAILED)


@app.command()
def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Where the results go")] = Path("demo-out"),
    keep: Annotated[bool, typer.Option(help="Leave the node and its review page up")] = False,
) -> None:
    """Send a phantom study through a real node into a receiving PACS, and show the findings."""
    start_logging(service=False)
    raise typer.Exit(demonstration.run(out_dir, out, keep=keep))


@app.command("conformance")
def conformance_command(config: ConfigFile = None) -> None:
    """Print the DICOM conformance statement (Markdown) of this configuration."""
    start_logging(service=False)
    sys.stdout.write(statement(load(config)) + "\n")
