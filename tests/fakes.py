"""Stand-ins that keep a protocol: a model that says what it was told to, and a room whose engine is only pretended.

They use nothing but the public interfaces, so that no test has to patch anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from assistant.answers import Answer
from assistant.serving.room import EngineRoom
from assistant.serving.served import Connected, Identity, ServedModel
from assistant.settings import Settings
from prompts.chat_model import GREEDY, Chunk, Message, Sampling


@dataclass
class ScriptedModel:
    """Streams `pieces`, or what `answer` makes of the chat, waiting `pace` seconds before each.

    `fails_at` is the piece before which it raises `error`. `heard` and `open` tell what was asked and what still runs.
    """

    name: str = "scripted"
    pieces: Sequence[str] = ("Hello", " there")
    answer: Callable[[Sequence[Message]], str] | None = None
    pace: float = 0.0
    fails_at: int | None = None
    error: Exception = field(default_factory=lambda: RuntimeError("it broke"))
    served_name: str = ""
    usage: int | None = None
    on_piece: Callable[[str, str], None] = lambda name, piece: None
    heard: list[tuple[Message, ...]] = field(default_factory=list)
    sampled: list[Sampling] = field(default_factory=list)
    open: int = 0

    async def stream(self, messages: Sequence[Message], sampling: Sampling = GREEDY) -> AsyncIterator[Chunk]:
        self.heard.append(tuple(messages))
        self.sampled.append(sampling)
        pieces = [self.answer(messages)] if self.answer else self.pieces
        named = self.served_name or self.name
        self.open += 1
        try:
            for number, piece in enumerate([*pieces, ""]):
                await asyncio.sleep(self.pace)
                if number == self.fails_at:
                    raise self.error
                self.on_piece(self.name, piece)
                last = number == len(pieces)
                yield Chunk(
                    text=piece,
                    model=named,
                    finish_reason="stop" if last else None,
                    completion_tokens=self.usage if last else None,
                )
        finally:
            self.open -= 1


class MemoryShelf:
    """Keeps answers as long as it lives."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Answer]] = {}

    def answers(self, key: str) -> dict[str, Answer]:
        return dict(self.kept.get(key, {}))

    def keep_answer(self, key: str, row: str, answer: Answer) -> None:
        self.kept.setdefault(key, {})[row] = answer


@dataclass
class ScriptedRoom(EngineRoom):
    """An engine room that hands out scripted models at once and counts how often it was stopped."""

    settings: Settings
    model: ScriptedModel = field(default_factory=ScriptedModel)
    connected: list[tuple[ServedModel, ...]] = field(default_factory=list)
    stops: int = 0

    def __post_init__(self) -> None:
        super().__init__(self.settings)

    def connect(
        self, models: Sequence[ServedModel], on_progress: Callable[[str], None] = lambda text: None
    ) -> list[Connected]:
        on_progress("Starting the scripted engine")
        self.connected.append(tuple(models))
        return [Connected(self.model, self._identity(model)) for model in models]

    def _identity(self, model: ServedModel) -> Identity:
        tuned = {"parent": model.base.name, "digest": model.name} if model.artefact else {}
        return Identity(name=model.name, served_as=model.name, prompt_id=model.prompt.id, engine="scripted", **tuned)

    def rest(self) -> bool:
        self.stop()
        return False

    def stop(self) -> None:
        self.stops += 1
