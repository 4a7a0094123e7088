"""Training rows as TRL's data sets, rendered by the very prompt version that will serve. Imports datasets.

Owns the columns that each objective needs. Refuses to know models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset

from prompts.versions import PromptVersion
from trainers.data import Example

_Row = dict[str, Any]


def as_dataset(examples: Sequence[Example], prompt: PromptVersion, objective: str = "sft") -> Dataset:
    """Prompt messages with what the objective learns from beside them.

    Not `messages` with assistant_only_loss: SmolLM2's chat template marks no assistant turns, so TRL refuses it.
    """
    return Dataset.from_list(
        [row for example in examples for row in _ROWS[objective](example, _asked(prompt, example))]
    )


def _asked(prompt: PromptVersion, example: Example) -> list[dict[str, str]]:
    return [message.model_dump() for message in prompt.messages(example.input)]


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _answer(example: Example, asked: list[dict[str, str]]) -> list[_Row]:
    return [{"prompt": asked, "completion": _said(example.output)}]


def _pair(example: Example, asked: list[dict[str, str]]) -> list[_Row]:
    return [{"prompt": asked, "chosen": _said(example.output), "rejected": _said(example.rejected)}]


def _thumbs(example: Example, asked: list[dict[str, str]]) -> list[_Row]:
    both = ((example.output, True), (example.rejected, False))
    return [{"prompt": asked, "completion": _said(text), "label": up} for text, up in both if text]


_ROWS: dict[str, Callable[[Example, list[dict[str, str]]], list[_Row]]] = {"sft": _answer, "dpo": _pair, "kto": _thumbs}
