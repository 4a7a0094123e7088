"""What a message asks for: an act, a dictated prompt, or the plain answer to the question that was asked.

Owns the wordings of wishes in four languages (`commands.yaml`). Refuses to carry them out.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from assistant.dialogue.mind import ACTS, Act
from assistant.dialogue.offline.numbers import numbers
from assistant.dialogue.offline.text import fold, language_of
from trainers.models import EMBEDDED

# A longer message describes something, whatever words are in it.
_COMMAND_WORDS, _SHORT_WORDS = 15, 6
# Acts that are a message of their own: nothing else in it is read as a fact.
ALONE: frozenset[Act] = frozenset(
    {
        "help", "why", "back", "restart", "skip", "sample", "cancel", "confirm", "profile", "improve", "critique",
        "accept", "dismiss", "versions", "restore", "choose", "keep", "resume", "votes", "round", "confirm_round",
        "examine", "findings", "export", "try", "confirm_try", "trials", "stop_trials", "resume_trials", "take_advised",
    }
)  # fmt: skip
# Words of these stand in descriptions too ("compare", "report"): a long first message means something else by them.
_LOOSE: frozenset[Act] = frozenset({"recommend", "compare", "report", "status", "measure", "few_shot"})
_PROMPT = re.compile(
    r"^\W*(?:(?:use (?:this|the)|set the|my|new|system) )*prompt\s*(?:to\s*)?[:=]\s*(.+)$", re.I | re.S
)
_SEPARATORS = re.compile(
    r"\s*[,;/|\n]\s*(?:(?:and|or|und|oder|et|ou|y|o)\s+)?|\s+(?:and|or|und|oder|et|ou|y|o)\s+", re.IGNORECASE
)


@cache
def _wordings() -> dict[str, Any]:
    return dict(yaml.safe_load(files(__package__).joinpath("commands.yaml").read_text("utf-8")))


@cache
def _pattern(*path: str) -> re.Pattern[str]:
    found: Any = _wordings()
    for step in path:
        found = found[step]
    choices = found if isinstance(found, list) else [found]
    filled = (c.replace("<asked>", _wordings()["asked"]).replace("<end>", r"\W*$") for c in choices)
    return re.compile("|".join(f"(?:{choice})" for choice in filled), re.DOTALL)


@cache
def _kind_names() -> dict[str, str]:
    return {name: kind for kind, names in _wordings()["kinds"].items() for name in names}


def dictated_prompt(text: str) -> str:
    """The prompt that a message dictates ("prompt: ..."), or nothing."""
    found = _PROMPT.match(text)
    return found.group(1).strip() if found else ""


def act_in(text: str) -> Act | None:
    """What the message asks to do, where it is short enough to be a wish and not a description."""
    folded = fold(text)
    words = len(folded.split())
    if not words or words > _COMMAND_WORDS:
        return None
    act = next((act for act in _wordings()["acts"] if _pattern("acts", act).search(folded)), None)
    if act in _LOOSE and words > _SHORT_WORDS and not _pattern("request").search(folded):
        return None
    return act if act in ACTS else None


def minutes_in(text: str) -> float | None:
    """How many minutes a message names, or None."""
    found = re.search(r"(\d+(?:[.,]\d+)?)\s*(?:more\s+|weitere\s+)?(?:min(?:ute)?n?s?|minutos?)\b", text, re.IGNORECASE)
    return float(found.group(1).replace(",", ".")) if found else None


def version_in(text: str) -> str:
    """The id of a prompt version that a message names, or nothing."""
    found = re.search(r"\b[0-9a-f]{12}\b", text)
    return found.group() if found else ""


def asks_something(text: str) -> bool:
    """Whether a message is put as a question."""
    return bool(_pattern("question").search(fold(text).strip()))


def small_talk(text: str) -> str:
    """A reply to a greeting, thanks or the like, or nothing where a message is more than that."""
    plain = fold(text).strip(" .!?,:;)('\"¡¿")
    return next(
        (entry["reply"] for number, entry in enumerate(_wordings()["small_talk"]) if _says(number).fullmatch(plain)), ""
    )


@cache
def _says(number: int) -> re.Pattern[str]:
    said = _wordings()["small_talk"][number]["says"]
    return re.compile("|".join(said if isinstance(said, list) else [said]))


def answer_to(text: str, asked: str | None) -> dict[str, Any]:
    """The asked field's value where the whole message is just that, else nothing."""
    folded = fold(text).strip(" .!")
    if _pattern("embedded").search(folded):
        return {"base_model": EMBEDDED}
    if folded in _kind_names() and asked in (None, "task"):
        return {"task": _kind_names()[folded]}
    if asked in ("labels", "fields"):
        return _as_list(text, folded, asked)
    return _as_count(text, folded) if asked == "examples" else {}


def _as_list(text: str, folded: str, asked: str) -> dict[str, Any]:
    if _pattern("more_than_a_list").search(folded):
        return {}
    parts = (re.sub(r"^(?:[-*•]|\d+[.)])\s*", "", part) for part in _SEPARATORS.split(text.strip(" .")))
    items = tuple(item for part in parts if (item := part.strip(" .\"'")))
    return {asked: items} if len(items) > 1 and all(len(item.split()) <= 4 for item in items) else {}


def _as_count(text: str, folded: str) -> dict[str, Any]:
    if _pattern("none").search(folded):
        return {"examples": 0}
    found = numbers(text, language_of(text))
    if len(found) != 1 or len(text.split()) > 4 or re.match(r"\s*(?:gb|min|h|%|s|ms)\b", found[0].after):
        return {}
    return {"examples": int(found[0].value)}
