"""What happens while a training runs: it reports, keeps checkpoints, and notices what goes wrong. Imports transformers.

Owns turning trainer events into `status.json` and `metrics.jsonl`, when a checkpoint is due, and when to stop. Refuses
to decide what comes after a stop (that is `recovery`).
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from prompts.errors import RunError
from trainers.launching import is_main, world_size
from trainers.memory import peak_memory_gb
from trainers.paths import size_of
from trainers.status import RunFolder

_LOGGED = ("loss", "eval_loss", "learning_rate", "grad_norm", "rewards/accuracies", "rewards/margins")
COMPLETE = "complete.json"


class Diverged(Exception):
    """The loss is no number any more, or has grown beyond what it began with. `step` is where that was seen."""

    def __init__(self, step: int, why: str) -> None:
        super().__init__(why)
        self.step = step


class Progress(TrainerCallback):
    """Writes one metrics line per step and evaluation, and a status with speed and time left."""

    def __init__(self, run: RunFolder, started: float, notes: tuple[str, ...] = ()) -> None:
        self._run = run
        self._started = started
        self._notes = notes
        self._training_since = 0.0
        self._paused = 0.0  # seconds spent evaluating, which say nothing about training speed
        self._step_ended = 0.0
        self._first_step = 0  # of this process: a resumed run begins further on
        self._tokens_before = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not is_main():
            return
        self._training_since = self._step_ended = time.monotonic()
        self._first_step = state.global_step
        self._tokens_before = self._run.tokens_trained()
        self._report(state, tokens=0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._step_ended = time.monotonic()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._paused += time.monotonic() - self._step_ended

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        logs = logs or {}
        kept = {name: logs[name] for name in _LOGGED if name in logs}
        if not kept or not is_main():
            return
        seconds, tokens = self._seconds(), int(logs.get("num_tokens", 0))
        more: dict[str, Any] = {}
        if "loss" in logs:
            more = {"tokens": self._tokens_before + tokens, "tokens_per_second": round(tokens / seconds, 2),
                    "memory_gb": round(peak_memory_gb(), 3)}  # fmt: skip
        self._run.add_metrics(step=state.global_step, epoch=state.epoch, seconds=round(seconds, 2), **kept, **more)
        if "loss" in logs:
            self._report(state, tokens)

    def _seconds(self) -> float:
        return max(1e-6, time.monotonic() - self._training_since - self._paused)

    def _report(self, state: Any, tokens: int) -> None:
        step, total, spent = state.global_step, state.max_steps, self._seconds()
        done = step - self._first_step
        before = self._run.written_status()
        now = {
            "state": "running",
            "phase": "training",
            "fraction": step / total if total else 0.0,
            "step": step,
            "total_steps": total,
            "tokens": self._tokens_before + tokens,
            "tokens_per_second": tokens / spent,
            "seconds_left": spent / done * (total - step) if done else None,
            "message": f"Step {step} of {total}." if step else "Training begins.",
            "started": self._started,
            "peak_memory_gb": peak_memory_gb(),
            "notes": tuple(dict.fromkeys((*before.notes, *self._notes))),
        }
        self._run.write_status(before.model_copy(update=now))


def agreed(wanted: bool, args: Any) -> bool:
    """Whether any of the processes that train together wants it: one that stops or saves alone would wait for ever."""
    if world_size() == 1:
        return wanted
    import torch

    votes = torch.tensor(int(wanted), device=args.device)
    torch.distributed.all_reduce(votes, op=torch.distributed.ReduceOp.MAX)
    return bool(votes)


class Checkpoints(TrainerCallback):
    """Asks for a checkpoint when one is due, marks those that are whole, and looks at the disk first."""

    def __init__(self, minutes: float) -> None:
        self._every = minutes * 60
        self._last = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._last = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        due = time.monotonic() - self._last >= self._every and state.global_step < state.max_steps
        if agreed(due, args):
            require_disk(Path(args.output_dir))
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._last = time.monotonic()
        if is_main():
            mark_whole(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class StopWhenAsked(TrainerCallback):
    """Ends the training after the step in which the run's `stop` file appears; what is learned is kept."""

    def __init__(self, run: RunFolder) -> None:
        self._file = run.stop_file

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if agreed(self._file.exists(), args):
            control.should_training_stop = True


class Divergence(TrainerCallback):
    """Raises `Diverged` where the loss is no number, three times what the first steps had for a while, or moves no
    weight any more, as after one step that was far too large."""

    _FIRST = 5

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._without_gradient = 0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        loss, norm = (logs or {}).get("loss"), (logs or {}).get("grad_norm", 0.0)
        if loss is None:
            return
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Diverged(state.global_step, "the loss is no number any more")
        self._without_gradient = self._without_gradient + 1 if "grad_norm" in (logs or {}) and norm == 0 else 0
        if self._without_gradient == self._FIRST and loss > 0.1:
            raise Diverged(state.global_step, f"the loss stays at {loss:.2f} and has no gradient any more")
        self._losses.append(loss)
        if len(self._losses) < 2 * self._FIRST:
            return
        first, last = (statistics.fmean(part) for part in (self._losses[: self._FIRST], self._losses[-self._FIRST :]))
        if last > 3 * first + 1:
            raise Diverged(state.global_step, f"the loss rose from {first:.2f} to {last:.2f}")


class LowerRate(TrainerCallback):
    """Goes on at a lower rate: what a checkpoint brings along would set the old one again."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def on_train_begin(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, lr_scheduler: Any = None, **kwargs: Any
    ) -> None:
        for group in optimizer.param_groups:
            for key in ("lr", "initial_lr"):
                group[key] = group[key] * self._factor
        lr_scheduler.base_lrs = [rate * self._factor for rate in lr_scheduler.base_lrs]


# Checkpoints


def require_disk(folder: Path) -> None:
    """Raise `RunError` where the disk has no room for another checkpoint as large as the largest one there."""
    sizes = [size_of(path) for path in folder.glob("checkpoint-*")]
    needed, free = 1.2 * max(sizes, default=0) + 100e6, shutil.disk_usage(folder if folder.exists() else "/").free
    if free < needed:
        told = f"The disk under {folder} has {free / 1e9:.1f} GB left, and a checkpoint needs {needed / 1e9:.1f} GB."
        raise RunError(told, hint="Free some space and resume: the last checkpoint is kept.")


def mark_whole(checkpoint: Path) -> None:
    """Write down what belongs to a checkpoint: one without this mark was cut off while it was written."""
    sizes = {str(path.relative_to(checkpoint)): path.stat().st_size for path in checkpoint.rglob("*") if path.is_file()}
    (checkpoint / COMPLETE).write_text(json.dumps(sizes))


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end and every file still has its size."""
    try:
        sizes = json.loads((checkpoint / COMPLETE).read_text())
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint. Those that are only half written are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in found:
        if is_whole(path):
            return path
        shutil.rmtree(path, ignore_errors=True)
    return None
