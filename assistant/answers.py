"""Asking one model with any prompt version, and nothing twice: answers are kept by model, version and input.

Owns the key of an answer and what is asked again. Refuses to score and to know where answers are kept.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from prompts.chat_model import ChatModel, Reply, complete_all
from prompts.versions import PromptVersion

_AT_ONCE = 16  # what the embedded engine answers in one batch
Say = Callable[[str], None]


class Answer(BaseModel):
    """What a model said. `cut` is true where it did not come to an end within the tokens that it was given.

    The rest is known where somebody took the time: the name that the server gave, and seconds from the sending.
    """

    model_config = ConfigDict(frozen=True)

    text: str
    cut: bool = False
    model: str = ""
    finish_reason: str | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    first_token: float | None = None
    seconds: float = 0.0


class Shelf(Protocol):
    """Where answers are kept: for each key, by the hash of the input."""

    def answers(self, key: str) -> dict[str, Answer]: ...

    def keep_answer(self, key: str, row: str, answer: Answer) -> None: ...


@dataclass(frozen=True)
class Asker:
    """One model, asked for at most `limit` tokens an answer. `connect` may block while an engine starts.

    `model_key` names all that an answer depends on beside prompt and input: base, adapter, engine, dtype.
    """

    shelf: Shelf
    model_key: str
    limit: int
    connect: Callable[[Say], ChatModel]

    def ask(
        self,
        version: PromptVersion,
        inputs: Sequence[str],
        say: Say = lambda text: None,
        on_done: Callable[[int], None] = lambda done: None,
    ) -> list[Answer]:
        """An answer to each input, in order; what is known is not asked for.

        Each answer is kept as it comes, so that after an error, or when `on_done` raises, only the rest is asked for.
        `on_done` gets how many inputs are answered. Raises `EngineError`.
        """
        key = self._key(version)
        known = self.shelf.answers(key)
        rows = {text: row_of(text) for text in inputs}
        missing = [text for text, row in rows.items() if row not in known]
        done = len(inputs) - len(missing)
        if missing:
            on_done(done)
            model = self.connect(say)

            def keep(index: int, reply: Reply) -> None:
                nonlocal done
                row = rows[missing[index]]
                known[row] = Answer(text=reply.text, cut=reply.finish_reason == "length")
                self.shelf.keep_answer(key, row, known[row])
                done += 1
                on_done(done)

            asked = [version.messages(text) for text in missing]
            sampling = version.sampling(self.limit)
            asyncio.run(complete_all(model, asked, sampling, at_once=_AT_ONCE, on_reply=keep))
        on_done(len(inputs))
        return [known[rows[text]] for text in inputs]

    def known(self, version: PromptVersion, inputs: Sequence[str]) -> list[Answer] | None:
        """The answers where all are there already, else None. Asks nobody."""
        found = self.shelf.answers(self._key(version))
        rows = [found.get(row_of(text)) for text in inputs]
        return [row for row in rows if row] if all(rows) else None

    def cost(self, version: PromptVersion, inputs: Sequence[str]) -> int:
        """How many answers would have to be asked for."""
        found = self.shelf.answers(self._key(version))
        return sum(row_of(text) not in found for text in set(inputs))

    def _key(self, version: PromptVersion) -> str:
        return f"{self.model_key}|{version.id}|{self.limit}"


def row_of(text: str) -> str:
    """The hash of an input, by which a shelf keeps its answer."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
