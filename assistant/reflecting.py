"""Better system prompts from reflection on failures, by GEPA (Agrawal et al. 2025), where a capable endpoint is there.

Owns the adapter between our trials and the package `gepa`, and what the endpoint is shown: inputs, answers and what was
expected, of rows for searching alone. Refuses to decide whether a prompt is better.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.improving import RowTrials
from prompts.chat_model import ChatModel, Message, Sampling, complete
from prompts.errors import EngineError
from prompts.search import Budget
from prompts.search.search import Halted, Reflect
from prompts.versions import PromptVersion

_PART = "system_prompt"
_ROWS, _AT_ONCE = 24, 4  # rows that GEPA chooses by, and failures shown at a time
_ROUNDS = 6  # proposals at most, each tried on a few rows first
_LONG = Sampling(max_tokens=1024, temperature=0.7)
_GOOD = 0.999


def reflector(model: ChatModel) -> Callable[[RowTrials], Reflect]:
    """What makes the reflecting part of a search out of its trials. `model` writes the new prompts."""

    def of(trials: RowTrials) -> Reflect:
        return lambda best, budget: _reflected(model, trials, best, budget)

    return of


def _reflected(model: ChatModel, trials: RowTrials, best: PromptVersion, budget: Budget) -> list[PromptVersion]:
    """Versions that GEPA came to from the best one so far. Raises `EngineError` where the endpoint fails."""
    from gepa import api

    optimize: Any = api.optimize  # its types know neither our data points nor plain functions
    rows = list(range(min(_ROWS, len(trials.searching))))
    begun = budget.used
    failed: list[Exception] = []

    def write(prompt: str | list[dict[str, Any]]) -> str:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        asked = [Message(role=turn["role"], content=str(turn["content"])) for turn in turns]
        try:
            return asyncio.run(complete(model, asked, _LONG)).text
        except EngineError as error:
            failed.append(error)
            raise

    def is_spent(state: Any) -> bool:
        return bool(failed) or budget.used > begun + (1 - begun) / 2

    adapter = _Adapter(trials, best, budget)
    try:
        result = optimize(
            seed_candidate={_PART: best.system},
            trainset=rows,
            valset=rows,
            adapter=adapter,
            reflection_lm=write,
            reflection_minibatch_size=_AT_ONCE,
            max_metric_calls=len(rows) * (_ROUNDS + 1),
            stop_callbacks=is_spent,
            logger=_Silent(),
            raise_on_exception=True,
        )
    except (EngineError, Halted):
        raise
    except Exception as error:  # whatever a foreign package stumbles over, the search has its best so far
        raise failed[0] if failed else EngineError(f"Reflection broke off: {error}") from error
    if failed:
        raise failed[0]
    texts = [candidate[_PART].strip() for candidate in result.candidates]
    return [adapter.version(text) for text in dict.fromkeys(texts) if text and text != best.system]


@dataclass
class _Trace:
    """What the endpoint is shown of one row."""

    input: str
    answer: str
    expected: str
    score: float


@dataclass
class _Adapter:
    """GEPA's side of our trials: a candidate is a system prompt, a data point the number of a row for searching."""

    trials: RowTrials
    best: PromptVersion
    budget: Budget
    propose_new_texts: None = None

    def version(self, system: str) -> PromptVersion:
        reason = f"{self.best.reason.split(';')[0]}; reflected on failures"
        return self.best.revised(system=system, reason=reason, author="tunewright")

    def evaluate(self, batch: list[int], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        from gepa.core.adapter import EvaluationBatch

        version = self.version(candidate[_PART])
        self.budget.spent += self.trials.cost(version, batch)
        answers, scores = self.trials.answered(version, batch)
        rows = [self.trials.searching[row] for row in batch]
        traces = [
            _Trace(row.input, answer, row.output, score)
            for row, answer, score in zip(rows, answers, scores, strict=True)
        ]
        return EvaluationBatch(outputs=answers, scores=scores, trajectories=traces if capture_traces else None)

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        shown = [
            {"Inputs": t.input, "Generated Outputs": t.answer, "Feedback": _feedback(t)}
            for t in eval_batch.trajectories or ()
        ]
        return dict.fromkeys(components_to_update, shown)


def _feedback(trace: _Trace) -> str:
    if trace.score >= _GOOD:
        return "This is right."
    return f"This scores {trace.score:.2f} of 1. The right answer is: {trace.expected}"


class _Silent:
    """GEPA prints by default; the search has its own progress."""

    def log(self, message: str) -> None:
        pass
