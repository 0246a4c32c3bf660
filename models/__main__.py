"""``python -m models``: from labelled studies to shipped models, one command a step."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from models import real as real_cases
from models.card import statement_of, write_metrics
from models.data import case_files, prepare_all, source_of
from models.evaluate import Measured, Part, measure
from models.export import export as export_one
from models.export import split
from models.page import STAGES, write_page, write_real_page
from models.phantom_set import write_set
from models.refusal import measure_refusal, refuse_files
from models.summary import summarise
from models.train import Settings, save
from models.train import train as train_one
from node.inference.runtime import MODEL_NAMES, verify
from node.phantom import StudyOptions
from node.phantom.options import Scanners, Variety

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
console = Console()

ARTIFACTS = Path(__file__).resolve().parent / "artifacts"

Work = Annotated[Path, typer.Option(help="scratch folder, outside git")]
Data = Annotated[Path, typer.Option(help="folder in the layout of the RSNA 2024 download")]
Names = Annotated[list[str] | None, typer.Argument(help="models; all nine when none is named")]


@app.command()
def phantom(
    out: Annotated[Path, typer.Option(help="folder to write, outside git")],
    n: Annotated[int, typer.Option(help="studies")] = 1000,
    layout: Annotated[Literal["rsna"], typer.Option(help="as the RSNA 2024 set")] = "rsna",  # noqa: ARG001
    *,
    variety: Annotated[Variety, typer.Option(help="how much patients and scanners vary")] = "wide",
    scanners: Annotated[
        Scanners, typer.Option(help="other: settings never trained on (wide only)")
    ] = "usual",
    balanced: Annotated[bool, typer.Option(help="as many of each grade")] = False,
    first: Annotated[int, typer.Option(help="the first seed")] = 0,
    processes: int = 2,
) -> None:
    """Make the phantom studies that do not exist yet."""
    if scanners == "other" and variety != "wide":
        raise typer.BadParameter("other scanners are known for --variety wide only")
    options = StudyOptions(variety=variety, scanners=scanners, balanced=balanced)
    write_set(out, options, first=first, count=n, processes=processes)


@app.command()
def prepare(data: Data, work: Work, processes: int = 2) -> None:
    """Turn labelled series into training cases; a run that was stopped goes on."""
    for what, count in sorted(prepare_all(data, work, processes).items()):
        console.print(f"{count:>7} {what}", highlight=False)


@app.command()
def train(
    work: Work,
    names: Names = None,
    *,
    minutes: float = 6.0,
    steps: int = 1_000_000,
    threads: int = 2,
    weighted: Annotated[
        bool, typer.Option(help="grades cost 1, 2 and 4, as in the competition")
    ] = False,
    pretrained: Annotated[
        bool, typer.Option(help="severity: begin with EfficientNet-Lite0 of ImageNet")
    ] = False,
    resume: Annotated[bool, typer.Option(help="go on from the weights of the last time")] = False,
) -> None:
    """Train models on all cases prepared so far."""
    for name in names or MODEL_NAMES:
        stage, group = split(name)
        files = case_files(work, "train", group)
        if not files:
            console.print(f"no cases in {work}: run `python -m models prepare --work {work}`")
            raise typer.Exit(2)
        settings = Settings(
            minutes, steps, threads=threads, weighted=weighted, pretrained=pretrained
        )
        weights = work / "models" / name / "weights.pt" if resume else None
        validation = case_files(work, "validation", group)
        trained = train_one(stage, group, files, validation, settings=settings, weights=weights)
        trained.log["data"] = source_of(work)
        save(trained, work / "models" / name, settings)
        console.print(name, trained.log)


@app.command()
def export(
    work: Work,
    names: Names = None,
    artifacts: Path = ARTIFACTS,
    version: str = "0.1.0",
    *,
    half: Annotated[bool, typer.Option(help="write model.fp16.onnx beside each model")] = False,
) -> None:
    """Write ``model.onnx`` and ``card.toml`` of trained models, after a parity check."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    for name in names or MODEL_NAMES:
        console.print(f"{export_one(name, work, artifacts, version, half=half)} verified")


