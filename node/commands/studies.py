"""``studies``, ``show``, ``requeue``, ``cancel``: the work list and one study."""

from typing import Annotated

import typer

from node import tables
from node.commands.shell import AsJson, ConfigFile, app, open_node, out, print_json
from node.errors import Misconfigured


@app.command()
def studies(
    config: ConfigFile = None,
    limit: Annotated[int, typer.Option(help="Newest studies to show")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the work: every study with its state and reasons."""
    rows = open_node(config).index.studies(limit)
    if as_json:
        print_json([tables.row_json(r) for r in rows])
    else:
        out.print(tables.work_list(rows))


@app.command()
def show(
    uid: Annotated[str, typer.Argument(help="Study Instance UID")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show one study: state, reasons, series choice, findings, deliveries."""
    node = open_node(config)
    row = node.index.study(uid)
    if row is None:
        raise Misconfigured(f"this node holds no study {uid}; see `lumbar-node studies`")
    findings, deliveries = node.findings(uid), node.deliveries(uid)
    deleted = node.results_deleted(uid)
    if as_json:
        print_json(
            {
                **tables.row_json(row),
                "findings": findings,
                "deliveries": [tables.row_json(d) for d in deliveries],
                "results_deleted": deleted.isoformat() if deleted else None,
            }
        )
        return
    out.print(tables.one_study(row, findings, deliveries, deleted))


@app.command()
def requeue(
    uid: Annotated[str, typer.Argument(help="Study Instance UID")], config: ConfigFile = None
) -> None:
    """Hand in again a study that failed, or its results that could not be delivered."""
    for what in open_node(config).requeue(uid):
        out.print(f"handed in again: {what}", highlight=False)


@app.command()
def cancel(
    uid: Annotated[str, typer.Argument(help="Study Instance UID")], config: ConfigFile = None
) -> None:
    """Stop a study's job before its next step."""
    open_node(config).cancel(uid)
    out.print("cancelled", highlight=False)
