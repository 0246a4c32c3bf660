"""``backup``: a copy of a running node, to start from after a loss."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from node.commands.shell import ConfigFile, app, out, start_logging
from node.config import load
from node.errors import LumbarError
from node.storage.backup import back_up


@app.command("backup")
def backup_command(
    folder: Annotated[Path, typer.Argument(help="Holds the copies, a folder for each")],
    config: ConfigFile = None,
) -> None:
    """Copy everything this node holds, while it runs.

    To restore, copy the newest folder to data_dir and start the node.
    """
    start_logging(service=False)
    settings = load(config)
    if settings.database_url:
        out.print(
            "The database is PostgreSQL: its own backup (pg_dump) has to be made first, since no "
            "row of it may lack its file here.",
            highlight=False,
        )
    if settings.storage.url:
        out.print(
            f"Images and results are in {settings.storage.url} and are kept by its own means. Of "
            "data_dir, audit trail and quarantine are copied.",
            highlight=False,
        )
    try:
        copy, files = back_up(settings.data_dir, folder, datetime.now(UTC))
    except (OSError, sqlite3.Error) as error:
        raise LumbarError(f"the backup in {folder} is not complete: {error}") from error
    out.print(f"{copy}: {files} files copied, the others linked", highlight=False, soft_wrap=True)
