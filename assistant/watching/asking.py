"""Asks a served run for labelled rows that are not in its log.

Owns how: with the run's prompt, greedy, as its test rows were asked. A row that fails has an empty answer and is not
dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from assistant.serving.gateway import LOG_HEADER
from assistant.serving.openai_model import OpenAIModel
from assistant.watching.labelled import Ask
from prompts.chat_model import ChatModel, complete
from prompts.errors import EngineError
from trainers.status import RunFolder

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_AT_ONCE = 8


class Unlogged(OpenAIModel):
    """The model behind a gateway, asked without being logged: what we ask to measure is nobody's request."""

    def _client(self) -> AsyncOpenAI:
        return super()._client().with_options(default_headers={LOG_HEADER: "no"})


def asking(model: ChatModel, run: RunFolder) -> Ask:
    """A function from inputs to answers. It raises `EngineError` where no row at all is answered."""
    prompt = run.result_prompt()
    sampling = prompt.sampling(run.how().max_new_tokens)

    async def all_of(inputs: Sequence[str]) -> list[str]:
        gate, errors = asyncio.Semaphore(_AT_ONCE), []

        async def one(text: str) -> str:
            async with gate:
                try:
                    return (await complete(model, prompt.messages(text), sampling)).text
                except EngineError as error:
                    errors.append(error)
                    return ""

        answers = await asyncio.gather(*map(one, inputs))
        if errors and len(errors) == len(inputs):
            raise errors[0]
        return answers

    return lambda inputs: asyncio.run(all_of(inputs))
