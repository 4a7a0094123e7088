"""What was asked: the input of the task, found again in a chat that a program rendered by a prompt.

Owns that inversion. Refuses to guess: where rendering what was found does not give the very turn again, the whole turn
is the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from prompts.errors import PromptError
from prompts.versions import PromptVersion

_MARK = "\ue000tunewright\ue001"  # private characters, which no template has


class Asked(NamedTuple):
    """The input, and the prompt version that asked for it; empty where the chat is not as that version has it.

    `whole_turn` says that the turn is not as the template has it, and `input` is all of it.
    """

    input: str
    prompt_id: str
    whole_turn: bool


def asked(messages: object, prompt: PromptVersion) -> Asked | None:
    """What the last turn of the person asks, or None where there is no such turn in an OpenAI request's `messages`."""
    turns = [_turn(message) for message in messages] if isinstance(messages, list) else []
    last = next((place for place in reversed(range(len(turns))) if turns[place][0] == "user"), None)
    if last is None:
        return None
    found = input_in(turns[last][1], prompt)
    if found is None:
        return Asked(turns[last][1], "", True)
    *before, own = [(message.role, message.content) for message in prompt.messages(found)]
    as_ours = turns[: len(before)] == before and turns[last] == own and last >= len(before)
    return Asked(found, prompt.id if as_ours else "", False)


def input_in(turn: str, prompt: PromptVersion) -> str | None:
    """The input that the prompt's template renders to exactly this turn, or None."""
    try:
        parts = _rendered(prompt, _MARK).split(_MARK)
        times, rest = len(parts) - 1, len(turn) - sum(map(len, parts))
        if not times or rest < 0 or rest % times:
            return None
        found = turn[len(parts[0]) : len(parts[0]) + rest // times]
        return found if _rendered(prompt, found) == turn else None
    except PromptError:  # a template may take some inputs and not others
        return None


def _rendered(prompt: PromptVersion, input: str) -> str:
    return prompt.messages(input)[-1].content


def _turn(message: Any) -> tuple[str, str]:
    if not isinstance(message, dict):
        return "", ""
    content = message.get("content")
    return str(message.get("role", "")), content if isinstance(content, str) else _joined(content)


def _joined(parts: object) -> str:
    """The texts of a content in parts, as OpenAI's protocol allows it."""
    items: Sequence[Any] = parts if isinstance(parts, list) else ()
    texts = [item.get("text") for item in items if isinstance(item, dict) and item.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))
