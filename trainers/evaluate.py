"""Base against result on the test split: the same rows, greedy, each with its own prompt. Imports torch.

Owns answering and scoring the held-out rows, with what was saved and not with what training left in memory. A row that
fails is scored 0 and shown, never dropped. Refuses to look at any other split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prompts.errors import EngineError
from prompts.metrics import METRICS
from prompts.versions import PromptVersion
from trainers.data import Example
from trainers.generate import BASE, Request, generate
from trainers.hardware import Compute
from trainers.modeling import attach, load_base
from trainers.plan import EvaluationPlan
from trainers.prefixes import Prefixes
from trainers.status import LabelScore, Prediction

_TUNED = "tuned"
OnProgress = Callable[[float], None]


def predict(
    how: EvaluationPlan,
    examples: Sequence[Example],
    base: Path,
    tokenizer: Any,
    compute: Compute,
    prompts: tuple[PromptVersion, PromptVersion],
    artefact: Path | None,
    on_progress: OnProgress = lambda fraction: None,
    trust_remote_code: bool = False,
) -> list[Prediction]:
    """What the untouched base and the result answer to every example, in their order.

    `prompts` are the base's and the result's; `artefact` is an adapter, a whole model, or None where the result is the
    base with its own prompt. One model is held at a time. `on_progress` gets the finished share in [0, 1].
    """
    model: Any = load_base(base, compute, trust_remote_code=trust_remote_code)
    first = answers(how, examples, model, tokenizer, BASE, prompts[0], lambda done: on_progress(done / 2))
    adapter = BASE
    if artefact is not None and (artefact / "adapter_config.json").is_file():
        model, adapter = attach(model, artefact, _TUNED), _TUNED
    elif artefact is not None:
        del model
        model = load_base(artefact, compute)
    second = answers(how, examples, model, tokenizer, adapter, prompts[1], lambda done: on_progress(0.5 + done / 2))
    return [_scored(how, *row) for row in zip(examples, first, second, strict=True)]


def answers(
    how: EvaluationPlan,
    examples: Sequence[Example],
    model: Any,
    tokenizer: Any,
    adapter: str,
    prompt: PromptVersion,
    on_progress: OnProgress = lambda fraction: None,
) -> list[str]:
    """One model's answers, in the order of `examples`. Rows of similar length share a batch, so little is padded."""
    by_length = sorted(range(len(examples)), key=lambda i: len(examples[i].input))
    size, found, prefixes = how.batch_size, dict[int, str](), Prefixes()
    for start in range(0, len(by_length), size):
        indices = by_length[start : start + size]
        rows = [examples[i] for i in indices]
        found |= zip(indices, _batch(how, rows, model, tokenizer, adapter, prompt, prefixes), strict=True)
        on_progress(min(1.0, (start + size) / len(by_length)))
    return [found[i] for i in range(len(examples))]


def _batch(
    how: EvaluationPlan,
    rows: Sequence[Example],
    model: Any,
    tokenizer: Any,
    adapter: str,
    prompt: PromptVersion,
    prefixes: Prefixes,
) -> list[str]:
    sampling = prompt.sampling(how.max_new_tokens)
    requests = [Request(prompt.messages(row.input), sampling, adapter) for row in rows]
    try:
        generate(model, tokenizer, requests, prefixes=prefixes)
    except EngineError as error:
        if len(rows) == 1:
            return [f"[no answer: {error.message}]"]
        return [_batch(how, [row], model, tokenizer, adapter, prompt, prefixes)[0] for row in rows]
    return [request.text for request in requests]


def _scored(how: EvaluationPlan, row: Example, base: str, tuned: str) -> Prediction:
    metric = METRICS[how.metric]
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
