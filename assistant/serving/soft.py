"""Soft prompts for vLLM: what a request carries, and a chat template that puts it before the chat.

vLLM has no adapter of this kind, but takes embeddings as a part of a message. They have to come before the whole text
of the chat, where PEFT puts its virtual tokens; so the template prints a first turn of a role of our own as it is.
Owns both. Refuses to load torch: a child process reads the tensor.
"""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path

from assistant.serving.openai_model import SOFT_ROLE
from prompts.errors import EngineError
from trainers.paths import PYTHON
from trainers.tokens import template_source

_FIRST = (
    "{%- if messages[0]['role'] == '" + SOFT_ROLE + "' %}{{- messages[0]['content'] }}"
    "{%- set messages = messages[1:] %}{%- endif %}"
)


@lru_cache(maxsize=64)
def soft_payload(adapter: Path) -> str:
    """What a request carries of a saved soft prompt. Raises `EngineError` where it cannot be read."""
    child = [*PYTHON, "trainers.soft_payload", str(adapter)]
    try:
        return subprocess.run(child, capture_output=True, text=True, timeout=120, check=True).stdout
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise EngineError(f"The soft prompt in {adapter} cannot be read: {last}.", hint="Train it again.") from error
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"Reading the soft prompt in {adapter} took too long.", hint="Try again.") from error


def soft_template(base: Path, folder: Path) -> Path:
    """A file in `folder` with the base model's chat template, behind a place for the soft prompt."""
    file = folder / f"{base.name}-soft.jinja"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(_FIRST + template_source(base), "utf-8")
    return file
