"""``viewer``: fetch OHIF, the DICOM viewer that the node can serve."""

from pathlib import Path
from typing import Annotated

import typer

from node import viewer
from node.commands.shell import app, out, start_logging


@app.command("viewer")
def viewer_command(
    folder: Annotated[Path, typer.Argument(help="Where OHIF goes; a new folder")],
) -> None:
    """Fetch the pinned OHIF, checked, into a folder: for [web] viewer_dir."""
    start_logging(service=False)
    viewer.fetch(folder)
    out.print(f"OHIF {viewer.VERSION} is in {folder}: set [web] viewer_dir", highlight=False)
