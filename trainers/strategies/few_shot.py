"""In-context few-shot: solved examples in the prompt, and nothing is trained (Brown et al. 2020,
https://arxiv.org/abs/2005.14165).

Owns how many examples and how they are chosen. The result is a version of the prompt.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from prompts.demonstrations import choose
from prompts.versions import Demonstration, PromptVersion
from trainers.data import Example
from trainers.strategies.strategy import Form, Serving, Strategy


class FewShotStrategy(Strategy):
    """Training rows, shown as earlier turns of the chat."""

    title: ClassVar[str] = "Few-shot"
    form: ClassVar[Form] = "prompt"
    trains: ClassVar[bool] = False

    type: Literal["few_shot"] = "few_shot"
    examples: int = Field(4, ge=1, le=64, description="How many solved examples every request carries")
    seed: int = 0

    @property
    def brief(self) -> str:
        return f"{self.title}, {self.examples} examples"

    @property
    def serving(self) -> Serving:
        return Serving(vllm=True, told="by the untouched base, on any engine: the prompt carries the examples")

    def version(self, prompt: PromptVersion, rows: tuple[Example, ...]) -> PromptVersion:
        """The prompt with examples out of the training rows."""
        shown = [Demonstration(input=row.input, output=row.output) for row in rows if row.output]
        chosen = tuple(choose(shown, self.examples, self.seed))
        return prompt.revised(reason=f"{len(chosen)} examples", author="tunewright", demonstrations=chosen)
