"""Training rows in TRL's columns, rendered by the very prompt version that will serve.

Owns the columns that each objective needs. Refuses to know models. Importing it loads no torch; a data set does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from prompts.versions import PromptVersion
from trainers.data import Example

if TYPE_CHECKING:
    from datasets import Dataset

_Row = dict[str, Any]


def as_dataset(examples: Sequence[Example], prompt: PromptVersion, objective: str = "sft") -> Dataset:
    """The rows as TRL's trainers take them."""
    from datasets import Dataset

    return Dataset.from_list(as_rows(examples, prompt, objective))


def mixed(rows: Dataset, more: Sequence[_Row]) -> Dataset:
    """The rows with further ones, in the same columns, behind them; a trainer takes them in an order of its own."""
    from datasets import Dataset, concatenate_datasets

    return concatenate_datasets([rows, Dataset.from_list(list(more), features=rows.features)]) if more else rows


def as_rows(examples: Sequence[Example], prompt: PromptVersion, objective: str = "sft") -> list[_Row]:
    """Prompt messages with what the objective learns from beside them.

    Not `messages` with assistant_only_loss: SmolLM2's chat template marks no assistant turns, so TRL refuses it.
    """
    return [row for example in examples for row in _ROWS[objective](example, _asked(prompt, example))]


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
