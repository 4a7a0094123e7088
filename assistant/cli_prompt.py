"""`tunewright prompt`: refining a prompt from the command line. Owns arguments, progress and what is printed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from assistant.improving import Improving

prompt = typer.Typer(help="The prompt workshop, without the app.", no_args_is_help=True)


@prompt.callback()
def _group() -> None:
    """Without this, typer takes a single command for the whole group."""


@prompt.command()
def refine(
    spec: Annotated[Path, typer.Option(help="The task as YAML; `prompt:` in it is the version to begin with.")],
    data: Annotated[Path, typer.Option(help="A file or folder with inputs and answers.")],
    budget: Annotated[float, typer.Option(min=0.1, help="Minutes that the search may take.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
    input_column: Annotated[str, typer.Option("--input", help="The column that goes in.")] = "",
    output_column: Annotated[str, typer.Option("--output", help="The column with the answer.")] = "",
) -> None:
    """Search a better prompt on dev rows; the test rows stay sealed. Ctrl-C ends it and keeps what was found."""
    import json

    from assistant.refining import refine
    from assistant.settings import settings_from_environment
    from assistant.spec_file import read_asked

    named = {"input": input_column, "output": output_column}
    columns = {key: value for key, value in named.items() if value}
    found = refine(read_asked(spec), data, budget, settings_from_environment(), columns, _follow)
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2) if as_json else _lines(found))


def _follow(job: Improving) -> None:
    """Print progress to stderr until the search ends; the first Ctrl-C asks it to stop."""
    told = ""
    while job.running:
        try:
            if job.message and job.message != told:
                told = job.message
                typer.echo(told, err=True)
            time.sleep(0.3)
        except KeyboardInterrupt:
            typer.echo("Stopping; what was found is kept.", err=True)
            job.stop()


def _lines(found: dict[str, Any]) -> str:
    """The outcome for people: the sentence, the candidates with their scores, and the version to take."""
    lines = [found["told"], *found["notes"], ""]
    lines += [f"{line['score']:6.0%}  on {line['rows']:>3} rows  {line['reason']}" for line in found["candidates"]]
    version = found["prompt"]
    lines += [
        "",
        f"version {version['id']}: {version.get('reason', '')}",
        version.get("system", ""),
        version["template"],
    ]
    shown = len(version.get("demonstrations", ()))
    return "\n".join([*lines, *([f"with {shown} solved examples"] if shown else [])])
