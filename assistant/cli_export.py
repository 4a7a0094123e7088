"""`tunewright export`: a run's result as files for elsewhere, tested before they are kept.

Owns arguments and what is printed; the work is `trainers.exporting`'s, in this process.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prompts.errors import RunError

if TYPE_CHECKING:
    from trainers.exporting.records import ExportReport, Order


def add_commands(cli: typer.Typer) -> None:
    """Register this command on the main command line."""
    cli.command()(export)


def export(
    run: Annotated[str, typer.Argument(help="A run's id or folder.")],
    form: Annotated[str, typer.Option("--format", help="adapter, merged, gguf, ollama or hub.")] = "adapter",
    to: Annotated[Path | None, typer.Option(help="A new folder; by default one in the run's exports/.")] = None,
    quantization: Annotated[str, typer.Option(help="Of a GGUF file: f32, f16 or q8_0.")] = "f16",
    base_id: Annotated[str, typer.Option(help="What to call the base, as owner/name on a hub.")] = "",
    repo: Annotated[str, typer.Option(help="For the hub: owner/name.")] = "",
    content: Annotated[str, typer.Option(help="For the hub: adapter, merged or gguf; by default as the run is.")] = "",
    push: Annotated[bool, typer.Option("--push", help="Really send it; else only what would be sent is told.")] = False,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; else it is private.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Export a run's result, load it again, and keep it only where it answers as the served model does."""
    from trainers import jobs
    from trainers.exporting.carry_out import export as carry_out
    from trainers.paths import default_paths

    order = _order(
        format=form, to=to, quantization=quantization, base_id=base_id, repo=repo, content=content or None, push=push,
        public=public,
    )  # fmt: skip
    paths = default_paths()
    os.environ.setdefault("TQDM_DISABLE", "1")  # the libraries' own bars, before they are imported
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing half written is left
    # What goes on stands on stderr, only for people: --json is all of stdout, and a refusal one line.
    quiet = as_json or not sys.stderr.isatty()
    report = carry_out(
        jobs.find_run(run, paths), order, paths, lambda what, _: None if quiet else typer.echo(what, err=True)
    )
    typer.echo(report.model_dump_json(indent=1) if as_json else "\n".join(lines_of(report)))


def _order(**values: object) -> Order:
    """Raises `RunError` with what is wrong in the person's words."""
    from pydantic import ValidationError

    from trainers.exporting.records import Order

    try:
        return Order.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        reason = first["msg"].removeprefix("Value error, ").replace("Input should be", "it is", 1)
        told = f"--{field.replace('_', '-')} is {first['input']!r}, but {reason}." if field else f"{reason}."
        raise RunError(told[:1].upper() + told[1:], hint="`tunewright export --help` lists what there is.") from error


def lines_of(report: ExportReport) -> list[str]:
    """The report in words."""
    lines = [f"{report.folder}: {len(report.files)} files, {report.bytes / 1e6:,.1f} MB, weights as {report.dtype}."]
    lines += [report.self_test.told, *(f"Note: {note}" for note in report.notes)]
    if up := report.upload:
        seen = "private" if up.private else "public"
        if up.pushed:
            lines.append(f"Sent to {up.repo} ({seen}): {up.url}")
        else:
            lines.append(f"Nothing was sent. --push would send {up.bytes / 1e6:,.1f} MB to {up.repo} ({seen}):")
            lines += [f"  {file.path}  {file.bytes:,} bytes" for file in up.files]
    return lines + [f"\n# {how.title}\n{how.lines}" for how in report.how_to]
