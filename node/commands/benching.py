"""``bench``: figures of this node beside those of its peers."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.table import Table

from node.bench import end_to_end, engine, ingest, pipeline, queue
from node.commands.shell import (
    AsJson,
    ConfigFile,
    app,
    err,
    out,
    print_json,
    start_logging,
)
from node.config import load

bench = typer.Typer(help="Measure this node beside its peers, in one run.", no_args_is_help=True)
app.add_typer(bench, name="bench")

Folder = Annotated[
    Path, typer.Option(exists=True, resolve_path=True, help="On the disk to measure")
]
Progress = Callable[[str], None]


def _measured(run: Callable[..., dict[str, Any]], as_json: bool) -> dict[str, Any]:
    """Measure, telling how far it is; the figures are empty when they were printed as JSON."""
    start_logging(service=False)
    with err.status("starting") as status:
        found = run(progress=status.update)
    if as_json:
        print_json(found)
        return {}
    return found


@bench.command("ingest")
def ingest_command(  # noqa: PLR0917 - a command line
    instances: Annotated[int, typer.Option(min=8, help="Images of a series load")] = 1000,
    runs: Annotated[int, typer.Option(min=1, help="Every figure is a median of so many")] = 3,
    senders: Annotated[list[int], typer.Option(min=1, help="At once; repeatable")] = [1, 4, 8],  # noqa: B006
    memory: Annotated[int, typer.Option(help="Images of a memory run of this node; 0: none")] = 0,
    folder: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Receive the same images as this node, Orthanc, DCMTK and pynetdicom, side by side."""

    def run(progress: Progress) -> dict[str, Any]:
        found = ingest.run(
            folder, count=instances, runs=runs, senders_at_once=senders, progress=progress
        )
        if memory:
            found["memory_mb"] = ingest.memory(folder, count=memory, progress=progress)
        return found

    if found := _measured(run, as_json):
        for line in _lines(found):
            out.print(line, highlight=False, soft_wrap=True)
        out.print(_cells(found), crop=False, no_wrap=True, width=100)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what there is to know beside the table."""
    machine, floor, load = found["machine"], found["floor"], found["images"]
    yield (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, "
        f"{machine['file_system']}, load {machine['load_average']}"
    )
    yield ", ".join(f"{name} {text}" for name, text in machine["versions"].items())
    yield (
        f"images of {load['bytes']} bytes; {load['series']} in a series load, {load['instance']} "
        f"with an association each; median of {load['runs']} run(s)"
    )
    synced = ", ".join(f"{rate:.0f} with {n}" for n, rate in floor["synced_per_s"].items())
    yield (
        f"floor: file and folder synced {synced} thread(s), "
        f"loopback {floor['loopback_per_s']:.0f} images/s"
    )
    for name, what in found["durable"].items():
        yield f"on the disk before Success: {name}: {what}"
    for name in found["not_installed"]:
        yield f"not installed, left out: {name}"
    if sizes := found.get("memory_mb"):
        yield f"memory of this node in a long run: {sizes[0]:.0f} MiB to {sizes[-1]:.0f} MiB"


def _cells(found: dict[str, Any]) -> Table:
    table = Table("association", "senders", "receiver", box=None)
    for name in ("images/s", "range", "MB/s", "MiB", "CPU ms", "sender ms", "node is"):
        table.add_column(name, justify="right")
    for cell in found["cells"]:
        low, high = cell["per_s_range"]
        table.add_row(
            cell["load"],
            str(cell["senders"]),
            cell["receiver"],
            f"{cell['per_s']:.0f}",
            f"{low:.0f}-{high:.0f}",
            f"{cell['mb_per_s']:.1f}",
            f"{cell['peak_mb']:.0f}",
            f"{cell['cpu_ms']:.2f}",
            f"{cell['sender_cpu_ms']:.2f}",
            f"{cell['node_is_faster_by']:.2f} x",
        )
    return table


@bench.command("pipeline")
def pipeline_command(
    config: ConfigFile = None,
    runs: Annotated[int, typer.Option(min=1, help="Every figure is a median of so many")] = 3,
    as_json: AsJson = False,
) -> None:
    """Analyse a phantom study, stage by stage."""
    if found := _measured(partial(pipeline.run, load(config), runs=runs), as_json):
        for stage, ms in found["stages_ms"].items():
            out.print(f"{stage:>20} {ms:8.0f} ms", highlight=False)


@bench.command("end-to-end")
def end_to_end_command(
    runs: Annotated[int, typer.Option(min=1, help="Studies, one after another")] = 3,
    as_json: AsJson = False,
) -> None:
    """Time a node as shipped, from the last image acknowledged to the report delivered."""
    if found := _measured(partial(end_to_end.run, runs=runs), as_json):
        each = ", ".join(f"{one:.1f}" for one in found["seconds"])
        out.print(f"last image to report: {found['median_s']:.1f} s (median of {each})")


@bench.command("queue")
def queue_command(
    rows: Annotated[list[int], typer.Option(min=1, help="Finished studies; repeatable")] = [  # noqa: B006
        1_000,
        10_000,
        100_000,
    ],
    runs: Annotated[int, typer.Option(min=1, help="Every figure is a median of so many")] = 9,
    database: Annotated[
        str, typer.Option(help="SQLAlchemy URL of an empty database; default: SQLite")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Time what a node asks of its databases, as their history grows: it has to stay flat."""
    run = partial(queue.run, rows=sorted(rows), runs=runs, database=database)
    if found := _measured(run, as_json):
        out.print(_queue_table(found))


def _queue_table(found: dict[str, Any]) -> Table:
    table = Table(f"ms, {found['database']}", box=None)
    for count in found["rows"]:
        table.add_column(f"{count:,} studies", justify="right")
    for what, figures in found["ms"].items():
        table.add_row(what, *(f"{ms:.2f}" for ms in figures))
    return table


@bench.command("engine")
def engine_command(
    jobs: Annotated[int, typer.Option(min=1, help="Studies whose chapters do nothing")] = 100,
    kills: Annotated[int, typer.Option(min=0, help="Workers killed over a job; 0: none")] = 5,
    database: Annotated[
        str, typer.Option(help="SQLAlchemy URL of an empty database, measured beside SQLite")
    ] = "",
    folder: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Time what durability costs a study, beside a loop that only commits, and a kill -9."""
    run = partial(engine.run, folder, jobs=jobs, kills=kills, database=database)
    if found := _measured(run, as_json):
        _tell_engine(found)


def _tell_engine(found: dict[str, Any]) -> None:
    machine = found["machine"]
    told = f"{machine['cores']} cores, {machine['file_system']}, load {machine['load_average']}"
    out.print(told, highlight=False, soft_wrap=True)
    for kind, measured in found["databases"].items():
        out.print(_engine_table(kind, measured["ms"]))
        if silences := measured["resumed_s"]:
            told = f"median {median(silences):.1f} s, worst {max(silences):.1f} s"
            out.print(f"{kind}: resumed after kill -9: {told}", highlight=False)


def _engine_table(kind: str, ms: dict[str, dict[str, float]]) -> Table:
    plain, floor = ms[engine.PLAIN]["wall"], ms[engine.SYNC]["wall"]
    table = Table(f"{kind}, a study", box=None)
    for name in ("ms", "CPU ms", "x plain", "x floor"):
        table.add_column(name, justify="right")
    for what, of in ms.items():
        wall = of["wall"]
        figures = (wall, of["cpu"], wall / plain, wall / floor)
        table.add_row(what, *(f"{figure:.2f}" for figure in figures))
    return table
