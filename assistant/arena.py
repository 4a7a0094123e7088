"""Side by side: one message to several models at once, streamed as it comes.

Owns merging the streams, what is measured about each answer, and counting votes. Refuses to know engines, screens
and storage.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from assistant.project import Vote
from prompts.chat_model import ChatModel, Sampling
from prompts.errors import TunewrightError
from prompts.versions import PromptVersion

# The screen needs no more than this many pictures a second.
_REFRESH_SECONDS = 0.05


@dataclass(frozen=True)
class Arm:
    """One contender: a title for the screen, a live model, and the prompt version it is asked with."""

    title: str
    model: ChatModel
    prompt: PromptVersion


@dataclass(frozen=True)
class Pane:
    """What one arm has said so far. `model` is the name that the server gave. Times in seconds from the sending."""

    title: str
    prompt_id: str
    text: str = ""
    model: str = ""
    error: str = ""
    tokens: int = 0
    first_token: float | None = None
    seconds: float = 0.0
    done: bool = False

    @property
    def tokens_per_second(self) -> float:
        """Speed after the first token, 0 where there is no more than one."""
        spent = self.seconds - (self.first_token or 0.0)
        return (self.tokens - 1) / spent if self.tokens > 1 and spent > 0 else 0.0


@dataclass
class _Round:
    panes: list[Pane]
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def update(self, index: int, **values: object) -> None:
        self.panes[index] = replace(self.panes[index], **values)  # type: ignore[arg-type]
        self.changed.set()


async def ask_all(arms: Sequence[Arm], message: str, sampling: Sampling) -> AsyncIterator[list[Pane]]:
    """Ask every arm at the same time; yields the state of all panes whenever one has more to show.

    An arm that fails shows its error in its own pane and leaves the others alone. Closing the iterator stops all.
    """
    state = _Round([Pane(title=arm.title, prompt_id=arm.prompt.id) for arm in arms])
    tasks = [asyncio.create_task(_ask(state, i, arm, message, sampling)) for i, arm in enumerate(arms)]
    try:
        while not all(pane.done for pane in state.panes):
            await state.changed.wait()
            state.changed.clear()
            yield list(state.panes)
            await asyncio.sleep(_REFRESH_SECONDS)
        yield list(state.panes)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask(state: _Round, index: int, arm: Arm, message: str, sampling: Sampling) -> None:
    begun, text, tokens, first = time.monotonic(), "", 0, None
    try:
        held = sampling.model_copy(update={"allowed": arm.prompt.allowed})  # it is asked as it was measured
        async for chunk in arm.model.stream(arm.prompt.messages(message), held):
            now = time.monotonic() - begun
            first = now if first is None and chunk.text else first
            text += chunk.text
            tokens = chunk.completion_tokens or tokens + bool(chunk.text)
            model = chunk.model or state.panes[index].model
            state.update(index, text=text, model=model, tokens=tokens, first_token=first, seconds=now)
    except TunewrightError as error:
        state.update(index, error=str(error))
    except Exception as error:  # whatever it was, the other panes must not wait for this one
        state.update(index, error=f"{arm.title} failed: {error}")
    state.update(index, done=True)


def count_votes(votes: Sequence[Vote], tuned: str) -> list[tuple[str, str]]:
    """Votes in which the model `tuned` took part: won by the other side, won by it, ties, as name and count."""
    counted = [vote for vote in votes if tuned in {answer.model for answer in vote.answers}]
    won = [vote.answers[vote.choice].model == tuned for vote in counted if vote.choice is not None]
    counts = {"votes for base": won.count(False), "votes for tuned": won.count(True), "ties": len(counted) - len(won)}
    return [(name, str(count)) for name, count in counts.items()] if counted else []
