"""Side by side: one message to several models at once, streamed as it comes.

Owns merging the streams and what is measured about each answer. Refuses to know engines, screens and votes' storage.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from assistant.votes import ArmAnswer
from prompts.chat_model import ChatModel, Message, Sampling
from prompts.errors import TunewrightError
from prompts.versions import PromptVersion

# The screen needs no more than this many pictures a second.
_REFRESH_SECONDS = 0.05
Talk = Sequence[tuple[str, str]]  # what was said before: the person's message, and the arm's own answer


@dataclass(frozen=True)
class Arm:
    """One contender: a title for the screen, a live model, and the prompt version it is asked with.

    `parent` and `digest` are what the server said of its base, and the hash of the weights bound to its name.
    """

    title: str
    model: ChatModel
    prompt: PromptVersion
    parent: str = ""
    digest: str = ""

    @property
    def key(self) -> str:
        """What answers, whatever it is called: as `ArmAnswer.arm` of its answers."""
        return f"{self.digest or self.model.name}|{self.prompt.id}"


@dataclass(frozen=True)
class Pane:
    """What one arm has said so far. `model` is the name that the server gave. Times in seconds from the sending."""

    arm: Arm
    messages: tuple[Message, ...] = ()
    text: str = ""
    model: str = ""
    error: str = ""
    finish_reason: str | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    first_token: float | None = None
    seconds: float = 0.0
    done: bool = False

    @property
    def tokens_per_second(self) -> float:
        """Speed after the first token, 0 where there is no more than one."""
        spent = self.seconds - (self.first_token or 0.0)
        return (self.tokens - 1) / spent if self.tokens > 1 and spent > 0 else 0.0

    def answer(self) -> ArmAnswer:
        """The record of it, for a vote."""
        return ArmAnswer(
            title=self.arm.title,
            model=self.model,
            parent=self.arm.parent,
            digest=self.arm.digest,
            prompt_id=self.arm.prompt.id,
            messages=self.messages,
            text=self.text,
            finish_reason=self.finish_reason,
            prompt_tokens=self.prompt_tokens,
            tokens=self.tokens,
            first_token=self.first_token,
            seconds=self.seconds,
        )


@dataclass
class _Round:
    panes: list[Pane]
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def update(self, index: int, **values: object) -> None:
        self.panes[index] = replace(self.panes[index], **values)  # type: ignore[arg-type]
        self.changed.set()


async def ask_all(
    arms: Sequence[Arm], message: str, sampling: Sampling, earlier: Sequence[Talk] = ()
) -> AsyncIterator[list[Pane]]:
    """Ask every arm at the same time; yields the state of all panes whenever one has more to show.

    `earlier` has for each arm what was said before, its own answers in it. An arm that fails shows its error in its own
    pane and leaves the others alone. What `sampling` allows comes before what the prompts do. Closing the iterator
    stops all.
    """
    state = _Round([Pane(arm=arm) for arm in arms])
    talks = [*earlier, *[()] * len(arms)][: len(arms)]
    tasks = [asyncio.create_task(_ask(state, index, message, sampling, talk)) for index, talk in enumerate(talks)]
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


async def _ask(state: _Round, index: int, message: str, sampling: Sampling, earlier: Talk) -> None:
    arm, begun, text, tokens, first = state.panes[index].arm, time.monotonic(), "", 0, None
    try:
        held = sampling.model_copy(update={"allowed": sampling.allowed or arm.prompt.allowed})
        messages = arm.prompt.messages(message, earlier)
        state.update(index, messages=tuple(messages))
        async for chunk in arm.model.stream(messages, held):
            now = time.monotonic() - begun
            first = now if first is None and chunk.text else first
            text += chunk.text
            tokens = chunk.completion_tokens or tokens + bool(chunk.text)
            before = state.panes[index]
            state.update(
                index,
                text=text,
                model=chunk.model or before.model,
                finish_reason=chunk.finish_reason or before.finish_reason,
                prompt_tokens=chunk.prompt_tokens or before.prompt_tokens,
                tokens=tokens,
                first_token=first,
                seconds=now,
            )
    except TunewrightError as error:
        state.update(index, error=str(error))
    except Exception as error:  # whatever it was, the other panes must not wait for this one
        state.update(index, error=f"{arm.title} failed: {error}")
    state.update(index, done=True)
