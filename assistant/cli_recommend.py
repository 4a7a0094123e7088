"""`tunewright recommend`: what to do with a task and its data, why, what it takes, and with trials the evidence.

Owns arguments, progress and what is printed; everything else is `advising`'s.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prompts.errors import DataError, PlanError

if TYPE_CHECKING:
    from assistant.advice.records import Advice, Option, Reason
    from assistant.advising import Limits, Looked
    from trainers.trials.folder import TrialsFolder
    from trainers.trials.records import Tried, Try

_DONE = {
    "begun": "trials {id} have begun",
    "gone on with": "trials {id} of the same task and rows go on where they were",
    "joined": "trials {id} of the same task and rows go on already",
    "found": "these options were tried already, in trials {id}; a larger --budget goes on with them",
}


def add_commands(cli: typer.Typer) -> None:
    """Register this command on the main command line."""
    cli.command()(recommend)


def recommend(
    spec: Annotated[Path | None, typer.Option(help="The task as YAML; `prompt:` in it is the prompt.")] = None,
    data: Annotated[Path | None, typer.Option(help="A file or folder with inputs and answers.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Try the options for real, on growing portions.")] = False,
    budget: Annotated[float | None, typer.Option(help="Minutes that --measure may take; 10 by default.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda; by default what is best here.")] = "",
    on: Annotated[str, typer.Option(help="A Ray cluster on which --measure tries several options at once.")] = "",
    plan_out: Annotated[Path | None, typer.Option(help="Write the advised plan there, for `tunewright train`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole advice as JSON.")] = False,
    input_column: Annotated[str, typer.Option("--input", help="The column that goes in.")] = "",
    output_column: Annotated[str, typer.Option("--output", help="The column with the answer.")] = "",
) -> None:
    """Say what to do and why, what it takes, and how sure that is; "do not fine-tune" included.

    Ctrl-C ends trials and keeps what they found; the same call goes on with them.
    """
    import json

    from assistant.advising import look
    from assistant.settings import settings_from_environment
    from assistant.spec_file import Asked, read_asked
    from prompts.spec import TaskSpec

    limits = _limits(measure, budget, device, on)
    if spec is None and data is None:
        raise DataError("There is nothing to advise on.", hint="Give --data FILE, --spec spec.yaml, or both.")
    asked = read_asked(spec) if spec else Asked(spec=TaskSpec())
    if device:
        asked = asked.model_copy(update={"spec": asked.spec.updated("said", device=device)})
    settings = settings_from_environment()
    named = {"input": input_column, "output": output_column}
    columns = {key: value for key, value in named.items() if value}
    looked = look(asked, data, settings, columns, to_try=measure)
    folder = None
    if limits is not None:
        looked, folder = _measured(looked, limits, settings.paths)
    written = _write(looked, plan_out) if plan_out else None
    found = _as_json(looked, folder, written) if as_json else None
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2) if found else "\n".join(_lines(looked, written)))


def _limits(measure: bool, budget: float | None, device: str, on: str) -> Limits | None:
    """What trials are held to; None where nothing is to be tried. Raises a `TunewrightError` for what cannot be."""
    from assistant.advising import Limits, checked_device
    from trainers.ray_cluster import read_cluster
    from trainers.trials.life import budget as checked

    checked_device(device)
    if not measure:
        for name, said in (("--budget", budget is not None), ("--on", bool(on))):
            if said:
                raise PlanError(f"{name} is about trials, and none were asked for.", hint="Add --measure, or drop it.")
        return None
    return Limits(checked(budget) if budget is not None else None, device, read_cluster(on))


# Trials


def _measured(looked: Looked, limits: Limits, paths: Any) -> tuple[Looked, TrialsFolder]:
    from assistant.advising import order_trials, with_evidence

    folder, how = order_trials(looked, limits, paths)
    typer.echo(_DONE[how].format(id=folder.id), err=True)
    _follow(folder)
    return with_evidence(looked, folder), folder


def _follow(folder: TrialsFolder) -> None:
    """Print a line on stderr for each try that ends, until all has; the first Ctrl-C asks the trials to stop."""
    from prompts.errors import RunError
    from trainers.trials import life
    from trainers.trials.folder import ENDED

    names = {one.key: one.title for one in folder.order().candidates}
    told, said, stopping = 0, "", False
    while True:
        try:
            status = life.status(folder)
            tried = folder.tried()
            left = f"; {_time(status.seconds_left)} left" if status.seconds_left and status.state not in ENDED else ""
            for one in tried[told:]:
                typer.echo(f"{_tried(one, names)}{left}", err=True)
            told = len(tried)
            doing = status.doing
            now = (
                f"Trying {names.get(doing.key, doing.key)} on {doing.portion:.0%} of the rows."
                if doing
                else status.message
            )
            if now and now != said:
                said = now
                typer.echo(now, err=True)
            if status.state in ENDED:
                return
            time.sleep(0.5)
        except KeyboardInterrupt:
            if stopping:
                raise
            stopping = True
            typer.echo("Stopping; what was found is kept, and the same call goes on with it.", err=True)
            try:
                life.stop(folder)
            except RunError:
                continue  # they have ended meanwhile


def _doing(one: Try, names: dict[str, str]) -> str:
    return f"Trying {names.get(one.key, one.key)} on {one.portion:.0%} of the training rows."


def _tried(one: Tried, names: dict[str, str]) -> str:
    """A try in a line: the option, what it learned from, its score with interval, and what it took."""
    from prompts.metrics import summarize

    what = f"{names.get(one.tried.key, one.tried.key)} on {one.rows} rows"
    if one.failed:
        return f"{what}: failed: {one.failed}"
    score = str(summarize(list(one.scores.values()))) if one.scores else "no score"
    return f"{what}: {score}, {_time(one.seconds)}"


def _time(seconds: float) -> str:
    from assistant.advice_words import time_of

    return time_of(seconds)


# What is printed


def _write(looked: Looked, to: Path) -> Path | None:
    """Write the advised plan where there is one."""
    from assistant.advice.plans import sources
    from trainers.paths import write_atomically

    plan = looked.advice.best.plan
    if plan is None or looked.situation is None:
        typer.echo(f"There is no plan to write to {to}: {looked.advice.best.title}.", err=True)
        return None
    write_atomically(to, plan.to_yaml(sources(looked.situation, plan)))
    return to


def _as_json(looked: Looked, folder: TrialsFolder | None, written: Path | None) -> dict[str, Any]:
    """The whole advice, what the task was understood to be, and the trials, if there were any."""
    from trainers.trials import life

    trials = None
    if folder is not None:
        decision = folder.decision()
        trials = {
            "id": folder.id,
            "status": life.status(folder).model_dump(mode="json"),
            "tried": [one.model_dump(mode="json") for one in folder.tried()],
            "decision": decision.model_dump(mode="json") if decision else None,
        }
    return {
        **looked.advice.model_dump(mode="json"),
        "spec": looked.spec.model_dump(mode="json"),
        "plan_file": str(written) if written else None,
        "trials": trials,
    }


def _lines(looked: Looked, written: Path | None) -> Iterator[str]:
    """The advice for people: what contradicts itself, the advised option, what it takes, the others in a line each."""
    from assistant import advice_words as words

    advice = looked.advice
    for conflict in advice.conflicts:
        change = words.change_of(conflict)
        yield f"! {conflict.told}"
        yield f"  {conflict.nearest}{f' ({change})' if change else ''}"
    if advice.conflicts:
        yield ""
    yield from _advised(advice)
    if others := advice.options[1:]:
        yield "\nOther options, the better first"
        yield from map(_other, others)
    yield ""
    if written:
        yield f"The plan is in {written}; `tunewright train {written}` follows it."
    elif advice.best.plan is not None:
        yield "--plan-out plan.yaml writes the plan, and `tunewright train plan.yaml` follows it."
    if not advice.evidence and advice.best.kind != "data":
        yield "--measure tries the options on your own rows."


def _advised(advice: Advice) -> Iterator[str]:
    from assistant import advice_words as words

    option = advice.best
    yield f"Advised: {option.title}"
    if score := words.measured(option):
        yield f"  {score}"
    yield from map(_reason, words.reasons(advice, option))
    if sure := words.how_sure(advice):
        yield f"  How sure: {sure}"
    yield from _takes(option)
    for change in option.changes:
        yield f"  What would change this: {change}"


def _takes(option: Option) -> Iterator[str]:
    from assistant import advice_words as words

    if training := option.training:
        figures = "; ".join(f"{caption}: {figure}" for caption, figure in words.takes(training))
        yield f"  To train on {training.machine}: {figures}"
        parts = ", ".join(f"{one.name} {one.told}" for one in words.memory_shares(training.memory))
        yield f"  Memory: {parts}{'' if training.fits else '; more than there is'}"
        yield f"  {words.how_sure_of(training)}"
    elif option.cost:
        yield f"  It takes: {option.cost}"
    if serving := option.serving:
        yield f"  To answer: {'; '.join(f'{caption}: {figure}' for caption, figure in words.serves(serving))}"
    if sizes := words.fitting(option.fits):
        fitting = [f"{size} GB" for size, fits, _ in sizes if fits]
        yield f"  Training fits on a card of: {', '.join(fitting) or 'none of the common sizes'}"


def _reason(reason: Reason) -> str:
    return f"  - {reason.text}{f' [{reason.source}]' if reason.source else ''}"


def _other(option: Option) -> str:
    from assistant import advice_words as words

    why = option.reasons[0].text if option.reasons else ""
    told = words.measured(option) or words.short_cost(option)
    return f"  {words.STANDINGS[option.standing]:<16}  {option.title}{f' ({told})' if told else ''}: {why}"
