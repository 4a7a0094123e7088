"""The command line. Owns arguments, exit codes and what is printed; everything else is called.

Heavy imports stay inside the commands, so that `tunewright --help` answers at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assistant import cli_export, cli_recommend, cli_report, cli_runs, cli_watch
from assistant.cli_prompt import prompt
from assistant.cli_report import print_end
from assistant.cli_users import user
from assistant.cli_votes import votes
from prompts.errors import TunewrightError

if TYPE_CHECKING:
    from trainers.launching import Launch
    from trainers.plan import TrainingPlan
    from trainers.ray_cluster import Cluster
    from trainers.status import RunFolder, RunStatus

cli = typer.Typer(
    name="tunewright",
    help="Guided fine-tuning of language models, on your own machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
cli.add_typer(prompt, name="prompt")
cli.add_typer(user, name="user")
cli.add_typer(votes, name="votes")


@cli.command()
def app(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 7860,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Open the app in the browser."""
    from assistant.ui.launch import run_app

    run_app(port, open_browser)


@cli.command()
def describe(
    turns: Annotated[list[str], typer.Argument(help="What you would write in the chat, one argument a message.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print spec, question and reply as JSON.")] = False,
) -> None:
    """Print what the chat understands of a task described in these messages. Keeps nothing."""
    import json

    from assistant.describe import describe as describe_task
    from assistant.settings import settings_from_environment

    told = describe_task(turns, settings_from_environment())
    typer.echo(json.dumps(told, ensure_ascii=False, indent=2) if as_json else told["reply"])


@cli.command()
def profile(
    data: Annotated[str, typer.Argument(help="A file, a folder, or a data set of the hub (owner/name).")],
    as_json_text: Annotated[bool, typer.Option("--json", help="Print the whole profile as JSON.")] = False,
    model: Annotated[str, typer.Option(help="Whose tokenizer counts: embedded, a hub id, a folder.")] = "embedded",
    input_column: Annotated[str, typer.Option("--input", help="The column that goes in.")] = "",
    output_column: Annotated[str, typer.Option("--output", help="The column with the answer.")] = "",
    split_column: Annotated[str, typer.Option("--split", help="The column that names train and test rows.")] = "",
) -> None:
    """Print what is in the data and what would spoil a training. Changes nothing."""
    import json

    from assistant.profile_report import as_json, as_lines, profile_file
    from trainers.paths import default_paths

    named = {"input": input_column, "output": output_column, "split": split_column}
    found = profile_file(data, model, default_paths(), {key: value for key, value in named.items() if value})
    typer.echo(json.dumps(as_json(*found), ensure_ascii=False) if as_json_text else "\n".join(as_lines(*found)))


@cli.command()
def train(
    plan: Annotated[Path, typer.Argument(help="A plan as YAML; the Strategy panel shows one.")],
    detach: Annotated[bool, typer.Option(help="Start, print the run, and leave it to itself.")] = False,
    on: Annotated[str, typer.Option(help="A Ray cluster: ray://HOST:10001, or its dashboard http://HOST:8265.")] = "",
    processes: Annotated[int, typer.Option(help="Processes that train together, one a GPU (accelerate launch).")] = 1,
    machines: Annotated[int, typer.Option(help="Machines that these are divided among.")] = 1,
    main: Annotated[str, typer.Option(help="HOST:PORT where the other machines reach this one.")] = "",
    accelerate_config: Annotated[Path | None, typer.Option(help="What `accelerate config` wrote.")] = None,
) -> None:
    """Train by a plan and print the report. Ctrl-C cancels the training."""
    from trainers.launching import read_launch
    from trainers.plan import read_plan
    from trainers.ray_cluster import read_cluster

    launch, cluster = read_launch(processes, machines, main, accelerate_config), read_cluster(on)
    begin(read_plan(plan), detach=detach, launch=launch, cluster=cluster)


def begin(plan: TrainingPlan, *, detach: bool, launch: Launch | None = None, cluster: Cluster | None = None) -> None:
    """Check a plan, start it as a run, and follow that unless it is left to itself."""
    from trainers import jobs
    from trainers.checking import check_plan
    from trainers.dataset import load_dataset
    from trainers.hardware import choose_compute
    from trainers.models import resolve
    from trainers.paths import default_paths

    paths = default_paths()
    data = load_dataset(plan.data.path, plan.data.columns, plan.data.edits)
    if cluster is None:  # a base model may be there alone
        base = resolve(plan.base_model, paths, trust_remote_code=plan.trust_remote_code)
        for warning in check_plan(plan, base, choose_compute(paths.cache), jobs.splits_for(plan, data)):
            typer.echo(f"Note: {warning}")
    run = jobs.create_run(plan, paths, data)
    _keep(run, launch, cluster)
    try:
        jobs.start(run)
        typer.echo(f"run {run.id} in {run.path}")
        typer.echo(f"The result will be served {plan.strategy.serving.told}.")
        if run.set_aside.exists():
            typer.echo(f"Some rows could not be read; they are in {run.set_aside}, each with the reason.")
        if not detach:
            follow(run)
    except KeyboardInterrupt:
        typer.echo("Cancelling ...")
        jobs.cancel(run)
        follow(run)


