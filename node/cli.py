"""The command line: ``lumbar-node COMMAND``.

Every command prints what a person wants and, with ``--json``, what a program wants. Exit codes:
0 done; 1 failed; 2 wrong use or wrong configuration; 3 done, but at least one study is incomplete
or not assessable.
"""

import json
import logging
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvicorn
from rich.console import Console
from rich.progress import Progress

from node import __version__, analysis, demonstration, doctor, tables
from node.app import Node
from node.config import Config, Destination, load
from node.dicom import sender
from node.errors import LumbarError, Misconfigured, NotAssessable
from node.inference.runtime import ModelStore
from node.spine.findings import StudyFindings
from node.web.app import create_app

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
    err.print(f"error: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
    sys.exit(code)


def _logging(*, service: bool) -> None:
    """Log JSON lines to stderr as a service; only warnings for a command a person runs."""
    level = logging.INFO if service else logging.ERROR
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # Their warnings may quote header text, and so a patient.
    for name in ("pynetdicom", "pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit")] = False,
) -> None:
    """Radiology AI node for lumbar spinal stenosis. Research only, not for clinical use."""
    if show:
        out.print(f"lumbar-node {__version__}", highlight=False)
        raise typer.Exit(DONE)


@app.command()
def analyse(
    folder: Annotated[Path, typer.Argument(exists=True, help="DICOM files, or one file")],
    out_dir: Annotated[Path, typer.Option("--out", help="Where the results go")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Analyse the studies in a folder, without any network."""
    _logging(service=False)
    settings = load(config)
    store = _store(settings)
    paths = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else [folder]
    with Progress(console=err, transient=True, disable=as_json) as progress:
        reading = progress.add_task("reading headers", total=None)
        studies = analysis.read(paths)
        progress.update(reading, description="analysing", total=len(studies))
        told, refused = [], []
        for taken in studies:
            place = out_dir / taken.study_uid if len(studies) > 1 else out_dir
            try:
                told.append(analysis.analyse(taken, store, place, settings=settings.report))
            except NotAssessable as error:
                refused.append(str(error))
            progress.advance(reading)
    _print_findings(told, as_json=as_json, where=out_dir)
    for reason in refused:
        err.print(f"error: {reason}", style="red", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(_analysis_exit(told, refused))


def _analysis_exit(told: list[StudyFindings], refused: list[str]) -> int:
    if not told:
        return FAILED
    # An image that could not be read is a reason too, although 25 findings stand without it.
    whole = all(findings.status == "complete" and not findings.reasons for findings in told)
    return DONE if whole and not refused else INCOMPLETE


def _print_findings(told: list[StudyFindings], *, as_json: bool, where: Path) -> None:
    if as_json:
        documents = [findings.to_json() for findings in told]
        _print_json(documents[0] if len(documents) == 1 else documents)
        return
    for findings in told:
        out.print(tables.findings_grid(findings))
        for reason in findings.reasons:
            out.print(f"  {reason}", highlight=False)
    if told:
        out.print(f"results in {where}", highlight=False)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")


def _store(settings: Config) -> ModelStore:
    return ModelStore(settings.models_dir, settings.work.provider, settings.work.threads)


@app.command()
def serve(config: ConfigFile = None) -> None:
    """Run the whole node: listener, worker and review pages."""
    _run(load(config), listen=True, work=True, web=True)


@app.command()
def listen(config: ConfigFile = None) -> None:
    """Run only the DICOM listener (for several machines)."""
    _run(load(config), listen=True, work=False, web=False)


@app.command()
def work(config: ConfigFile = None) -> None:
    """Run only a worker (for several machines)."""
    _run(load(config), listen=False, work=True, web=False)


@app.command()
def web(config: ConfigFile = None) -> None:
    """Run only the review pages (for several machines)."""
    _run(load(config), listen=False, work=False, web=True)


def _run(settings: Config, *, listen: bool, work: bool, web: bool) -> None:
    _logging(service=True)
    log = structlog.get_logger()
    node = Node(settings)
    node.start(listen=listen, work=work)
    log.info(
        "node started",
        version=__version__,
        roles=[n for n, on in (("listen", listen), ("work", work), ("web", web)) if on],
        dicom=f"{settings.listen.ae_title}@{settings.listen.bind}:{settings.listen.port}",
        web=f"http://{settings.web.bind}:{settings.web.port}",
    )
    try:
        if web:
            uvicorn.run(
                create_app(node, settings.web),
                host=settings.web.bind,
                port=settings.web.port,
                log_level="warning",
                server_header=False,
            )
        else:
            _until_told_to_stop()
    finally:
        node.stop()
        log.info("node stopped")


def _until_told_to_stop() -> None:
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    told.wait()


@app.command()
def studies(
    config: ConfigFile = None,
    limit: Annotated[int, typer.Option(help="Newest studies to show")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the work: every study with its state and reasons."""
    rows = _node(config).index.studies(limit)
    if as_json:
        _print_json([tables.row_json(r) for r in rows])
    else:
        out.print(tables.work_list(rows))


@app.command()
def show(
    uid: Annotated[str, typer.Argument(help="Study Instance UID")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show one study: state, reasons, series choice, findings, deliveries."""
    node = _node(config)
    row = node.index.study(uid)
    if row is None:
        raise Misconfigured(f"this node holds no study {uid}; see `lumbar-node studies`")
    findings, deliveries = node.findings(uid), node.deliveries(uid)
    if as_json:
        _print_json(
            {
                **tables.row_json(row),
                "findings": findings,
                "deliveries": [tables.row_json(d) for d in deliveries],
            }
        )
        return
    out.print(tables.one_study(row, findings, deliveries))


@app.command()
def requeue(
    uid: Annotated[str, typer.Argument(help="Study Instance UID")], config: ConfigFile = None
) -> None:
    """Hand in again a study that failed, or its results that could not be delivered."""
    for what in _node(config).requeue(uid):
        out.print(f"handed in again: {what}", highlight=False)


@app.command()
def cancel(
    uid: Annotated[str, typer.Argument(help="Study Instance UID")], config: ConfigFile = None
) -> None:
    """Stop a study's job before its next step."""
    _node(config).cancel(uid)
    out.print("cancelled", highlight=False)


def _node(config: Path | None) -> Node:
    _logging(service=False)
    return Node(load(config))


@app.command()
def send(
    folder: Annotated[Path, typer.Argument(exists=True, help="DICOM files, or one file")],
    to: Annotated[str, typer.Option("--to", help="AE@HOST:PORT")],
    calling: Annotated[str, typer.Option(help="Our AE title")] = "LUMBAR",
    as_json: AsJson = False,
) -> None:
    """Send DICOM files by C-STORE."""
    _logging(service=False)
    files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else [folder]
    with Progress(console=err, transient=True, disable=as_json) as progress:
        sending = progress.add_task("sending", total=len(files))
        report = sender.send(
            files,
            destination_of(to),
            calling,
            progress=lambda done, _total: progress.update(sending, completed=done),
        )
    if as_json:
        _print_json({"stored": report.stored, "to": to})
    else:
        out.print(f"stored {report.stored} object(s) at {to}", highlight=False)


@app.command()
def echo(
    to: Annotated[str, typer.Argument(help="AE@HOST:PORT")],
    calling: Annotated[str, typer.Option(help="Our AE title")] = "LUMBAR",
) -> None:
    """Ask a DICOM peer whether it is there (C-ECHO)."""
    _logging(service=False)
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


@app.command("doctor")
def doctor_command(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Check configuration, disk, ports, models and destinations, then one phantom round trip."""
    _logging(service=False)
    checks = list(doctor.examine(load(config)))
    if as_json:
        _print_json([check._asdict() for check in checks])
    else:
        out.print(tables.checks(checks))
    raise typer.Exit(DONE if all(c.ok for c in checks) else FAILED)


@app.command()
def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Where the results go")] = Path("demo-out"),
    keep: Annotated[bool, typer.Option(help="Leave the node and its review page up")] = False,
) -> None:
    """Send a phantom study through a real node into a receiving PACS, and show the findings."""
    _logging(service=False)
    raise typer.Exit(demonstration.run(out_dir, out, keep=keep))


if __name__ == "__main__":
    main()
