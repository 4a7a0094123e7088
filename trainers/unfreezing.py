"""Gradual unfreezing while a training runs (ULMFiT, https://arxiv.org/abs/1801.06146). Imports transformers.

Owns when which layer begins to move. The optimizer holds all parameters from the start: those that are frozen when it
is built would never enter it, and one without a gradient is left as it is.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from transformers import TrainerCallback

from trainers.strategies.full import depths


class GradualUnfreezing(TrainerCallback):
    """Lets the top move first, then `layers` more at each of equally long stages; all move once `over` is done."""

    def __init__(self, layers: int, over: float) -> None:
        self._layers, self._over = layers, over

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        depth = depths(model)
        reached = self.depth_at(state.global_step, state.max_steps, max(depth.values()))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(depth[name] <= reached)

    def depth_at(self, step: int, steps: int, deepest: int) -> int:
        """How deep the movement reaches at a step; the head and the first layers move from step 0."""
        stages = ceil(deepest / self._layers)
        if stages <= 1:
            return deepest
        length = self._over * steps / (stages - 1)
        stage = min(stages - 1, int(step / length)) if length else stages - 1
        return min(deepest, self._layers * (stage + 1))
