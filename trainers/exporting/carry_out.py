"""An export from order to report: check, load, write beside the target, load again, compare, and only then keep it.

Owns that order of things. Heavy work is imported inside, so that a refusal comes at once. Whatever goes wrong, or ends
the process by an exception, leaves nothing behind.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from prompts.errors import ModelError, RunError
from trainers.exporting import adapter, beside, gguf_file, hub, merged, ollama, usage
from trainers.exporting.checking import Source, require_room, source_of, target_of
from trainers.exporting.records import REPORT, ExportReport, Order, SelfTest
from trainers.hardware import choose_compute
from trainers.paths import Paths, write_atomically
from trainers.status import RunFolder

Say = Callable[[str, float], None]


def _silent(message: str, fraction: float) -> None:
    """For those who do not ask."""


def export(run: RunFolder, order: Order, paths: Paths, say: Say = _silent, *, api: Any = None) -> ExportReport:
    """Make one export. `api` is an HfApi of one's own.

    `say` gets what is done now and the share that is done. Raises a `TunewrightError`; then nothing is left.
    """
    begun = time.monotonic()
    source = source_of(run, order, paths)
    if order.push and (found := tested_before(source, order)):
        say(f"Sending {found.bytes / 1e6:,.0f} MB to {order.repo}.", 0.5)
        return _sent(order, found, api)
    target = target_of(source, order)
    require_room(source, order, target)
    draft, lock = target.with_name(f".{target.name}.draft"), target.with_name(f".{target.name}.lock")
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise RunError(f"Another export to {target} goes on.", hint="Wait for it, or choose another folder.") from None
    shutil.rmtree(draft, ignore_errors=True)  # of one that was killed
    try:
        draft.mkdir(parents=True)
        report = _made(source, order, paths, draft, target, say)
        if target.exists():
            target.rmdir()  # it was empty, else refused
        draft.rename(target)
    except OSError as error:
        raise RunError(f"The export could not be written: {error}.", hint="Is the disk full?") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        lock.unlink(missing_ok=True)
        held.release()
    report = report.model_copy(update={"seconds": round(time.monotonic() - begun, 1), "folder": target})
    _keep(report)
    if order.push:
        say(f"Sending {report.bytes / 1e6:,.0f} MB to {order.repo}.", 0.95)
        return _sent(order, report, api)
    return report


def _made(source: Source, order: Order, paths: Paths, draft: Path, target: Path, say: Say) -> ExportReport:
    from trainers.exporting import selftest

    say("Loading the served model, to know what the export has to answer.", 0.05)
    compute = selftest.sharp(choose_compute(paths.cache), source.base.parameters)
    modelfile = _checked(source, order)
    reference, model = selftest.refer(source, compute)
    say("Writing the export.", 0.4)
    kept = "float32"
    if source.content == "adapter":
        adapter.write(source, draft)
    elif source.content == "merged":
        kept = merged.write(source, merged.merge(source, model), draft)
    else:
        gguf_file.write(source, merged.merge(source, model), reference.tokenizer, draft, order.quantization)
        kept = {"f32": "float32", "f16": "float16"}.get(order.quantization, order.quantization)
    if modelfile:
        ollama.write(modelfile, draft)
    notes = (*source.notes, *beside.write(source, draft))
    del model
    selftest.release()
    say("Loading the export again, and comparing it with the served model.", 0.6)
    test = _tested(source, reference, draft, kept)
    selftest.judge(test)
    report = ExportReport(
        run=source.run.id,
        format=order.format,
        content=source.content,
        folder=target,
        base=source.base.name,
        base_id=source.base_id,
        prompt_id=source.run.result_prompt().id,
        quantization=order.quantization if source.content == "gguf" else None,
        dtype=kept,
        files=beside.files_in(draft),
        self_test=test,
        notes=(*notes, *_notes(source, order, test)),
        how_to=usage.how_to(source, order, target),
    )
    return report.model_copy(update={"upload": hub.planned(order, report)}) if order.format == "hub" else report


def _checked(source: Source, order: Order) -> ollama.Modelfile | None:
    """The Modelfile, where one is asked for. What could not be written as GGUF is refused before weights are read."""
    if source.content != "gguf":
        return None
    from transformers import AutoConfig

    from trainers.exporting.gguf_vocabulary import vocabulary_of
    from trainers.modeling import load_tokenizer

    tokenizer = load_tokenizer(source.base.folder, **source.remote)
    config = AutoConfig.from_pretrained(source.base.folder, **source.remote)
    gguf_file.check(config, tokenizer, source.base.folder)
    if order.format != "ollama":
        return None
    adds_begin = vocabulary_of(source.base.folder, tokenizer, config.vocab_size).adds_begin
    prompt = source.run.result_prompt()
    made = ollama.modelfile_of(prompt, tokenizer, adds_begin)
    ollama.check(made, prompt, tokenizer, [row.input.strip() for row in source.rows(8)])
    return made


def _tested(source: Source, reference: Any, draft: Path, kept: str) -> SelfTest:
    """The export as it was written, loaded as somebody else would."""
    from trainers.exporting import selftest

    try:
        if source.content == "adapter":
            model, tokenizer = adapter.load(source, draft, reference.compute), None
        elif source.content == "merged":
            model, tokenizer = merged.load(source, draft, reference.compute)
        else:
            model, tokenizer = gguf_file.load(draft, reference.compute)
        told = selftest.logits(model, reference.texts)
    except (ModelError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise RunError(f"The export cannot be loaded again: {error}.", hint="Nothing was kept.") from error
    if tokenizer is not None:
        selftest.same_tokens(reference, tokenizer, source)
    return selftest.compare(reference, told, kept)


def _notes(source: Source, order: Order, test: SelfTest) -> list[str]:
    notes = []
    if test.arrived is None:
        notes.append("Training changed nothing that these texts show: the export answers as the base does.")
    if source.run.result_prompt().allowed and source.content == "gguf":
        notes.append("That answers are held to what is allowed is Tunewright's engine's work, and not in the file.")
    if order.format == "ollama":
        notes.append(
            "The Modelfile carries the run's prompt: give Ollama the bare input. Ollama itself was not run here: the "
            "weights were tested through Transformers, and the template by what it gives for the run's rows."
        )
    return notes


def _keep(report: ExportReport) -> None:
    assert report.folder is not None
    write_atomically(report.folder / REPORT, report.model_dump_json(indent=1, exclude={"folder"}))


def _sent(order: Order, report: ExportReport, api: Any) -> ExportReport:
    """The report with what became of the push; the files stay, also where the hub refused."""
    assert report.folder is not None
    sent = report.model_copy(update={"upload": hub.push(order, report, report.folder, api)})
    _keep(sent)
    return sent


def tested_before(source: Source, order: Order) -> ExportReport | None:
    """The export of an earlier dry run, where it is still there. Raises `RunError` where it was changed since."""
    target = (order.to or source.run.path / "exports" / "hub").expanduser().resolve()
    try:
        found = ExportReport.model_validate_json((target / REPORT).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if (found.run, found.format, found.content) != (source.run.id, "hub", source.content):
        return None
    if beside.files_in(target) != found.files:
        raise RunError(
            f"The files in {target} are not those that were tested.", hint="Remove the folder, and export once more."
        )
    return found.model_copy(update={"folder": target})