@app.command()
def evaluate(
    data: Annotated[
        Path | None, typer.Option(help="labelled studies in the layout of RSNA 2024")
    ] = None,
    real: Annotated[Path | None, typer.Option(help="real cases with levels.csv")] = None,
    refuse: Annotated[
        Path | None, typer.Option(help="files that are nothing to assess, each a study")
    ] = None,
    *,
    part: Annotated[
        Part, typer.Option(help="`all` for studies that were never trained on")
    ] = "test",
    spoilt: Annotated[
        int, typer.Option(help="instead, spoil so many of the studies: are they refused?")
    ] = 0,
    count: Annotated[int | None, typer.Option(help="at most so many studies")] = None,
    artifacts: Path = ARTIFACTS,
    out: Annotated[Path, typer.Option(help="folder for JSON and page")] = Path("evaluation"),
    processes: int = 2,
) -> None:
    """Measure the models: on labelled studies, on real cases, or on what is to be refused."""
    out.mkdir(parents=True, exist_ok=True)
    if data is not None and spoilt:
        result = measure_refusal(data, artifacts, spoilt)
        _write(out / "refusal.json", result)
        _show(result, ("findings", "refused", "studies", "studies_refused"))
    elif data is not None:
        measured = measure(data, artifacts, part=part, most=count, processes=processes)
        _report(data, artifacts, out, measured)
    if real is not None:
        judged = real_cases.measure_real(real, artifacts)
        result = real_cases.summarise_real(judged)
        if (real.parent / "real-study").is_dir():
            study = real_cases.grade_study(real.parent / "real-study", artifacts)
            result["severity"]["real-study"] = study
        _write(out / "real.json", {**result, "judged": [asdict(j) for j in judged]})
        write_real_page(out / "real.html", real, judged, result)
        shown = ("discs", "right", "flagged", "silent", "right_but_warned", "height_median_mm")
        _show({name: row for name, row in result.items() if name != "severity"}, shown)
        console.print(result["severity"])
    if refuse is not None:
        result = refuse_files(sorted(p for p in refuse.rglob("*.dcm")), artifacts)
        _write(out / "refused.json", result)
        console.print(f"{result['refused']} of {result['files']} refused")
        for name, why in result["reasons"].items():
            console.print(f"{name}: {why}", highlight=False)
    if data is None and real is None and refuse is None:
        console.print("name what to measure on: --data, --real or --refuse")
        raise typer.Exit(2)


def _report(data: Path, artifacts: Path, out: Path, measured: Measured) -> None:
    """Write and print what was measured on labelled studies."""
    records, oddities = measured
    result = summarise(records)
    models = {name: verify(artifacts / name) for name in MODEL_NAMES}
    result["models"] = {n: {"version": v, "sha256": h} for n, (v, h) in models.items()}
    result["oddities"] = dict(oddities)
    _write(out / "evaluation.json", result)
    facts = [
        statement_of(artifacts / MODEL_NAMES[0]),
        f"{result['studies']} studies, {result['findings']} labelled findings of {data}.",
        "Intervals: 95 %, bootstrap by study. Constant: the best for these very studies.",
        *(f"{n}: version {v}, SHA-256 {h[:12]}" for n, (v, h) in models.items()),
        *(f"{n} {what}" for what, n in oddities.items()),
    ]
    write_page(out / "evaluation.html", data, records, result, facts)
    for stage in STAGES:
        for group, table in result[stage].items():
            _show(table, ("model", "low", "high", "constant"), f"{stage}, {group}")
    _show(result["competition"], ("model", "low", "high", "constant"), "competition")
    console.print(f"written: {out}/evaluation.json, {out}/evaluation.html")


def _write(path: Path, result: dict[str, Any]) -> None:
    path.write_text(json.dumps(result, indent=1), "utf-8")


def _show(rows: dict[str, Any], columns: tuple[str, ...], title: str = "") -> None:
    table = Table("", *columns, title=title)
    for name, row in rows.items():
        table.add_row(name, *("" if row[c] is None else str(row[c]) for c in columns))
    console.print(table)


@app.command()
def card(
    names: Names = None,
    artifacts: Path = ARTIFACTS,
    metrics: Annotated[
        Path | None, typer.Option(help="evaluation.json whose figures go into the cards")
    ] = None,
) -> None:
    """Check the hashes of shipped models, and print or complete their cards."""
    for name in names or MODEL_NAMES:
        verify(artifacts / name)
        file = artifacts / name / "card.toml"
        if metrics is not None:
            write_metrics(file, json.loads(metrics.read_text("utf-8")))
        console.print(file.read_text("utf-8"), markup=False)


if __name__ == "__main__":
    app()