def _keep(run: RunFolder, launch: Launch | None, cluster: Cluster | None) -> None:
    """How and where the run is carried out, where that is not one process on this machine."""
    from trainers import launching, ray_cluster

    if launch and not launch.plain:
        launching.keep(run, launch)
        for rank in range(1, launch.machines):
            typer.echo(f"on machine {rank}: python -m trainers.launching {run.path} {rank}")
    if cluster:
        ray_cluster.keep(run, cluster)


@cli.command()
def script(
    plan: Annotated[Path, typer.Argument(help="A plan as YAML.")],
    out: Annotated[Path | None, typer.Option(help="The folder for it; by default named after the plan.")] = None,
) -> None:
    """Write a plain TRL script that runs without Tunewright and gives the same result, with its rows beside it."""
    from trainers.paths import default_paths
    from trainers.plan import read_plan
    from trainers.script import write_script

    typer.echo(write_script(read_plan(plan), default_paths(), out or plan.with_name(f"{plan.stem}-script")))


@cli.command()
def runs() -> None:
    """List the runs, the newest first."""
    from trainers import jobs
    from trainers.paths import default_paths, size_of

    found = jobs.list_runs(default_paths())
    if not found:
        typer.echo("There are no runs yet. `tunewright train PLAN` starts one.")
    for run in found:
        report = run.report()
        score = f"  {report.metric}: base {report.base.value:.0%}, tuned {report.tuned.value:.0%}" if report else ""
        name = f"  {run.name}" if run.name != run.id else ""
        typer.echo(f"{run.id}  {jobs.status(run).state:<9}  {size_of(run.path) / 1e6:7.1f} MB{score}{name}")


@cli.command()
def cancel(run: Annotated[str, typer.Argument(help="A run's id or folder.")]) -> None:
    """Cancel a training that runs."""
    from trainers import jobs
    from trainers.paths import default_paths
    from trainers.status import ENDED

    found = jobs.find_run(run, default_paths())
    state = jobs.status(found).state
    if state in ENDED:
        typer.echo(f"{found.id} has ended already: {state}.")
        return
    jobs.cancel(found)
    typer.echo(f"{found.id}: asked to stop.")


@cli.command()
def fetch(
    model: Annotated[str, typer.Argument(help="embedded, a hub id, a folder or a .gguf file.")] = "embedded",
) -> None:
    """Bring a base model to this machine, and say what it will compute with."""
    from trainers.hardware import choose_compute, detect
    from trainers.models import resolve
    from trainers.paths import default_paths

    paths = default_paths()
    found = resolve(model, paths)
    typer.echo(f"{found.name}: {found.parameters / 1e6:.0f} million weights in {found.folder}")
    typer.echo(f"{detect()}: {choose_compute(paths.cache).reason}")


def follow(run: RunFolder) -> None:
    """Print progress until the run ends. Exit code 1 where it failed, 3 where it was cancelled."""
    from trainers import jobs

    for line in progress(run):
        typer.echo(line)
    print_end(run)
    if (state := jobs.status(run).state) != "done":
        raise typer.Exit(3 if state == "cancelled" else 1)


def progress(run: RunFolder) -> Iterator[str]:
    """A line whenever there is something new, until the run has ended."""
    from trainers import jobs
    from trainers.status import ENDED

    told = ""
    while (status := jobs.status(run)).state not in ENDED:
        line = _progress_line(status)
        if line != told:
            yield line
            told = line
        time.sleep(1)


def _progress_line(status: RunStatus) -> str:
    left = f", {status.seconds_left:.0f} s left" if status.seconds_left else ""
    speed = f", {status.tokens_per_second:.0f} tokens/s" if status.phase == "training" and status.tokens else ""
    return f"{status.phase} {status.fraction:4.0%}{speed}{left}  {status.message}"


for commands in (cli_report, cli_runs, cli_export, cli_watch, cli_recommend):
    commands.add_commands(cli)


def main() -> None:
    """The entry point. An error is one sentence on stderr and exit code 1; a missing argument is code 2."""
    try:
        cli()
    except TunewrightError as error:
        told = str(error)
    except OSError as error:
        told = f"{error.filename or 'The system says'}: {error.strerror or error}."
    else:
        return
    typer.echo(f"error: {' '.join(told.split())}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
