"""What the rows of a batch have in common at their start, computed once. Imports torch.

Rows measured with one prompt version share its system prompt and its solved examples, most of what the model reads.
Owns the common start's keys and values, for this batch and the next ones. Refuses to know what is generated from them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

_SHORTEST = 32  # tokens; below that, copying the cache costs as much as it spares
_KEPT = 2
_ENOUGH = 0.8  # a kept start that is this much of the common one is as good


class Prefixes:
    """The starts computed last, for one model. Whoever changes the model must `clear`."""

    def __init__(self) -> None:
        self._kept: list[tuple[str, list[int], Any]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forget them all."""
        self._kept.clear()

    def shared(
        self, model: Any, encoded: Sequence[list[int]], adapter: str, named: dict[str, list[str]]
    ) -> tuple[int, Any]:
        """How many tokens all rows begin with, and a cache of them for so many rows; 0 and None where it is too few.

        `named` is what binds rows to adapters in a forward pass, as for the batch.
        """
        common = _common(encoded)
        found = self._found(common, adapter)
        if len(common) < _SHORTEST or (len(encoded) == 1 and found is None):
            return 0, None
        if found is None:
            found = adapter, common, _computed(model, common, {key: value[:1] for key, value in named.items()})
            self._kept = [found, *self._kept][:_KEPT]
        cache = copy.deepcopy(found[2])
        cache.batch_repeat_interleave(len(encoded))
        return len(found[1]), cache

    def _found(self, common: list[int], adapter: str) -> tuple[str, list[int], Any] | None:
        fitting = [
            kept
            for kept in self._kept
            if kept[0] == adapter and common[: len(kept[1])] == kept[1] and len(kept[1]) >= _ENOUGH * len(common)
        ]
        return max(fitting, key=lambda kept: len(kept[1]), default=None)


def _common(encoded: Sequence[list[int]]) -> list[int]:
    """What all rows begin with; of each row at least one token is left."""
    shortest = min(encoded, key=len)
    longest = len(shortest) - 1
    for row in encoded:
        while row[:longest] != shortest[:longest]:
            longest = next(i for i in range(longest) if row[i] != shortest[i])
    return shortest[:longest]


def _computed(model: Any, ids: list[int], named: dict[str, list[str]]) -> Any:
    batch = torch.tensor([ids], device=model.device)
    return model(input_ids=batch, use_cache=True, logits_to_keep=1, **named).past_key_values
