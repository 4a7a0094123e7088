"""What the embedded engine is asked and what it answers, in the words of OpenAI's protocol and vLLM's additions to it.

Owns the bodies of requests, what of them is refused, and the shapes of chunks, whole replies, usage and errors. Unknown
fields are ignored, as OpenAI's servers do; fields that would change the answer and are not understood here are not.
Refuses to know models, threads and HTTP.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from prompts.allowed import Allowed
from prompts.chat_model import Message, Sampling
from prompts.errors import EngineError

if TYPE_CHECKING:
    from trainers.logprobs import TokenLogprob

_INT64 = 2**63
# Fields of OpenAI and vLLM that change the answer and are not understood here, each with the value that asks for
# nothing.
_REFUSED: dict[str, Any] = {
    "n": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "repetition_penalty": 1,
    "min_p": 0,
    "logit_bias": {},
    "bad_words": [],
    "allowed_token_ids": [],
    "use_beam_search": False,
    "best_of": 1,
    "tools": [],
    "tool_choice": "none",
    "functions": [],
    "function_call": "none",
    "modalities": ["text"],
    "audio": {},
    "web_search_options": None,
    "min_tokens": 0,
    "ignore_eos": False,
    "stop_token_ids": [],
    "include_stop_str_in_output": False,
    "skip_special_tokens": True,
    "add_generation_prompt": True,
    "continue_final_message": False,
    "add_special_tokens": False,
    "echo": False,
    "truncate_prompt_tokens": None,
    "chat_template": "",
    "chat_template_kwargs": {},
    "documents": [],
    "reasoning_effort": "none",
    "thinking_token_budget": None,
    "prompt_logprobs": 0,
    "logprob_token_ids": [],
    "return_tokens_as_token_ids": False,
    "return_token_ids": False,
    # vLLM's words of old for `structured_outputs`: a reply that is not held to them would be worse than none.
    **dict.fromkeys(("guided_json", "guided_regex", "guided_choice", "guided_grammar"), ""),
}


class Structured(BaseModel):
    """vLLM's `structured_outputs`, as far as it is understood here; anything else in it is refused."""

    model_config = ConfigDict(extra="forbid")

    choice: tuple[str, ...] = ()
    json_: dict[str, Any] | str | None = Field(None, alias="json")


class ResponseFormat(BaseModel):
    """OpenAI's `response_format`; of types other than `json_schema` only `text` asks for nothing."""

    type: Literal["text", "json_schema"]
    json_schema: dict[str, Any] = {}


class StreamOptions(BaseModel):
    """Whether the last chunk of a stream tells the usage."""

    include_usage: bool | None = False


class ChatBody(BaseModel):
    """The part of OpenAI's chat completion request that is understood here. What is null counts as not given."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    seed: int | None = Field(None, ge=-_INT64, lt=_INT64)
    stop: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=4)] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    structured_outputs: Structured | None = None
    response_format: ResponseFormat | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("messages", mode="before")
    @classmethod
    def _plain_turns(cls, value: Any) -> Any:
        return [_plain(turn) for turn in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _understood(self) -> Self:
        for field, value in (self.model_extra or {}).items():
            if field in _REFUSED and not _asks_for_nothing(value, _REFUSED[field]):
                raise ValueError(f"{field} is not understood here, and without it the answer would be another one")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs asks for logprobs, which must then be true")
        if self.stream_options and not self.stream:
            raise ValueError("stream_options is for streams, and stream is not true")
        return self

    @property
    def open_ended(self) -> bool:
        """Whether the reply may take what the context leaves, as in vLLM where no limit is given."""
        return not (self.max_completion_tokens or self.max_tokens)

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self) -> Sampling:
        """How the reply is drawn, by vLLM's defaults. Raises `EngineError` for what a reply cannot be held to."""
        return Sampling(
            max_tokens=self.max_completion_tokens or self.max_tokens or 1,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=self.top_p or 1.0,
            top_k=max(self.top_k or 0, 0),
            seed=None if self.seed is None or self.seed == -1 else self.seed % (2 * _INT64),  # vLLM: -1 is none
            stop=tuple(self.stop or ()),
            allowed=self._allowed(),
        )

    def _allowed(self) -> Allowed | None:
        """What the reply is held to, in vLLM's words or in OpenAI's."""
        held = self.structured_outputs or Structured()
        schema = held.json_ or (self.response_format.json_schema.get("schema") if self.response_format else None)
        if not held.choice and schema is None:
            return None
        try:
            return Allowed(choices=held.choice, json_schema="" if schema is None else _as_json(schema))
        except ValueError as error:
            raise EngineError(
                f"The reply cannot be held to this: {error}.", hint="Give choices or a schema."
            ) from error


def _asks_for_nothing(value: Any, neutral: Any) -> bool:
    return value is None or value == neutral or not (value or neutral)


def _plain(turn: Any) -> Any:
    """A turn whose content is a list of text parts, as one text; vLLM joins them in the same way."""
    parts = turn.get("content") if isinstance(turn, dict) else None
    if not isinstance(parts, list) or not all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
        return turn
    return {**turn, "content": "\n".join(str(part.get("text", "")) for part in parts)}


def _as_json(schema: dict[str, Any] | str) -> str:
    return schema if isinstance(schema, str) else json.dumps(schema, ensure_ascii=False)


class AdapterBody(BaseModel):
    """vLLM's request to load or unload, and ours: the chats by which what is loaded is told from its base."""

    lora_name: str
    lora_path: str = ""
    probes: list[Annotated[list[Message], Field(min_length=1)]] = Field([], max_length=8)


class Shape:
    """The answers to one request: chunks of a stream or a whole reply, all of one id."""

    def __init__(self, model: str) -> None:
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def chunk(self, delta: dict[str, str], **choice: Any) -> dict[str, Any]:
        """A piece of a stream; `choice` holds `logprobs`, `finish_reason` and `stop_reason` where there are any."""
        told = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **choice}
        return {**self._head, "object": "chat.completion.chunk", "choices": [told]}

    def usage_chunk(self, usage: dict[str, int]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage}

    def whole(self, text: str, usage: dict[str, int], **choice: Any) -> dict[str, Any]:
        """A reply that is not streamed."""
        told = {"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": None, **choice}
        return {**self._head, "object": "chat.completion", "choices": [told], "usage": usage}


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def logprobs(entries: Sequence[TokenLogprob]) -> dict[str, Any]:
    """OpenAI's shape. `bytes` are those of the text, which for a part of a character is empty."""
    content = [
        _token(entry.text, entry.logprob) | {"top_logprobs": [_token(*other) for other in entry.likeliest]}
        for entry in entries
    ]
    return {"content": content}


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def failure(code: int, message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def invalid(errors: Sequence[Any]) -> str:
    """What is wrong with a body, in a sentence or two, from pydantic's list of errors."""
    told = [_fault(error) for error in errors[:3]]
    return "The request is not understood: " + "; ".join(told) + "."


def _fault(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"] if part != "body")
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
