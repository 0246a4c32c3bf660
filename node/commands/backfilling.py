"""``backfill``: an archive through the same queue, behind all live work."""

import fcntl
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from node.app import Node
from node.backfill.archives import Wanted, archive_of
from node.backfill.run import Backfill
from node.commands.shell import (
    DONE,
    FAILED,
    INCOMPLETE,
    AsJson,
    ConfigFile,
    app,
    err,
    open_node,
    out,
)
from node.errors import Misconfigured
from node.storage.leases import Leases
from node.storage.ledger import Ledger, State

#: How a study can end, and what a person reads.
ENDINGS: dict[State, str] = {
    "done": "assessed",
    "partial": "assessed in part",
    "not_assessable": "not assessable",
    "failed": "failed",
    "known": "skipped: the node has it already",
}
WITH_REASON: tuple[State, ...] = ("partial", "not_assessable", "failed")
#: So many different reasons are shown to a person.
REASONS = 10
#: The time left is estimated from the last half hour.
PERIOD_S = 1800.0

Day = typer.Option(formats=["%Y-%m-%d"], help="Study date, this day included")


@app.command()
def backfill(  # noqa: PLR0917 - a command line
    source: Annotated[
        str, typer.Argument(help="A folder of DICOM files, orthanc:NAME or dicomweb:NAME")
    ],
    since: Annotated[datetime | None, Day] = None,
    until: Annotated[datetime | None, Day] = None,
    description: Annotated[
        str, typer.Option(help="Of the study; * and ? stand for anything: '*lumb*'")
    ] = "",
    at_once: Annotated[
        int, typer.Option(min=1, max=100, help="Studies that may be here without an end")
    ] = 4,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring an archive's MR studies into the queue, behind all live work.

    A running node does the work. The same command once more goes on where this one was cut off.
    Who gets the results is said by [[sources]] with ae_title = "backfill".
    """
    wanted = Wanted(since and since.date(), until and until.date(), description)
    node = open_node(config)
    with _alone(node.config.data_dir):
        walk = _walk(node, source, wanted, at_once)
        report = _Report(walk, as_json=as_json)
        try:
            report.list(wanted)
            report.run()
            code = report.summary()
        finally:
            walk.ledger.close()
            node.stop()
    raise typer.Exit(code)


def _walk(node: Node, source: str, wanted: Wanted, at_once: int) -> Backfill:
    settings = node.config
    archive = archive_of(source, node.peers)
    leases = Leases(settings.database, settings.work.lease_s)
    return Backfill(
        archive=archive,
        ledger=Ledger(settings.database, archive.place, wanted.to_json()),
        index=node.index,
        at_once=at_once,
        hand_in=node.watcher.settled,
        findings_of=node.findings,
        # Where the node begins to release finished studies before their time.
        has_space=lambda: node.archive.free_mb() >= 2 * node.retention.min_free_mb,
        has_worker=lambda: bool(leases.living()),
    )


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Hold a lock for as long as this process lives: two walks would fetch everything twice."""
    with (data_dir / "backfill.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Misconfigured(
                "a back-fill of this node is running: wait for its end, or stop it"
            ) from error
        yield


@dataclass
class _Report:
    """A bar and a table for a person, or a line for each event for a program."""

    walk: Backfill
    as_json: bool
    _began: float = field(default_factory=time.monotonic)
    _ended: int = 0
    _said: str = ""

    def list(self, wanted: Wanted) -> None:
        """Tell how many studies there are."""
        with err.status("looking for studies") as status:
            for count in self.walk.listed(wanted):
                status.update(f"looking for studies: {count} so far")
        ledger = self.walk.ledger
        self._line("listed", studies=ledger.counts().total(), resumed=ledger.is_resumed)
        self._began = time.monotonic()

    def run(self) -> None:
        """Tell how far it is."""
        counts = self.walk.ledger.counts()
        columns = (
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(
            *columns, console=err, disable=self.as_json, speed_estimate_period=PERIOD_S
        ) as progress:
            ended = sum(counts[state] for state in ENDINGS)
            task = progress.add_task("", total=counts.total(), completed=ended, rate="")
            for entry in self.walk.run():
                if entry is not None:
                    self._ended += entry.state != "known"
                    self._line("study", **asdict(entry))
                    progress.advance(task)
                if self.walk.said != self._said:
                    self._said = self.walk.said
                    self._line("waits", reason=self._said)
                what = self._said or f"{self.walk.in_flight} at work"
                progress.update(task, description=what, rate=f"{self._rate():.0f}/h")

    def summary(self) -> int:
        """Tell how it ended, and return the exit code."""
        ledger = self.walk.ledger
        counts = ledger.counts()
        reasons = {s: dict(ledger.reasons(s).most_common()) for s in WITH_REASON}
        self._line(
            "summary",
            studies=counts.total(),
            **{state: counts[state] for state in ENDINGS},
            reasons=reasons,
            studies_per_hour=round(self._rate(), 1),
        )
        if not self.as_json:
            out.print(_table(counts, reasons))
        if counts["failed"]:
            return FAILED
        return INCOMPLETE if counts["partial"] or counts["not_assessable"] else DONE

    def _rate(self) -> float:
        """Return the studies an hour that ended in this process, without those skipped."""
        return 3600 * self._ended / max(time.monotonic() - self._began, 1e-9)

    def _line(self, event: str, **told: Any) -> None:
        if self.as_json:
            sys.stdout.write(json.dumps({"event": event, **told}) + "\n")
            sys.stdout.flush()


def _table(counts: Mapping[str, int], reasons: Mapping[State, Mapping[str, int]]) -> Table:
    table = Table("studies", "", "why", box=None)
    for state, words in ENDINGS.items():
        table.add_row(str(counts[state]), words)
        for reason, count in list(reasons.get(state, {}).items())[:REASONS]:
            table.add_row(str(count), "", reason, style="dim")
    return table
