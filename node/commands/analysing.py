"""``analyse``: studies in a folder, without any network."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from node import analysis, tables
from node.commands.shell import (
    DONE,
    INCOMPLETE,
    AsJson,
    ConfigFile,
    app,
    dicom_files,
    err,
    out,
    print_error,
    print_json,
    start_logging,
)
from node.config import Config, load
from node.errors import MixedPatients
from node.inference.runtime import ModelStore
from node.spine.findings import StudyFindings


@app.command()
def analyse(
    folder: Annotated[Path, typer.Argument(exists=True, help="DICOM files, or one file")],
    out_dir: Annotated[Path, typer.Option("--out", help="Where the results go")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Analyse the studies in a folder, without any network."""
    start_logging(service=False)
    settings = load(config)
    store = _store(settings)
    with Progress(console=err, transient=True, disable=as_json) as progress:
        reading = progress.add_task("reading headers", total=None)
        studies = analysis.read(dicom_files(folder))
        progress.update(reading, description="analysing", total=len(studies))
        told: list[StudyFindings] = []
        refused: list[str] = []
        for taken in studies:
            place = out_dir / taken.study_uid if len(studies) > 1 else out_dir
            try:
                findings = analysis.analyse(taken, store, place, settings=settings.report)
            except MixedPatients as error:
                refused.append(str(error))
                continue
            told.append(findings)
            if not findings.models:  # nothing was run
                refused += [f"study {taken.study_uid}: {why}" for why in findings.reasons]
            progress.advance(reading)
    _print_findings(told, as_json=as_json, where=out_dir)
    for reason in refused:
        print_error(reason)
    raise typer.Exit(_analysis_exit(told))


def _analysis_exit(told: list[StudyFindings]) -> int:
    # An image that could not be read is a reason too, although 25 findings stand without it.
    whole = all(findings.status == "complete" and not findings.reasons for findings in told)
    return DONE if whole else INCOMPLETE


def _print_findings(told: list[StudyFindings], *, as_json: bool, where: Path) -> None:
    if as_json:
        documents = [findings.to_json() for findings in told]
        print_json(documents[0] if len(documents) == 1 else documents)
        return
    for findings in told:
        out.print(tables.findings_grid(findings))
        for reason in findings.reasons:
            out.print(f"  {reason}", highlight=False)
    out.print(f"results in {where}", highlight=False)


def _store(settings: Config) -> ModelStore:
    return ModelStore(settings.models_dir, settings.work.provider, settings.work.threads)
