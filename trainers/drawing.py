"""Which token each row of a batch takes next. Imports torch.

Owns the choice: every row has a temperature, a top-k, a top-p, a seed and a constraint of its own, and none of them
touches another row. Refuses to know texts, lengths and who asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from transformers import LogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from prompts.chat_model import Sampling
from trainers.constrain import Constraint

_COLDEST = 1e-5  # below it the best token is taken, as in vLLM
_SEEDS = 2**64


class Permitted(LogitsProcessor):
    """Leaves each row that is held to something the tokens that it may go on with. `is_done` is asked of a row."""

    def __init__(self, constraints: Sequence[Constraint | None], is_done: Callable[[int], bool]) -> None:
        self._constraints, self._is_done = constraints, is_done

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        held = [i for i, c in enumerate(self._constraints) if c and not self._is_done(i)]
        if not held:
            return scores
        scores = scores.clone()
        for index in held:
            constraint = self._constraints[index]
            assert constraint is not None
            permitted = torch.from_numpy(constraint.permitted()[: scores.shape[1]]).to(scores.device)
            scores[index, : len(permitted)].masked_fill_(~permitted, -torch.inf)
            scores[index, len(permitted) :] = -torch.inf
        return scores


class Drawn(LogitsProcessor):
    """Draws the token of each row that samples, and leaves it only that one. Greedy rows keep all theirs.

    The library's own draw is one for the whole batch, so that a seed would depend on who else is in it. Here it depends
    on the row's logits alone. Those of SmolLM2-135M are the same in any batch only in float32: of 16 replies of 48
    tokens 16 were what they are alone, and 6 in bfloat16, where greedy ones are 10. Must be the last of a batch's
    processors; the best token of each row is then taken.
    """

    def __init__(self, rows: Sequence[Sampling], is_done: Callable[[int], bool]) -> None:
        self._rows, self._is_done = rows, is_done
        self._warm = [i for i, row in enumerate(rows) if row.temperature >= _COLDEST and row.top_k != 1]
        self._generators: dict[int, torch.Generator] = {}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        warm = [i for i in self._warm if not self._is_done(i)]
        if not warm:
            return scores
        scores = scores.clone()
        for index in warm:
            kept = _kept(self._rows[index], input_ids[index : index + 1], scores[index : index + 1])
            token = self._draw(index, kept)
            scores[index : index + 1].fill_(-torch.inf).scatter_(-1, token, 0.0)
        return scores

    def _draw(self, index: int, scores: torch.Tensor) -> torch.Tensor:
        """A token of shape (1, 1), by the Gumbel-max trick: the best one after noise that is the row's own."""
        noise = torch.empty_like(scores).exponential_(generator=self._generator(index, scores.device))
        return (scores - noise.clamp_(min=torch.finfo(noise.dtype).tiny).log_()).argmax(dim=-1, keepdim=True)

    def _generator(self, index: int, device: torch.device) -> torch.Generator | None:
        seed = self._rows[index].seed
        if seed is None:
            return None
        if index not in self._generators:
            self._generators[index] = torch.Generator(device).manual_seed(seed % _SEEDS)
        return self._generators[index]


def _kept(row: Sampling, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """The row's scores at its temperature; minus infinity for what its top-k and top-p leave out. Shapes (1, n)."""
    scores = scores / row.temperature
    if row.top_k:
        scores = TopKLogitsWarper(row.top_k)(ids, scores)
    return TopPLogitsWarper(row.top_p)(ids, scores) if row.top_p < 1 else scores
