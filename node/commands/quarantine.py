"""``quarantine``: what arrived and was refused, why, and from whom."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from node import tables
from node.commands.shell import AsJson, ConfigFile, app, out, print_json, start_logging
from node.config import load
from node.errors import Misconfigured
from node.storage.quarantine import Quarantine


@app.command()
def quarantine(
    config: ConfigFile = None,
    export: Annotated[str, typer.Option(help="SHA-256 of an instance to copy out")] = "",
    to: Annotated[Path, typer.Option(help="Where --export writes")] = Path("quarantined.dcm"),
    drop: Annotated[str, typer.Option(help="SHA-256 of an instance to delete")] = "",
    as_json: AsJson = False,
) -> None:
    """List the instances that arrived and were refused; copy one out, or delete one."""
    start_logging(service=False)
    settings = load(config)
    kept = Quarantine(settings.data_dir / "quarantine", settings.quarantine.max_mb)
    try:
        if export:
            shutil.copyfile(kept.path(export), to)
            out.print(f"copied to {to}: it was refused, open it with care", highlight=False)
        if drop:
            kept.drop(drop)
            out.print(f"deleted {drop}", highlight=False)
    except LookupError as error:
        raise Misconfigured(str(error)) from error
    if export or drop:
        return
    if as_json:
        print_json([asdict(entry) for entry in kept.entries()])
    else:
        out.print(tables.quarantine(kept.entries()))
