"""Prompt versions: what is said to the model before the input, under a content hash.

Owns rendering a prompt for one input and the identity of a version. The same version that renders the training
rows renders the served requests. Refuses to know chat templates with special tokens (the model's side) and where
versions are stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field, field_validator, model_validator

from prompts.allowed import Allowed
from prompts.chat_model import Message, Sampling
from prompts.errors import PromptError

_ENV = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)

DEFAULT_TEMPLATE = "{{ input }}"


@lru_cache(maxsize=64)
def _compiled(template: str) -> Template:
    """Compiling takes ten times as long as rendering, and every row of a file is rendered."""
    return _ENV.from_string(template)


class Demonstration(BaseModel):
    """One solved example shown before the input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str
    output: str


class PromptVersion(BaseModel):
    """A system prompt, a Jinja template for the user's turn, demonstrations as earlier turns, and what is allowed.

    These four make its identity: two versions with the same `id` ask the same thing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str = ""
    template: str = DEFAULT_TEMPLATE
    demonstrations: tuple[Demonstration, ...] = ()
    allowed: Allowed | None = Field(None, description="What the engine holds every answer to")
    parent: str | None = None
    author: Literal["you", "tunewright"] = "you"
    reason: str = Field("", description="Why this version was written")

    @model_validator(mode="before")
    @classmethod
    def _without_id(cls, values: Any) -> Any:
        """A written version carries its id; it is computed anew, so that an edited one gets its own."""
        return {k: v for k, v in values.items() if k != "id"} if isinstance(values, dict) else values

    @field_validator("template")
    @classmethod
    def _takes_the_input(cls, template: str) -> str:
        try:
            names = find_undeclared_variables(_ENV.parse(template))
        except TemplateError as error:
            raise ValueError(f"the template is not valid Jinja: {error}") from error
        unknown = names - {"input"}
        if unknown:
            raise ValueError(f"the template uses {{{{ {sorted(unknown)[0]} }}}}, but only {{{{ input }}}} is there")
        if "input" not in names:
            raise ValueError("the template never uses {{ input }}, so the model would not see the input")
        return template

    @computed_field  # type: ignore[prop-decorator]
    @property
    def id(self) -> str:
        """Twelve hex digits of a SHA-256 over what makes its identity."""
        content: list[Any] = [self.system, self.template, [[d.input, d.output] for d in self.demonstrations]]
        if self.allowed:
            content.append(self.allowed.model_dump())
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:12]

    def revised(self, *, reason: str, author: Literal["you", "tunewright"] = "you", **fields: Any) -> PromptVersion:
        """A child of this version with some of `system`, `template`, `demonstrations` and `allowed` changed.

        Raises `PromptError` where the outcome is not usable.
        """
        kept = {name: getattr(self, name) for name in ("system", "template", "demonstrations", "allowed")}
        try:
            return PromptVersion(**{**kept, **fields}, parent=self.id, author=author, reason=reason)
        except ValidationError as error:
            wrong = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise PromptError(
                f"The prompt was not saved: {wrong}.", hint="Mend the template and save again."
            ) from error

    def sampling(self, max_tokens: int) -> Sampling:
        """How an answer to this prompt is drawn when it is measured: greedy, and within what is allowed."""
        return Sampling(max_tokens=max_tokens, allowed=self.allowed)

    def messages(self, input: str, earlier: Sequence[tuple[str, str]] = ()) -> list[Message]:
        """The chat that asks for an answer to `input`, after `earlier` inputs with the answers they got."""
        system = [Message(role="system", content=self.system)] if self.system.strip() else []
        shown = [*((shown.input, shown.output) for shown in self.demonstrations), *earlier]
        turns = [
            turn
            for asked, answer in shown
            for turn in (self._user_turn(asked), Message(role="assistant", content=answer))
        ]
        return [*system, *turns, self._user_turn(input)]

    def _user_turn(self, input: str) -> Message:
        try:
            return Message(role="user", content=_compiled(self.template).render(input=input))
        except Exception as error:  # a template can compute, and so fail in any way
            raise PromptError(f"The prompt template cannot be rendered: {error}.", hint="Edit it in Prompt.") from error
