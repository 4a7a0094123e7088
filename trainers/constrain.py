"""Keeping a reply within what is allowed, token by token. Imports llguidance, not torch.

Owns the compiled grammars of one tokenizer and the state of each reply. Refuses to know who draws the tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from copy import copy
from functools import lru_cache
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from prompts.allowed import Allowed
from prompts.errors import EngineError


class Constraint:
    """One reply's way through what is allowed."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def permitted(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which tokens may come next, of shape (vocabulary,); the end token only where the answer may end.

        Raises `EngineError` where the grammar has become too complex to follow.
        """
        bias = self._matcher.compute_logit_bias()
        if self._matcher.is_error():
            raise EngineError(
                f"The answer cannot be kept to its form: {self._matcher.get_error()}.", hint="Simplify it."
            )
        return np.frombuffer(bias, np.uint8) > 0

    def take(self, token: int) -> None:
        """Go on by a token that was permitted."""
        self._matcher.consume_token(token)

    @property
    def complete(self) -> bool:
        """Whether nothing can follow but the end."""
        return self._matcher.is_stopped()


class Constraints:
    """What turns `Allowed` into constraints for one tokenizer, whose vocabulary is `size` tokens with these ends."""

    def __init__(self, tokenizer: Any, size: int, ends: Iterable[int]) -> None:
        plain = copy(tokenizer.backend_tokenizer)  # as llguidance.hf does it, which would load transformers
        plain.no_padding()
        plain.no_truncation()
        self._tokenizer = LLTokenizer(plain.to_str(), n_vocab=size, eos_token=sorted(ends))
        self._compiled = lru_cache(maxsize=64)(self._compile)

    def of(self, allowed: Allowed) -> Constraint:
        """A new reply's constraint. Raises `EngineError` for a schema that cannot be followed."""
        return Constraint(self._compiled(allowed).deep_copy())

    def _compile(self, allowed: Allowed) -> LLMatcher:
        try:
            matcher = LLMatcher(self._tokenizer, _grammar(allowed))
        except ValueError as error:
            raise _refused(str(error)) from error
        if matcher.is_error():
            raise _refused(matcher.get_error())
        return matcher


def _grammar(allowed: Allowed) -> str:
    if allowed.choices:
        return str(LLMatcher.grammar_from_lark(f"start: {' | '.join(json.dumps(c) for c in allowed.choices)}"))
    return str(LLMatcher.grammar_from_json_schema(json.dumps(allowed.guided_schema)))


def _refused(reason: str) -> EngineError:
    return EngineError(f"Answers cannot be held to this form: {reason.splitlines()[0]}.", hint="Simplify the schema.")
