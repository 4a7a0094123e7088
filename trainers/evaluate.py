"""Base against tuned on the test split: same rows, same prompt, greedy. Imports torch.

Owns answering and scoring the held-out rows. A row that fails is scored 0 and shown, never dropped. Refuses to look
at any other split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prompts.errors import EngineError
from prompts.metrics import METRICS
from trainers.data import Example
from trainers.generate import BASE, Request, can_share_batch, generate
from trainers.plan import TrainingPlan
from trainers.status import LabelScore, Prediction


def predict(
    plan: TrainingPlan,
    examples: Sequence[Example],
    model: Any,
    tokenizer: Any,
    adapter: str,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> list[Prediction]:
    """Both arms' answers to every example. `on_progress` gets the finished share in [0, 1].

    Rows of similar length share a batch, so little is padded; results come back in the order of `examples`.
    """
    by_length = sorted(range(len(examples)), key=lambda i: len(examples[i].input))
    size = plan.evaluation.batch_size
    results: dict[int, Prediction] = {}
    for start in range(0, len(by_length), size):
        indices = by_length[start : start + size]
        rows = [examples[i] for i in indices]
        # One arm a batch: the arms' answers differ in length, and a batch runs until its longest row ends.
        base, tuned = (_answers(plan, rows, model, tokenizer, name) for name in (BASE, adapter))
        for i, row, first, second in zip(indices, rows, base, tuned, strict=True):
            results[i] = _scored(plan, row, first, second)
        on_progress(min(1.0, (start + size) / len(by_length)))
    return [results[i] for i in range(len(examples))]


def _answers(plan: TrainingPlan, rows: Sequence[Example], model: Any, tokenizer: Any, adapter: str) -> list[str]:
    sampling = plan.prompt.sampling(plan.evaluation.max_new_tokens)
    requests = [Request(plan.prompt.messages(row.input), sampling, adapter) for row in rows]
    try:
        with _answering_as(model, adapter):
            generate(model, tokenizer, requests)
    except EngineError as error:
        if len(rows) == 1:
            return [f"[no answer: {error.message}]"]
        return [_answers(plan, [row], model, tokenizer, adapter)[0] for row in rows]
    return [request.text for request in requests]


def _answering_as(model: Any, adapter: str) -> AbstractContextManager[Any]:
    """Switches the adapter off where the base is asked and the adapter cannot be left out row by row, as DoRA's."""
    alone = not all(can_share_batch(config) for config in model.peft_config.values())
    return model.disable_adapter() if adapter == BASE and alone else nullcontext()


def _scored(plan: TrainingPlan, row: Example, base: str, tuned: str) -> Prediction:
    metric = METRICS[plan.evaluation.metric]
    return Prediction(
        row=row.row,
        input=row.input,
        expected=row.output,
        base=base,
        tuned=tuned,
        base_score=metric.row(base, row.output),
        tuned_score=metric.row(tuned, row.output),
    )


def by_label(predictions: Sequence[Prediction]) -> tuple[LabelScore, ...]:
    """Both arms' mean score for each expected answer, the most frequent first."""
    groups: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        groups[prediction.expected].append(prediction)
    scores = [
        LabelScore(
            label=label,
            n=len(rows),
            base=sum(row.base_score for row in rows) / len(rows),
            tuned=sum(row.tuned_score for row in rows) / len(rows),
        )
        for label, rows in groups.items()
    ]
    return tuple(sorted(scores, key=lambda score: (-score.n, score.label)))
