"""Commands about whether a run's result is better: examine it, print the report, write it as a card or a page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from prompts.errors import RunError

if TYPE_CHECKING:
    from trainers.evaluation.records import EvaluationReport
    from trainers.plan import EvaluationPlan
    from trainers.status import RunFolder

_Run = Annotated[str, typer.Argument(help="A run's id or folder.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")]
Format = Literal["text", "card", "html", "json"]


def add_commands(cli: typer.Typer) -> None:
    """Register these commands on the main command line."""
    for command in (evaluate, report):
        cli.command()(command)


def evaluate(
    run: _Run,
    as_json: _AsJson = False,
    probe: Annotated[list[str] | None, typer.Option(help="Only this probe; several times for several.")] = None,
    rows: Annotated[int | None, typer.Option(help="At most so many rows for each probe.", min=1)] = None,
    own_task: Annotated[list[Path] | None, typer.Option(help="A file with another task it must still do.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="Stereotype pairs in CrowS-Pairs' format.")] = None,
    text: Annotated[Path | None, typer.Option(help="A text file for perplexity.")] = None,
) -> None:
    """Examine a run's result anew on its sealed test rows. Ctrl-C keeps the report from before."""
    from trainers import jobs
    from trainers.paths import default_paths

    found = jobs.find_run(run, default_paths())
    given = {"probes": probe, "probe_rows": rows, "own_tasks": own_task, "pairs": pairs, "general_text": text}
    jobs.evaluate(found, default_paths(), _changed(found, {name: value for name, value in given.items() if value}))
    before = found.report()
    try:
        _wait(found, quietly=as_json)
    except KeyboardInterrupt:
        typer.echo("Cancelling ...", err=True)
        jobs.cancel(found)
        raise typer.Exit(3) from None
    after = found.report()
    if after is None or after == before:
        status = jobs.status(found)
        raise RunError(status.message, hint=status.hint)
    typer.echo(after.model_dump_json(indent=1) if as_json else "\n".join(lines_of(found, after)))


def _changed(run: RunFolder, given: dict[str, object]) -> EvaluationPlan | None:
    """How the run is examined, with what the person gave; None where they gave nothing. Raises `PlanError`."""
    from pydantic import ValidationError

    from prompts.errors import PlanError
    from trainers.plan import EvaluationPlan

    if not given:
        return None
    try:
        changed = EvaluationPlan.model_validate({**run.how().model_dump(), **given}).found_from(Path.cwd())
    except ValidationError as error:
        first = error.errors()[0]
        told = f"{first['loc'][0]} cannot be {first['input']!r}: {first['msg']}."
        raise PlanError(told, hint="`tunewright evaluate --help` lists what there is.") from error
    for file in (*changed.own_tasks, changed.pairs, changed.general_text):
        if file and not file.is_file():
            raise PlanError(f"There is no file {file}.", hint="Check the path.")
    return changed


def _wait(run: RunFolder, *, quietly: bool) -> None:
    """Follow the examination to its end; where the output is to be JSON, its progress goes to stderr."""
    from assistant.cli import progress

    for line in progress(run):
        typer.echo(line, err=quietly)


def report(
    run: _Run,
    as_json: _AsJson = False,
    form: Annotated[
        Format, typer.Option("--format", help="text, card (Hugging Face), html (printable), json.")
    ] = "text",
    to: Annotated[Path | None, typer.Option(help="The file to write; by default it is printed.")] = None,
) -> None:
    """Print a run's report, or write it as a model card, a printable page, or JSON."""
    from trainers import jobs
    from trainers.paths import default_paths, write_atomically

    found = jobs.find_run(run, default_paths())
    text = _written(found, "json" if as_json else form)
    if to is None:
        typer.echo(text)
        return
    write_atomically(to, text)
    typer.echo(f"written to {to}", err=True)


def _written(run: RunFolder, form: Format) -> str:
    from trainers import cards, jobs
    from trainers.energy import rates_from

    status, found = jobs.status(run), run.report()
    if found is None:
        if status.state == "failed":
            raise RunError(status.message, hint=status.hint)
        return f"{run.id} is {status.state}; it has no report."
    if form == "text":
        return "\n".join(lines_of(run, found))
    return cards.text_of(run, form, rates_from(os.environ))


def lines_of(run: RunFolder, report: EvaluationReport) -> list[str]:
    """A report for the terminal: the verdict, the arms, what did not pass, and where the result is."""
    lines = [report.verdict.headline] if report.verdict else []
    width = max([len(arm.name) for arm in report.arms] or [5])
    scores = [(arm.name, arm.score) for arm in report.arms] or [("base", report.base), ("tuned", report.tuned)]
    lines += [f"{name:<{width}} {report.metric}: {score}" for name, score in scores]
    change = report.comparison
    lines.append(
        f"difference: {change.difference * 100:+.0f} points "
        f"({change.low * 100:+.0f} to {change.high * 100:+.0f}), p = {change.p_value:.2g}: {change.verdict}"
    )
    lines += [f"{gate.level:<8} {gate.name}: {gate.told}" for _, gate in report.every_gate]
    result = f"prompt: version {report.prompt_id}" if run.artefact is None else f"{run.artefact.name}: {run.artefact}"
    return [*lines, result]


def print_end(run: RunFolder) -> None:
    """What a run came to. Raises `RunError` for one that failed."""
    from trainers import jobs

    status = jobs.status(run)
    if status.state == "failed":
        raise RunError(status.message, hint=status.hint)
    typer.echo(_written(run, "text"))
