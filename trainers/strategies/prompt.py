"""The prompt alone: nothing is trained and no example is shown. The baseline that everything else has to beat.

Owns nothing beyond that: the result is the plan's own prompt, measured and served like any other result.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from prompts.versions import PromptVersion
from trainers.data import Example
from trainers.strategies.strategy import Form, Serving, Strategy


class PromptStrategy(Strategy):
    """The untouched base with the plan's prompt."""

    title: ClassVar[str] = "Prompt alone"
    form: ClassVar[Form] = "prompt"
    trains: ClassVar[bool] = False

    type: Literal["prompt"] = "prompt"

    @property
    def serving(self) -> Serving:
        return Serving(vllm=True, told="by the untouched base, on any engine")

    def version(self, prompt: PromptVersion, rows: tuple[Example, ...]) -> PromptVersion:
        """The prompt as it is."""
        return prompt
