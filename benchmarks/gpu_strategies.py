"""Trains by every strategy and objective on the GPU once, and records what came of it in docs/gpu-strategies.md.

    python -m benchmarks.gpu_strategies            on a machine with an NVIDIA GPU; `make gpu-check` does this too
    python -m benchmarks.gpu_strategies --on-cpu   the same steps on the CPU and smaller, to see that they run

Each is trained on the sample tickets, saved, loaded again on a fresh base, and has to give the logits of the model that
was trained. Then: memory that really runs out (this process may take only a part of the card), and a worker that is
killed and goes on. A step that fails is recorded with its reason, and the others go on.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from assistant.ways import WAYS
from benchmarks.gpu_check import Record, Size, Skipped, told_of_machine
from prompts.errors import TunewrightError
from prompts.versions import PromptVersion
from trainers import jobs
from trainers.checking import check_plan
from trainers.data import Example, Mapping
from trainers.hardware import choose_compute, detect
from trainers.memory import peak_memory_gb
from trainers.models import EMBEDDED, LocalModel, resolve
from trainers.objectives import AnyObjective, DpoObjective, KtoObjective, SftObjective
from trainers.paths import Paths, default_paths, size_of
from trainers.plan import DataPlan, Optimization, TrainingPlan
from trainers.splits import Shares, Splits
from trainers.status import ENDED, RunFolder
from trainers.strategies import AnyStrategy, FullStrategy, LoraStrategy, MetaLoraStrategy

_PROMPT = PromptVersion(system="Classify the support ticket. Answer with the team only.")
_ROUNDING = 0.6  # of bfloat16, on logits of some tens: up to 0.64 was seen where the base is 18 away
_TEAMS = ("account", "billing", "delivery", "feedback", "returns", "technical")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on-cpu", action="store_true")
    parser.add_argument("--base-model", default=EMBEDDED)
    parser.add_argument("--record", type=Path)
    args = parser.parse_args()
    if not detect().gpus and not args.on_cpu:
        raise SystemExit("error: nvidia-smi finds no GPU here. Run this on a machine with one.")
    path = args.record or (None if args.on_cpu else Path("docs/gpu-strategies.md"))
    record = Record(path, title="GPU check: strategies")
    size = Size(small=args.on_cpu)
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(home=Path(folder), cache=default_paths().cache)
        record.step("device and dtype", lambda: told_of_machine(record, paths))
        base = resolve(args.base_model, paths)
        data = sample(Path(folder), 8 if size.small else 128)
        for way in WAYS.values():
            if way.strategy.trains:
                act = partial(trained, way.strategy, SftObjective(), base, paths, data)
                record.step(way.title, act)
        for objective in (DpoObjective(), KtoObjective()):
            record.step(objective.title, partial(trained, LoraStrategy(), objective, base, paths, data))
        whole = partial(trained, FullStrategy(), DpoObjective(), base, paths, data)
        record.step("preferences (DPO), full tuning", whole)
        record.step("memory that runs out", lambda: short_of_memory(base, paths, data))
        record.step("killed, and resumed", lambda: killed(base, paths, data))
    return int(record.failed)


def sample(folder: Path, rows: int) -> Path:
    """The sample tickets as pairs: the right team, and another one as what nobody wanted."""
    import csv
    from importlib.resources import files

    path = folder / "pairs.jsonl"
    with Path(str(files("assistant.samples").joinpath("ticket_triage.csv"))).open(encoding="utf-8", newline="") as file:
        tickets = list(csv.DictReader(file))[:rows]
    lines = [
        {
            "prompt": row["ticket"],
            "chosen": row["team"],
            "rejected": _TEAMS[(_TEAMS.index(row["team"]) + 1 + n % 5) % 6],
        }
        for n, row in enumerate(tickets)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def plan_of(strategy: AnyStrategy, objective: AnyObjective, base: LocalModel, data: Path, **how: Any) -> TrainingPlan:
    rate = {"prompt_tuning": 3e-2, "prefix_tuning": 1e-2, "full": 1e-4}.get(strategy.type, 1e-3)
    rate = rate if objective.type == "sft" else 5e-5 if strategy.type == "full" else 5e-4
    usual = {
        "epochs": 1,
        "batch_size": 8,
        "learning_rate": rate,
        "max_tokens": 256,
        "warmup": 0.0,
        "checkpoint_minutes": 100,
    }
    return TrainingPlan(
        base_model=base.ref,
        data=DataPlan(
            path=data,
            columns=Mapping(input="prompt", output="chosen", shape="preference"),
            shares=Shares(train=0.9, dev=0.1, test=0.0, arena=0.0),
        ),
        prompt=_PROMPT,
        strategy=strategy,
        objective=objective,
        training=Optimization.model_validate({**usual, **how}),
    )


def small(strategy: AnyStrategy) -> AnyStrategy:
    """Few rounds are enough to see that it runs."""
    if isinstance(strategy, MetaLoraStrategy):
        return strategy.model_copy(update={"rounds": 3, "ways": 3, "shots": 2, "adaptation_steps": 3})
    return strategy


def trained(strategy: AnyStrategy, objective: AnyObjective, base: LocalModel, paths: Paths, data: Path) -> str:
    """Train in this process, save, load again, and compare the logits. Raises `Skipped` for what cannot work here."""
    from trainers.modeling import attach, load_base
    from trainers.worker import Work

    compute = choose_compute(paths.cache)
    plan = plan_of(small(strategy), objective, base, data)
    try:
        rows = (Example(1, "a", "b", rejected="c"),)
        check_plan(plan, base, compute, Splits(train=rows, dev=rows))
    except TunewrightError as error:
        raise Skipped(str(error)) from error
    run = jobs.create_run(plan, paths)
    model, tokenizer, seconds = in_memory(plan, run, base, compute)
    tokens, memory = run.tokens_trained(), peak_memory_gb()
    Work(run, paths).save(model, tokenizer)
    ours = logits(model, tokenizer)
    del model
    _free()
    artefact = run.artefact
    assert artefact is not None
    again: Any = load_base(artefact if strategy.form == "model" else base.folder, compute)
    untouched = logits(load_base(base.folder, compute), tokenizer)
    if strategy.form == "adapter":
        again = attach(again, artefact, "again")
    theirs = logits(again, tokenizer)
    off, far = float((ours - theirs).abs().max()), float((ours - untouched).abs().max())
    del again
    _free()
    if off > max(0.5 * far, _ROUNDING):
        raise RuntimeError(f"loaded again its logits are off by {off:.3f}, and the base's by {far:.3f}")
    losses = [line["loss"] for line in run.metrics() if "loss" in line]
    speed = f"{tokens:,} tokens in {seconds:.0f} s, " if tokens else f"{seconds:.0f} s, "
    return (
        f"{speed}peak {memory:.2f} GB, artefact {size_of(artefact) / 1e6:.2f} MB; loss {losses[0]:.2f} to "
        f"{losses[-1]:.2f}; loaded again: logits off by at most {off:.3f}, the base's by {far:.2f}"
    )


def in_memory(plan: TrainingPlan, run: RunFolder, base: LocalModel, compute: Any) -> tuple[Any, Any, float]:
    """The trained model, its tokenizer, and the seconds that it took."""
    from trainers.meta_run import run_meta
    from trainers.modeling import load_base, load_tokenizer
    from trainers.recovery import train

    def load() -> tuple[Any, Any]:
        whole, options = plan.strategy.form == "model", plan.strategy.load_options()
        return load_base(base.folder, compute, training=True, whole=whole, **options), load_tokenizer(base.folder)

    _free()
    began = time.monotonic()
    if not plan.strategy.by_trl:
        model, tokenizer = load()
        return run_meta(plan, run, model, tokenizer, 0.0), tokenizer, time.monotonic() - began
    trainer = train(plan, run, load, compute, 0.0)
    return trainer.model, trainer.processing_class, time.monotonic() - began


def logits(model: Any, tokenizer: Any) -> Any:
    """Of the first token of an answer, in float32, on the CPU."""
    import torch

    chat = [message.model_dump() for message in _PROMPT.messages("My parcel has not arrived.")]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    model.eval()
    with torch.inference_mode():
        return model(**ids.to(model.device)).logits[0, -1].float().cpu()


def short_of_memory(base: LocalModel, paths: Paths, data: Path) -> str:
    """A step that does not fit, for real: the batch has to be halved until it does."""
    import torch

    if not torch.cuda.is_available():
        raise Skipped("there is no card whose memory could run out")
    compute = choose_compute(paths.cache)
    plan = plan_of(LoraStrategy(), SftObjective(), base, data, batch_size=64, gradient_checkpointing=False)
    run = jobs.create_run(plan, paths)
    _free()
    # The weights and a little: what a batch of 64 takes beside them was measured at several times as much.
    torch.cuda.set_per_process_memory_fraction(1.5 * 2**30 / torch.cuda.get_device_properties(0).total_memory)
    try:
        model, _, seconds = in_memory(plan, run, base, compute)
        del model
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    notes = run.written_status().notes
    if not any("Memory ran out" in note for note in notes):
        raise RuntimeError("memory did not run out, so that this shows nothing")
    return f"{' '.join(notes)} Trained in {seconds:.0f} s."


def killed(base: LocalModel, paths: Paths, data: Path) -> str:
    plan = plan_of(LoraStrategy(), SftObjective(), base, data, epochs=1, batch_size=4, checkpoint_minutes=0.02)
    run = jobs.create_run(plan, paths)
    jobs.start(run)
    while jobs.status(run).step < 5 and jobs.status(run).state not in ENDED:
        time.sleep(0.2)
    reached = jobs.status(run).step
    os.kill(json.loads((run.path / "worker.json").read_text())["pid"], signal.SIGKILL)
    while jobs.status(run).state not in ENDED:
        time.sleep(0.2)
    jobs.resume(run)
    while (status := jobs.status(run)).state not in ENDED:
        time.sleep(0.5)
    steps = [line["step"] for line in run.metrics() if "loss" in line]
    if status.state != "done" or steps != list(range(1, len(steps) + 1)):
        raise RuntimeError(f"{status.message} {status.hint}\n{run.log_tail()}")
    return f"killed at step {reached}, went on to step {steps[-1]}; no step is missing, none is there twice"


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    sys.exit(main())
