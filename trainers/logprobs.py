"""How likely each generated token was, and what else was likely. Imports torch.

Owns the log-probabilities of the model's own distribution, before temperature and constraints, and the text of single
tokens. Refuses to choose tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessor

_LOWEST = -9999.0  # vLLM's word for minus infinity, which JSON has not
_CHARACTER = 4  # no character takes more tokens than it has bytes


@dataclass(frozen=True)
class TokenLogprob:
    """A generated token: its text, its natural log-probability, and the likeliest tokens, best first."""

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...] = ()


class Logprobs(LogitsProcessor):
    """Reads the logits before anything changes them. Must be the first of a batch's processors.

    `asked` says of which rows, and how many of the likeliest tokens each wants.
    """

    def __init__(self, asked: Mapping[int, int], tokenizer: Any) -> None:
        self._asked = dict(asked)
        self._places = {row: place for place, row in enumerate(self._asked)}
        self._before: dict[int, list[int]] = {row: [] for row in self._asked}
        self._tokens = TokenTexts(tokenizer)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._all = scores[list(self._asked)].log_softmax(dim=-1)
        best = self._all.topk(min(max(self._asked.values()), self._all.shape[-1]), dim=-1)
        self._best = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        return scores

    def of(self, row: int, token: int) -> TokenLogprob | None:
        """What is known of the token that a row took last; None for a row that asked for nothing."""
        if row not in self._asked:
            return None
        place, before = self._places[row], self._before[row]
        tokens, values = (found[: self._asked[row]] for found in self._best[place])
        likeliest = tuple((self._tokens.of(t, before), _finite(v)) for t, v in zip(tokens, values, strict=True))
        text = self._tokens.of(token, before)
        self._before[row] = [*before, token][-_CHARACTER:]
        return TokenLogprob(text, _finite(float(self._all[place, token])), likeliest)


class TokenTexts:
    """What single tokens read as. Those of a character that is not complete yet read as nothing, as in vLLM."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, str] = {}

    def of(self, token: int, before: list[int]) -> str:
        """The text of `token` after the tokens `before`."""
        text = self._known.get(token)
        if text is None:
            text = self._known[token] = self._alone(token)
        return self._completed(token, before) if text.endswith("\ufffd") else text

    def _alone(self, token: int) -> str:
        text = str(self._tokenizer.decode([token]))
        raw = self._tokenizer.convert_ids_to_tokens(token) or ""
        # SentencePiece's leading space, which decoding takes for the beginning of a text and drops.
        spaces = len(raw) - len(raw.lstrip("\u2581")) - (len(text) - len(text.lstrip(" ")))
        return " " * spaces + text

    def _completed(self, token: int, before: list[int]) -> str:
        for count in range(1, len(before) + 1):
            whole = str(self._tokenizer.decode([*before[-count:], token]))
            if not whole.endswith("\ufffd"):
                known = str(self._tokenizer.decode(before[-count:])).rstrip("\ufffd")
                return whole.removeprefix(known)
        return ""


def _finite(logprob: float) -> float:
    return max(logprob, _LOWEST)
