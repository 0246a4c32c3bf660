"""``migrate``: the tables of the index, to this version or back to an older one."""

from typing import Annotated

import typer

from node.commands.shell import ConfigFile, app, out, start_logging
from node.config import load
from node.storage.engine import engine_of
from node.storage.schema import REVISION, migrate


@app.command("migrate")
def migrate_command(
    to: Annotated[str, typer.Option(help="Version of the tables")] = REVISION,
    config: ConfigFile = None,
) -> None:
    """Bring the database's tables to a version; every other command brings them to the newest.

    Before going back to an older lumbar-node, stop all roles and run this with the newer one.
    """
    start_logging(service=False)
    before, now = migrate(engine_of(load(config).database), to)
    out.print(f"tables: version {before or 'none'} -> {now}", highlight=False)
