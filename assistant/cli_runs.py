"""Commands about runs: go on, stop, name, delete, lay side by side, and take adapters that were trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_Run = Annotated[str, typer.Argument(help="A run's id or folder.")]


def add_commands(cli: typer.Typer) -> None:
    """Register these commands on the main command line."""
    for command in (stop, resume, rename, delete, diff, serve):
        cli.command()(command)
    cli.command(name="import")(import_adapter)


def stop(run: _Run) -> None:
    """End a training after its next step, and keep what it has learned."""
    from trainers import jobs
    from trainers.paths import default_paths

    found = jobs.find_run(run, default_paths())
    jobs.stop(found)
    typer.echo(f"{found.id}: stops after this step; what it has learned is kept.")


def resume(
    run: _Run,
    detach: Annotated[bool, typer.Option(help="Go on, and leave it to itself.")] = False,
) -> None:
    """Go on with a run that was cut off, from its last whole checkpoint."""
    from assistant.cli import follow
    from trainers import jobs
    from trainers.paths import default_paths

    found = jobs.find_run(run, default_paths())
    jobs.resume(found)
    typer.echo(f"run {found.id} goes on")
    if not detach:
        follow(found)


def rename(run: _Run, name: Annotated[str, typer.Argument(help="What to call it; empty takes its name away.")]) -> None:
    """Give a run a name of your own. Its id stays."""
    from trainers import jobs
    from trainers.paths import default_paths

    found = jobs.find_run(run, default_paths())
    jobs.rename(found, name)
    typer.echo(f"{found.id}: {found.name}")


def delete(run: _Run) -> None:
    """Delete a run with all its files."""
    from trainers import jobs
    from trainers.paths import default_paths, size_of

    found = jobs.find_run(run, default_paths())
    size = size_of(found.path)
    jobs.delete(found)
    typer.echo(f"{found.id} is deleted; {size / 1e6:.1f} MB are free again.")


def diff(runs: Annotated[list[str], typer.Argument(help="Two runs or more.")]) -> None:
    """Print where the plans of runs differ."""
    from trainers import jobs
    from trainers.comparing import differences
    from trainers.paths import default_paths

    found = [jobs.find_run(run, default_paths()) for run in runs]
    rows = differences([run.plan() for run in found])
    typer.echo("\t".join(["", *(run.name for run in found)]))
    for row in rows:
        typer.echo("\t".join([row.key, *row.values]))
    if not rows:
        typer.echo("These runs follow the same plan.")


def serve(
    runs: Annotated[list[str], typer.Argument(help="Runs' ids or folders.")],
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 8000,
    log: Annotated[
        bool | None, typer.Option("--log/--no-log", help="Log requests in the run's folder; else as its switch says.")
    ] = None,
    mask: Annotated[
        bool | None, typer.Option("--mask/--no-mask", help="Mask personal data in the log; masked by default.")
    ] = None,
) -> None:
    """Serve runs and their base model behind one OpenAI-compatible address, until Ctrl-C."""
    from assistant.hosting import serve as serve_runs
    from assistant.settings import settings_from_environment

    serve_runs(runs, settings_from_environment(), port, typer.echo, log=log, mask=mask)


def import_adapter(
    adapter: Annotated[Path, typer.Argument(help="A folder with adapter_config.json and weights.")],
    plan: Annotated[Path, typer.Argument(help="A plan as YAML: its base model, data and prompt are taken.")],
) -> None:
    """Take an adapter that was trained elsewhere as a run, compared with its base."""
    from assistant.cli import begin
    from trainers.plan import read_plan
    from trainers.strategies import ImportedStrategy

    strategy = ImportedStrategy(adapter=adapter.expanduser().resolve())
    begin(read_plan(plan).model_copy(update={"strategy": strategy, "parent": None}), detach=False)
