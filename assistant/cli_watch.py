"""`tunewright watch`: what is asked of a served run, whether that has changed, and when to tune again.

Owns arguments and what is printed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prompts.errors import DataError

if TYPE_CHECKING:
    from assistant.watching.labelled import Ask
    from trainers.status import RunFolder


def add_commands(cli: typer.Typer) -> None:
    """Register it on the main command line."""
    cli.command()(watch)


def watch(
    run: Annotated[str, typer.Argument(help="A run's id or folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    labelled: Annotated[Path | None, typer.Option(help="A file of inputs with right answers, to score by.")] = None,
    input_column: Annotated[str, typer.Option("--input", help="Its column with the inputs.")] = "",
    output_column: Annotated[str, typer.Option("--output", help="Its column with the right answers.")] = "",
    at: Annotated[str, typer.Option(help="Where the run is served (http://127.0.0.1:8000/v1), to ask new rows.")] = "",
    log: Annotated[bool | None, typer.Option("--log/--no-log", help="Switch the run's log on or off.")] = None,
    mask: Annotated[bool | None, typer.Option("--mask/--no-mask", help="Mask personal data in the log.")] = None,
    delete: Annotated[bool, typer.Option(help="Delete the log, with what was found out from it.")] = False,
) -> None:
    """Print what is asked of a served run, whether that has changed, and when to tune again."""
    from assistant.watching.labelled import read_labelled, score_labelled
    from assistant.watching.log import RequestLog
    from assistant.watching.watch import lines, watched
    from trainers import jobs
    from trainers.paths import default_paths

    found = jobs.find_run(run, default_paths())
    requests = RequestLog(found)
    wanted = {"log": log, "mask": mask}
    if changes := {name: value for name, value in wanted.items() if value is not None}:
        requests.write_settings(requests.settings().model_copy(update=changes))
    if delete:
        typer.echo(f"{requests.delete():,} requests of {found.id} are deleted.", err=as_json)
    if (at or input_column or output_column) and labelled is None:
        raise DataError("--at, --input and --output are about a file of labelled rows.", hint="Add --labelled FILE.")
    if labelled is not None:
        columns = {name: value for name, value in (("input", input_column), ("output", output_column)) if value}
        rows = read_labelled(labelled, columns)
        score_labelled(found, rows, _asking(found, at) if at else None, labelled.name)
    seen = watched(found)
    typer.echo(
        json.dumps(seen.model_dump(mode="json"), ensure_ascii=False, indent=1) if as_json else "\n".join(lines(seen))
    )


def _asking(run: RunFolder, url: str) -> Ask:
    """Asks the run at an address where it is served."""
    from assistant.watching.asking import Unlogged, asking

    return asking(Unlogged(name=run.id, url=url.rstrip("/")), run)
