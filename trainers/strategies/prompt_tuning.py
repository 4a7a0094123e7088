"""Prompt tuning: a few learned embeddings before the chat, nothing else moves (Lester et al. 2021,
https://arxiv.org/abs/2104.08691).

Begins as the person's own system prompt. Owns the knobs and PEFT's configuration.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from trainers.strategies.soft_prompts import SoftPrompt, embedded
from trainers.strategies.strategy import Start


class PromptTuningStrategy(SoftPrompt):
    """Learned embeddings; with the default of 16 an artefact of some 40 kB for the embedded model."""

    title: ClassVar[str] = "Prompt tuning"

    type: Literal["prompt_tuning"] = "prompt_tuning"

    def peft_config(self, start: Start) -> Any:
        from peft import PromptTuningConfig

        return PromptTuningConfig(num_virtual_tokens=self.num_virtual_tokens, task_type="CAUSAL_LM")

    def begin(self, model: Any, start: Start) -> None:
        # Not by PEFT's TEXT: it asks the tokenizer's folder once more, which has to be there on every later loading.
        if self.init == "prompt":
            weight = model.prompt_encoder["default"].embedding.weight
            weight.data.copy_(embedded(start, self.num_virtual_tokens))
