"""`tunewright votes`: what people said of answers side by side, and the round of training that follows from it.

Owns arguments, how a project is found, and what is printed.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prompts.errors import RunError

if TYPE_CHECKING:
    from assistant.project import Project
    from assistant.votebench import VoteBench
    from assistant.votes import Vote
    from trainers.status import RunFolder

votes = typer.Typer(help="The votes of a project, and training on them.", no_args_is_help=True)
_Project = Annotated[str, typer.Argument(help="A project's id, or its name where no other has it.")]
_Run = Annotated[str, typer.Option(help="The run to improve; by default the one that is shown.")]
_LONGEST = 60  # characters of a message in a list


@votes.callback()
def _group() -> None:
    """Without this, typer takes a single command for the whole group."""


@votes.command()
def export(
    project: _Project,
    out: Annotated[Path | None, typer.Option(help="The file for it; by default it is printed.")] = None,
) -> None:
    """Print the pairs that the votes prove as JSON lines in TRL's preference format."""
    from trainers.paths import write_atomically

    bench, found = _opened(project)
    rows = bench.exported_pairs(found)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if out is None:
        typer.echo(text, nl=False)
        return
    write_atomically(out, text)
    typer.echo(f"{len(rows)} pairs from {len(bench.votes(found))} votes are in {out}.")


@votes.command(name="list")
def list_votes(project: _Project) -> None:
    """Print the votes, one a line, the oldest first."""
    bench, found = _opened(project)
    said = bench.votes(found)
    for vote in said:
        typer.echo(_line(vote))
    if not said:
        typer.echo("Nobody has voted yet.")


@votes.command()
def undo(
    project: _Project,
    voter: Annotated[str, typer.Option(help="Whose last vote; by default of who never gave a name.")] = "",
) -> None:
    """Take a voter's last vote back, and print it."""
    from assistant.votes import ME

    bench, found = _opened(project)
    gone = bench.undo_vote(found.id, voter or ME)
    if gone is None:
        raise RunError(f"{voter or ME} has no vote there.", hint="`tunewright votes list` shows who has.")
    typer.echo(f"taken back: {_line(gone)}")


@votes.command(name="round")
def next_round(
    project: _Project,
    start: Annotated[bool, typer.Option(help="Start it, and print the report; Ctrl-C cancels the training.")] = False,
    run: _Run = "",
) -> None:
    """Print the plan of a DPO run on the votes, or start it. The report is on the improved run's own test rows."""
    bench, found = _opened(project)
    if start:
        _follow(bench.start_next_round(found.id, run or None))
        return
    prepared = bench.prepare_round(found.id, run or None)
    for warning in prepared.warnings:
        typer.echo(f"Note: {warning}", err=True)
    typer.echo(prepared.text, nl=False)


def _opened(text: str) -> tuple[VoteBench, Project]:
    """The bench and a project by id or name. Raises `RunError`."""
    from assistant.settings import settings_from_environment
    from assistant.votebench import VoteBench

    bench = VoteBench(settings_from_environment())
    found = bench.store.named(text)
    if not found:
        raise RunError(f"There is no project {text!r}.", hint="The app shows the names of your projects.")
    if len(found) > 1:
        told = f"{len(found)} projects have the name {text!r}."
        raise RunError(told, hint=f"Use an id: {', '.join(project.id for project in found)}.")
    return bench, found[0]


def _follow(run: RunFolder) -> None:
    """Print progress and the report; Ctrl-C cancels."""
    from assistant.cli import follow
    from trainers import jobs

    try:
        typer.echo(f"run {run.id} in {run.path}")
        for note in run.written_status().notes:
            typer.echo(f"Note: {note}")
        follow(run)
    except KeyboardInterrupt:
        typer.echo("Cancelling ...")
        jobs.cancel(run)
        follow(run)


def _line(vote: Vote) -> str:
    """One vote: id, time, voter, verdict, what stood left and right, and the message."""
    when = datetime.fromtimestamp(vote.created).strftime("%Y-%m-%d %H:%M")
    sides = " | ".join(answer.title or answer.model for answer in vote.answers)
    marks = "".join((" blind" * vote.blind, " edited" * bool(vote.edited), " flagged" * bool(vote.flagged)))
    message = " ".join(vote.message.split())
    short = message if len(message) <= _LONGEST else f"{message[: _LONGEST - 2]} …"
    return f"{vote.id}  {when}  {vote.voter}  {vote.verdict}{marks}  [{sides}]  {short}"
