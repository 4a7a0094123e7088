"""The training process: `python -m trainers.worker RUN_DIR`.

Owns one run from plan to report: prepare, train, save the adapter, compare base and tuned. Everything it has to say
goes into the run directory. Heavy imports happen after the status says that work has begun.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from prompts.errors import ModelError, RunError, TunewrightError
from prompts.metrics import COMPANIONS, METRICS
from trainers.hardware import choose_compute
from trainers.models import resolve
from trainers.paths import default_paths
from trainers.plan import TrainingPlan
from trainers.status import EvaluationReport, Phase, RunFolder

_ADAPTER = "default"  # the name PEFT gives to the adapter that SFTTrainer makes


class Cancelled(BaseException):
    """Somebody asked to stop. Not an Exception, so that no library's `except Exception` swallows it."""


def run_plan(run: RunFolder) -> None:
    """Carry out a run's plan. Raises a `TunewrightError` or `Cancelled`; the adapter is saved before the report."""
    started = time.time()
    plan = run.plan()

    def say(phase: Phase, message: str, fraction: float = 0.0, seconds_left: float | None = None) -> None:
        now = {"state": "running", "phase": phase, "message": message, "fraction": fraction, "started": started}
        run.write_status(run.written_status().model_copy(update={**now, "seconds_left": seconds_left}))

    say("preparing", "Finding the base model.")
    paths = default_paths()
    base = resolve(plan.base_model, paths, trust_remote_code=plan.trust_remote_code)
    compute = choose_compute(paths.cache)
    say("preparing", f"Loading {base.name} on {compute.device}, {compute.reason}.")
    from trainers.callbacks import ProgressCallback
    from trainers.modeling import load_base, load_tokenizer
    from trainers.sft import build_trainer

    tokenizer = load_tokenizer(base.folder, trust_remote_code=plan.trust_remote_code)
    model = load_base(base.folder, compute, training=True, trust_remote_code=plan.trust_remote_code)
    trainer = build_trainer(plan, run, model, tokenizer, compute, [ProgressCallback(run, started)])
    begun = time.monotonic()
    trainer.train()
    train_seconds = time.monotonic() - begun
    say("evaluating", "Saving the adapter.")
    trainer.model.save_pretrained(run.adapter)
    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)  # optimizer state, three times the adapter's size
    _evaluate(run, plan, trainer.model, tokenizer, say, base.name, train_seconds)
    final = run.written_status()
    done = {"state": "done", "phase": "finished", "fraction": 1.0, "seconds_left": None, "message": "Finished."}
    run.write_status(final.model_copy(update={**done, "peak_memory_gb": _peak_memory_gb()}))


def _evaluate(
    run: RunFolder, plan: TrainingPlan, model: Any, tokenizer: Any, say: Any, base_name: str, train_seconds: float
) -> None:
    from trainers.evaluate import by_label, predict

    test = run.split("test")
    if not test:
        return

    begun = time.monotonic()

    task = f"Base and tuned model answer {len(test)} held-out rows."

    def on_progress(fraction: float) -> None:
        say("evaluating", task, fraction, (time.monotonic() - begun) / fraction * (1 - fraction))

    say("evaluating", task)
    predictions = predict(plan, test, model, tokenizer, _ADAPTER, on_progress)
    metric = METRICS[plan.evaluation.metric]
    base = [prediction.base for prediction in predictions]
    tuned = [prediction.tuned for prediction in predictions]
    expected = [prediction.expected for prediction in predictions]
    report = EvaluationReport(
        metric=metric.name,
        base=metric.score(base, expected),
        tuned=metric.score(tuned, expected),
        comparison=metric.compare(base, tuned, expected),
        prompt_id=plan.prompt.id,
        base_model=base_name,
        seed=plan.data.seed,
        labels=by_label(predictions) if metric.name in COMPANIONS["label"] else (),
        train_rows=len(run.split("train")),
        train_tokens=run.written_status().tokens,
        train_seconds=train_seconds,
        peak_memory_gb=_peak_memory_gb(),
    )
    run.write_report(report, predictions)


def _peak_memory_gb() -> float:
    """The most memory this process held: on the GPU where there is one, else resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts KiB


def explain(error: Exception) -> TunewrightError:
    """One clear sentence for what libraries and the system raise."""
    if isinstance(error, TunewrightError):
        return error
    if getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error):
        return RunError("The disk is full.", hint="Free some space and start again.")
    no_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if no_memory or "DefaultCPUAllocator: can't allocate memory" in str(error):
        return RunError("Memory ran out.", hint="Use a smaller batch_size, shorter rows or a smaller base model.")
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(f"Training stopped: {type(error).__name__}: {reason}", hint="The log has the whole story.")


def main(path: Path) -> int:
    """Run and report. Exit code 0 when done, 1 when failed, 3 when cancelled."""

    def on_terminate(signum: int, frame: FrameType | None) -> None:
        raise Cancelled

    signal.signal(signal.SIGTERM, on_terminate)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    run = RunFolder(path)
    try:
        run_plan(run)
    except Cancelled:
        end, code = {"state": "cancelled", "message": "Cancelled."}, 3
    except Exception as error:
        traceback.print_exc()
        told = explain(error)
        end, code = {"state": "failed", "message": told.message, "hint": told.hint}, 1
    else:
        return 0
    run.write_status(run.written_status().model_copy(update={**end, "seconds_left": None}))
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
