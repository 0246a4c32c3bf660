"""``send`` and ``echo``: a DICOM user for people."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from node.commands.shell import AsJson, app, dicom_files, err, out, print_json, start_logging
from node.config import Destination
from node.dicom import sender
from node.errors import Misconfigured


@app.command()
def send(
    folder: Annotated[Path, typer.Argument(exists=True, help="DICOM files, or one file")],
    to: Annotated[str, typer.Option("--to", help="AE@HOST:PORT")],
    calling: Annotated[str, typer.Option(help="Our AE title")] = "LUMBAR",
    as_json: AsJson = False,
) -> None:
    """Send DICOM files by C-STORE."""
    start_logging(service=False)
    files = dicom_files(folder)
    with Progress(console=err, transient=True, disable=as_json) as progress:
        sending = progress.add_task("sending", total=len(files))
        report = sender.send(
            files,
            destination_of(to),
            calling,
            progress=lambda done, _total: progress.update(sending, completed=done),
        )
    if as_json:
        print_json({"stored": report.stored, "to": to})
    else:
        out.print(f"stored {report.stored} object(s) at {to}", highlight=False)


@app.command()
def echo(
    to: Annotated[str, typer.Argument(help="AE@HOST:PORT")],
    calling: Annotated[str, typer.Option(help="Our AE title")] = "LUMBAR",
) -> None:
    """Ask a DICOM peer whether it is there (C-ECHO)."""
    start_logging(service=False)
    sender.echo(destination_of(to), calling)
    out.print(f"{to} answers", highlight=False)


def destination_of(text: str) -> Destination:
    """Read ``AE@HOST:PORT``."""
    title, at, address = text.partition("@")
    host, colon, port = address.rpartition(":")
    if not (at and colon and port.isdigit()):
        raise Misconfigured(f"{text!r} is not AE@HOST:PORT, for example ORTHANC@127.0.0.1:4242")
    try:
        return Destination(name="peer", host=host, port=int(port), ae_title=title)
    except ValueError as error:
        raise Misconfigured(f"{text!r} is not a usable DICOM address: {error}") from error
