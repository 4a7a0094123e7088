"""Prefix tuning: learned keys and values before the chat in every layer (Li and Liang 2021,
https://arxiv.org/abs/2101.00190).

Begins as the keys and values that the person's own system prompt has in the base. Owns the knobs, that beginning and
PEFT's configuration.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from trainers.strategies.soft_prompts import SoftPrompt, prompt_ids
from trainers.strategies.strategy import Serving, Start


class PrefixTuningStrategy(SoftPrompt):
    """Learned keys and values in every layer."""

    title: ClassVar[str] = "Prefix tuning"

    # PEFT gives the prefix as a cache, which a layer that is computed a second time would find filled already.
    can_checkpoint: ClassVar[bool] = False

    type: Literal["prefix_tuning"] = "prefix_tuning"

    @property
    def serving(self) -> Serving:
        return Serving(vllm=False, told="by the embedded engine, with a model of its own: vLLM takes no prefix")

    def peft_config(self, start: Start) -> Any:
        from peft import PrefixTuningConfig

        return PrefixTuningConfig(num_virtual_tokens=self.num_virtual_tokens, task_type="CAUSAL_LM")

    def begin(self, model: Any, start: Start) -> None:
        if self.init == "prompt":
            weight = model.prompt_encoder["default"].embedding.weight
            weight.data.copy_(_keys_and_values(start, self.num_virtual_tokens))


def _keys_and_values(start: Start, count: int) -> Any:
    """What the base's cache holds after the prompt, in PEFT's layout: `(count, layers x (key, value) x heads x width)`.

    A prompt that is shorter is repeated before it is read, so that every place has its own.
    """
    import torch

    ids = torch.tensor([prompt_ids(start, count)], device=start.model.device)
    with torch.no_grad():
        cache = start.model(ids, use_cache=True).past_key_values
    both = [part[0].transpose(0, 1).reshape(count, -1) for layer in cache.layers for part in (layer.keys, layer.values)]
    return torch.cat(both, dim=1).float()
