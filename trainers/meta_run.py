"""A run of few-shot meta-learning: first values from a pool of small tasks, then a few steps on the person's own rows.

Owns the order of the two, where the episodes come from, and reporting. Refuses to move weights (`meta`) and to draw
episodes (`pool`). Imports torch.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from prompts.errors import DataError
from trainers.data import Example
from trainers.memory import peak_memory_gb
from trainers.meta import Round, adapt, attach, meta_train
from trainers.plan import TrainingPlan
from trainers.pool import Episode, Shot, own_task, read_pool, sample_episodes
from trainers.status import RunFolder
from trainers.strategies.meta import MetaLoraStrategy


def run_meta(plan: TrainingPlan, run: RunFolder, base: Any, tokenizer: Any, started: float) -> Any:
    """Meta-train an adapter on the pool, adapt it to K rows of each label, and return the model that holds it.

    Raises `DataError` where the pool or the rows are too few.
    """
    config = plan.strategy
    assert isinstance(config, MetaLoraStrategy)
    train, seed = run.split("train"), plan.training.seed
    support = support_rows(train, config.shots, plan)  # asked first: it is soon told, and the rounds are not
    episodes = draw_episodes(config, train, seed)
    model = attach(base, config, seed)
    report = _Report(run, config, started)
    meta_train(model, tokenizer, episodes, config, report.round, seed=seed)
    adapt(model, tokenizer, support, config.adaptation_steps, config.adaptation_rate, report.step, seed=seed)
    return model


def draw_episodes(config: MetaLoraStrategy, train: Sequence[Example], seed: int) -> list[Episode]:
    """One episode a round, from the pool's files, or from random subsets of the person's own labels."""
    tasks = read_pool(config.pool) if config.pool else [own_task(train)]
    queries = config.shots if config.algorithm == "fomaml" else 0
    return sample_episodes(tasks, ways=config.ways, shots=config.shots, queries=queries, count=config.rounds, seed=seed)


def support_rows(train: Sequence[Example], shots: int, plan: TrainingPlan) -> list[Shot]:
    """The first `shots` training rows of each label, asked as they will be served."""
    by_label: dict[str, list[Example]] = defaultdict(list)
    for row in train:
        if row.output and len(by_label[row.output]) < shots:
            by_label[row.output].append(row)
    if len(by_label) < 2:  # with one there is nothing to tell apart
        raise DataError(
            f"Meta-learning tells labels apart, and the training rows have {len(by_label)}.",
            hint="Use another strategy, or bring rows of other labels.",
        )
    return [(plan.prompt.messages(row.input), row.output) for rows in by_label.values() for row in rows]


class _Report:
    """Writes metrics and status, round by round and then step by step."""

    def __init__(self, run: RunFolder, config: MetaLoraStrategy, started: float) -> None:
        self._run, self._config, self._started = run, config, started
        self._begun = time.monotonic()
        self._total = config.rounds + config.adaptation_steps

    def round(self, done: Round) -> None:
        told = f"Round {done.number + 1} of {self._config.rounds}: learning to learn from {done.task}."
        self._write(done.number + 1, done.losses[-1], told)

    def step(self, done: int, loss: float) -> None:
        told = f"Adapting to your rows: step {done} of {self._config.adaptation_steps}."
        self._write(self._config.rounds + done, loss, told)

    def _write(self, step: int, loss: float, told: str) -> None:
        spent = time.monotonic() - self._begun
        self._run.add_metrics(step=step, loss=loss, seconds=round(spent, 2), memory_gb=round(peak_memory_gb(), 3))
        now = {
            "state": "running", "phase": "training", "step": step, "total_steps": self._total, "message": told,
            "fraction": step / self._total, "seconds_left": spent / step * (self._total - step),
            "started": self._started, "peak_memory_gb": peak_memory_gb(),
        }  # fmt: skip
        self._run.write_status(self._run.written_status().model_copy(update=now))
