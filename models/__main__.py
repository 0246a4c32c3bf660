"""``python -m models``: from nothing to shipped models, one command a step."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from models.data import build
from models.evaluate import evaluate as measure_all
from models.evaluate import show
from models.export import export as export_one
from models.export import split
from models.phantom_set import write_set
from models.real import measure_real, show_real
from models.train import Settings, save
from models.train import train as train_one
from node.inference.runtime import MODEL_NAMES, verify
from node.phantom import StudyOptions

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
console = Console()

ARTIFACTS = Path(__file__).resolve().parent / "artifacts"

Work = Annotated[Path, typer.Option(help="scratch folder, outside git")]
Names = Annotated[list[str] | None, typer.Argument(help="models; all nine when none is named")]


@app.command()
def phantom(
    out: Annotated[Path, typer.Option(help="folder to write, outside git")],
    n: Annotated[int, typer.Option(help="studies")] = 1000,
    layout: Annotated[
        Literal["rsna", "cases"], typer.Option(help="as the RSNA 2024 set, or prepared arrays")
    ] = "rsna",
    *,
    variety: Annotated[
        Literal["plain", "wide"], typer.Option(help="how much patients and scanners vary")
    ] = "wide",
    balanced: Annotated[bool, typer.Option(help="as many of each grade")] = False,
    first: Annotated[int, typer.Option(help="the first seed")] = 0,
    processes: int = 2,
) -> None:
    """Make the phantom studies that do not exist yet."""
    if layout == "rsna":
        options = StudyOptions(variety=variety, balanced=balanced)
        write_set(out, options, first=first, count=n, processes=processes)
        return
    build(out, "train", n, processes)
    build(out, "validation", max(1, n // 20), processes)


@app.command()
def train(
    work: Work,
    names: Names = None,
    *,
    minutes: float = 6.0,
    steps: int = 1_000_000,
    threads: int = 2,
    resume: Annotated[bool, typer.Option(help="go on from the weights of the last time")] = False,
) -> None:
    """Train models on all studies made so far."""
    files = {
        part: sorted((work / "cases" / part).glob("[0-9]*.npz")) for part in ("train", "validation")
    }
    if not files["train"]:
        make = f"python -m models phantom --out {work} --layout cases"
        console.print(f"no studies in {work}/cases: run `{make}`")
        raise typer.Exit(2)
    for name in names or MODEL_NAMES:
        settings = Settings(minutes=minutes, steps=steps, threads=threads)
        weights = work / "models" / name / "weights.pt" if resume else None
        trained = train_one(
            *split(name),
            files["train"],
            files["validation"],
            settings=settings,
            weights=weights,
        )
        save(trained, work / "models" / name, settings)
        console.print(name, trained.log)


@app.command()
def export(
    work: Work, names: Names = None, artifacts: Path = ARTIFACTS, version: str = "0.1.0"
) -> None:
    """Write ``model.onnx`` and ``card.toml`` of trained models, after a parity check."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    for name in names or MODEL_NAMES:
        console.print(f"{export_one(name, work, artifacts, version)} verified")


@app.command()
def evaluate(
    work: Work,
    artifacts: Path = ARTIFACTS,
    count: int = 60,
    processes: int = 2,
    real: Annotated[Path | None, typer.Option(help="folder of real cases with levels.csv")] = None,
) -> None:
    """Measure every stage on unseen phantoms, or the canal's levels on real cases."""
    if real is not None:
        show_real(measure_real(real, artifacts), console)
        return
    show(measure_all(work, artifacts, count, processes), console)


@app.command()
def card(names: Names = None, artifacts: Path = ARTIFACTS) -> None:
    """Print the cards of shipped models, after checking their hashes."""
    for name in names or MODEL_NAMES:
        verify(artifacts / name)
        console.print((artifacts / name / "card.toml").read_text("utf-8"), markup=False)


if __name__ == "__main__":
    app()
