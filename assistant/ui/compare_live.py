"""Live answers for a screen: what the engines are busy with first, then the answers as they come, until all have ended.

Owns waiting without blocking the page, and a stop that keeps what was said. Refuses to draw and to keep conversations.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from assistant.arena.asking import Arm, Pane, Talk, ask_all
from assistant.comparebench import Contender
from assistant.pipeline import Pipeline
from assistant.project import Project
from prompts.chat_model import Sampling

_LOOK = 0.1  # seconds after which a stop is noticed
_TELL = 0.5  # seconds between two looks at an engine that starts


@dataclass(frozen=True)
class Live:
    """Where it stands: `waiting` says what goes on before anybody can answer."""

    panes: tuple[Pane, ...] = ()
    waiting: str = ""


async def live(
    pipeline: Pipeline,
    project: Project,
    contenders: Sequence[Contender],
    message: str,
    sampling: Sampling,
    earlier: Callable[[Sequence[Arm]], Sequence[Talk]] = lambda arms: (),
    stopped: Callable[[], bool] = lambda: False,
) -> AsyncGenerator[Live, None]:
    """Ask these contenders; it ends early where it is stopped. `earlier` gives what was said before, for each arm.

    Close it where the page may go meanwhile. Raises `TunewrightError`.
    """
    starting = asyncio.create_task(asyncio.to_thread(pipeline.arms, project, contenders=contenders))
    starting.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be there to hear of it
    while not starting.done():
        if stopped():
            return
        yield Live(waiting=pipeline.engines.progress or "Getting the engine ready")
        await asyncio.wait([starting], timeout=_TELL)
    arms = starting.result()
    panes = tuple(Pane(arm) for arm in arms)
    asked = cast("AsyncGenerator[list[Pane], None]", ask_all(arms, message, sampling, earlier(arms)))
    async with aclosing(asked):
        while not all(pane.done for pane in panes):
            heard = await _next(asked, stopped)
            if heard is None:
                return
            panes = tuple(heard)
            yield Live(panes)


async def _next(asked: AsyncGenerator[list[Pane], None], stopped: Callable[[], bool]) -> list[Pane] | None:
    """What comes next; None where somebody stops before."""
    coming = asyncio.ensure_future(anext(asked))
    try:
        while not coming.done():
            if stopped():
                return None
            await asyncio.wait([coming], timeout=_LOOK)
        return coming.result()
    finally:
        if not coming.done():  # also where the page has gone
            coming.cancel()
            await asyncio.wait([coming])
