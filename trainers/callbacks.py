"""Reports a training's progress to its run directory. Imports transformers.

Owns turning trainer events into `status.json` and `metrics.jsonl`. Refuses to decide anything.
"""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback

from trainers.status import RunFolder, RunStatus


class ProgressCallback(TrainerCallback):
    """Writes one metrics line per step and evaluation, and a status with speed and time left."""

    def __init__(self, run: RunFolder, started: float) -> None:
        self._run = run
        self._started = started
        self._training_since = 0.0
        self._paused = 0.0  # seconds spent evaluating, which say nothing about training speed
        self._step_ended = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._training_since = self._step_ended = time.monotonic()
        self._report(state, tokens=0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._step_ended = time.monotonic()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._paused += time.monotonic() - self._step_ended

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        logs = logs or {}
        kept = {name: logs[name] for name in ("loss", "eval_loss", "learning_rate", "grad_norm") if name in logs}
        if not kept:
            return
        seconds = round(self._training_seconds(), 2)
        self._run.add_metrics(step=state.global_step, epoch=state.epoch, seconds=seconds, **kept)
        if "loss" in logs:
            self._report(state, tokens=int(logs.get("num_tokens", 0)))

    def _training_seconds(self) -> float:
        return max(1e-6, time.monotonic() - self._training_since - self._paused)

    def _report(self, state: Any, tokens: int) -> None:
        step, total, spent = state.global_step, state.max_steps, self._training_seconds()
        self._run.write_status(
            RunStatus(
                state="running",
                phase="training",
                fraction=step / total if total else 0.0,
                step=step,
                total_steps=total,
                tokens=tokens,
                tokens_per_second=tokens / spent,
                seconds_left=spent / step * (total - step) if step else None,
                message=f"Step {step} of {total}." if step else "Training begins.",
                started=self._started,
            )
        )
