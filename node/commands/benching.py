"""``bench``: figures of this node beside those of its peers."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from node.bench import ingest
from node.commands.shell import AsJson, app, err, out, print_json, start_logging

bench = typer.Typer(help="Measure this node beside its peers, in one run.", no_args_is_help=True)
app.add_typer(bench, name="bench")


@bench.command("ingest")
def ingest_command(
    instances: Annotated[int, typer.Option(min=8, help="Images of a series load")] = 1000,
    runs: Annotated[int, typer.Option(min=1, help="Every figure is a median of so many")] = 3,
    folder: Annotated[Path, typer.Option(exists=True, help="A folder on the disk to measure")] = (
        Path()
    ),
    as_json: AsJson = False,
) -> None:
    """Receive the same images as this node, Orthanc, DCMTK and pynetdicom, side by side."""
    start_logging(service=False)
    with err.status("starting") as status:
        found = ingest.run(folder, count=instances, runs=runs, progress=status.update)
    if as_json:
        print_json(found)
        return
    _print_machine(found)
    out.print(_cells(found))


def _print_machine(found: dict[str, Any]) -> None:
    machine, floor = found["machine"], found["floor"]
    versions = ", ".join(f"{name} {text}" for name, text in machine["versions"].items())
    synced = ", ".join(f"{rate:.0f} ({n})" for n, rate in floor["synced_per_s"].items())
    for line in (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, "
        f"{machine['file_system']}, load {machine['load_average']}",
        versions,
        f"files synced/s by threads: {synced}; images over loopback/s: "
        f"{floor['loopback_per_s']:.0f}",
        *(f"not installed, left out: {name}" for name in found["not_installed"]),
    ):
        out.print(line, highlight=False, soft_wrap=True)


def _cells(found: dict[str, Any]) -> Table:
    table = Table("association", "senders", "receiver", "on disk", box=None)
    for name in ("images/s", "range", "MB/s", "peak MiB", "CPU ms", "sender ms", "node is"):
        table.add_column(name, justify="right")
    for cell in found["cells"]:
        low, high = cell["per_s_range"]
        table.add_row(
            cell["load"],
            str(cell["senders"]),
            cell["receiver"],
            found["durable"][cell["receiver"]],
            f"{cell['per_s']:.0f}",
            f"{low:.0f}-{high:.0f}",
            f"{cell['mb_per_s']:.1f}",
            f"{cell['peak_mb']:.0f}",
            f"{cell['cpu_ms']:.2f}",
            f"{cell['sender_cpu_ms']:.2f}",
            f"{cell['node_is_faster_by']:.2f} x",
        )
    return table
