"""What the strategies that learn virtual tokens share: their number, and first values out of the person's own prompt.

Owns the tokens of that prompt. Refuses to know which of the strategies asks.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from prompts.errors import PlanError
from trainers.hardware import Compute
from trainers.shapes import BaseShape
from trainers.strategies.strategy import AS_SOFT_PROMPT, Serving, Start, Strategy, refuse

FromPrompt = Literal["prompt", "random"]
_FEWEST_FREE = 64  # tokens that a chat needs beside the virtual ones


class SoftPrompt(Strategy):
    """Virtual tokens that stand before every chat."""

    virtual: ClassVar[bool] = True

    num_virtual_tokens: int = Field(16, ge=1, le=512, description="How many tokens the soft prompt takes")
    init: FromPrompt = Field("prompt", description="`prompt`: begin as the system prompt's own tokens")

    @property
    def brief(self) -> str:
        return f"{self.title}, {self.num_virtual_tokens} tokens"

    @property
    def serving(self) -> Serving:
        return AS_SOFT_PROMPT

    def check(self, base: BaseShape, compute: Compute) -> None:
        limit = base.config.get("max_position_embeddings")
        if limit and self.num_virtual_tokens + _FEWEST_FREE > limit:
            told = f"{self.num_virtual_tokens} virtual tokens leave no room in the {limit} tokens that the model reads"
            raise refuse("num_virtual_tokens", told, "Use fewer; 8 to 64 are usual.")


def prompt_ids(start: Start, count: int) -> list[int]:
    """`count` token ids of the person's prompt, repeated or cut as PEFT does it. Raises `PlanError` without one."""
    ids = start.tokenizer(start.words, add_special_tokens=False)["input_ids"] if start.words.strip() else []
    if not ids:
        raise PlanError(
            "strategy.init: there is no system prompt to begin from.", hint="Write one, or use `init: random`."
        )
    return (ids * (count // len(ids) + 1))[:count]


def embedded(start: Start, count: int) -> Any:
    """The embeddings of these tokens, `(count, width)`."""
    import torch

    table = start.model.get_input_embeddings()
    with torch.no_grad():
        return table(torch.tensor(prompt_ids(start, count), device=table.weight.device)).detach().float().clone()
