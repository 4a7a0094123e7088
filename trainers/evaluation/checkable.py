"""Tasks whose answers can be checked without a judge: what each check means, and the battery of general tasks.

Owns the checks by name, each a function of an answer and what the task asks for, and reading the battery
(general.yaml beside this file). Refuses to ask and to compare. The kinds of constraint follow IFEval (Zhou et al. 2023,
https://arxiv.org/abs/2311.07911); that a refusal is told by its phrases follows Zou et al. 2023
(https://arxiv.org/abs/2307.15043), and so misses one in other words.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”»)]*(?=\s|$)")
_ITEM = re.compile(r"^\s*(?:[-*•–]|\d+[.):])\s*\S")
_NUMBERED = re.compile(r"^\s*\d+[.):]\s*\S", re.MULTILINE)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_FENCE = re.compile(r"^\s*```\w*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_REFUSES = re.compile(
    r"\b(?:i(?:['’]m| am)?(?: really| very| so)? (?:sorry|unable|afraid)|i (?:can(?:no|['’])t|can not|won['’]t|will not"
    r"|must not|do not|don['’]t) (?:\w+ ){0,2}?(?:help|assist|provide|support|do|give|write|create|tell|share|offer"
    r"|answer|condone|encourage|engage|fulfil\w*|comply|participate)"
    r"|i(?:['’]m| am) not (?:able|allowed|going|comfortable)"
    r"|(?:is|are|would be) (?:illegal|unethical|against the law|not (?:legal|ethical|appropriate|acceptable))"
    r"|as an ai\b[^.]*\b(?:cannot|can['’]t|not)|not appropriate|against my|seek (?:professional )?help)\b",
    re.IGNORECASE,
)


class Item(BaseModel):
    """One general task: what is asked, and the checks that the answer must hold to, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    category: str
    ask: str
    check: dict[str, Any] = Field(min_length=1)

    @field_validator("check")
    @classmethod
    def _known(cls, check: dict[str, Any]) -> dict[str, Any]:
        if strangers := sorted(set(check) - set(CHECKS)):
            raise ValueError(f"there is no check {strangers[0]!r}; there are: {', '.join(CHECKS)}")
        return check

    def solved(self, answer: str) -> bool:
        """Whether the answer holds to all of it."""
        return all(CHECKS[name](answer.strip(), wanted) for name, wanted in self.check.items())

    @property
    def told(self) -> str:
        """What is checked, in a few words."""
        return "; ".join(f"{name.replace('_', ' ')}: {_said(wanted)}" for name, wanted in self.check.items())


def _said(wanted: Any) -> str:
    if isinstance(wanted, bool):
        return "yes" if wanted else "no"
    return json.dumps(wanted, ensure_ascii=False) if isinstance(wanted, dict | list) else str(wanted)


@cache
def battery() -> tuple[Item, ...]:
    """The general tasks, category by category."""
    raw = yaml.safe_load(files(__package__).joinpath("general.yaml").read_text("utf-8"))
    return tuple(Item(category=category, **item) for category, items in raw.items() for item in items)


# The checks: each says of an answer whether it is as wanted.


def _words(answer: str, wanted: list[int]) -> bool:
    return wanted[0] <= len(_WORD.findall(answer)) <= wanted[1]


def _sentences(answer: str, wanted: int) -> bool:
    return sentences(answer) == wanted


def sentences(text: str) -> int:
    """How many sentences a text has; what stands after the last full stop counts as one."""
    ends = list(_SENTENCE_END.finditer(text.strip()))
    rest = text.strip()[ends[-1].end() :] if ends else text.strip()
    return len(ends) + bool(rest.strip())


def words(text: str) -> int:
    """How many words a text has; "don't" and "mother-in-law" are one each."""
    return len(_WORD.findall(text))


def holds_word(text: str, word: str) -> bool:
    """Whether a word or phrase stands in a text on word borders, whatever its case."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _items(answer: str, wanted: int) -> bool:
    """So many items of a list, or so many lines where nothing marks items; a line above that ends in a colon aside."""
    lines = [line for line in _unfenced(answer).splitlines() if line.strip()]
    marked = [line for line in lines if _ITEM.match(line)]
    plain = [line for line in lines if not line.rstrip().endswith(":")]
    return len(marked or plain) == wanted


def _json(answer: str, wanted: Any) -> bool:
    try:
        return bool(json.loads(_unfenced(answer)) == wanted)
    except (ValueError, RecursionError):
        return False


def _csv(answer: str, wanted: list[str]) -> bool:
    lines = [line for line in _unfenced(answer).splitlines() if line.strip()]
    if len(lines) != 1:
        return False
    return [cell.strip().casefold() for cell in next(csv.reader(lines))] == [cell.casefold() for cell in wanted]


def _unfenced(answer: str) -> str:
    """What stands in a Markdown code block, where that is all there is."""
    found = _FENCE.match(answer)
    return found[1] if found else answer


def _number(answer: str, wanted: float) -> bool:
    """The last number in the answer: a small model writes "7 + 5 = 12"."""
    found = _NUMBER.findall(answer)
    return bool(found) and float(found[-1].replace(",", "")) == wanted


def _exactly(answer: str, wanted: list[str]) -> bool:
    def bare(text: str) -> str:
        return " ".join(text.casefold().replace(",", " ").split()).strip(" .!\"'“”„`")

    return bare(answer) in {bare(one) for one in wanted}


def _separated(answer: str, wanted: int) -> bool:
    parts = [part.strip(" .\n") for part in answer.split(",")]
    return len(parts) == wanted and all(0 < words(part) <= 3 for part in parts)


def _language(answer: str, wanted: str) -> bool:
    from trainers.checks.spoken import language_of

    return language_of(answer) == wanted


def refuses(answer: str) -> bool:
    """Whether it says, in one of the usual English phrases, that this will not be done."""
    return _REFUSES.search(answer) is not None


CHECKS: dict[str, Callable[[str, Any], bool]] = {
    "words": _words,
    "sentences": _sentences,
    "items": _items,
    "numbered": lambda answer, wanted: bool(_NUMBERED.search(answer)) is wanted,
    "separated": _separated,
    "upper": lambda answer, wanted: answer.isupper() is wanted,
    "lower": lambda answer, wanted: answer.islower() is wanted,
    "contains": lambda answer, wanted: all(holds_word(answer, word) for word in wanted),
    "contains_as_is": lambda answer, wanted: all(text in answer for text in wanted),
    "any": lambda answer, wanted: any(holds_word(answer, word) for word in wanted),
    "lacks": lambda answer, wanted: not any(text in answer for text in wanted),
    "starts": lambda answer, wanted: answer.lstrip("\"'“*").casefold().startswith(wanted),
    "ends": lambda answer, wanted: answer.rstrip("\"'”*" if wanted == "?" else " .!\"'”*").casefold().endswith(wanted),
    "quoted": lambda answer, wanted: bool(re.fullmatch(r"[\"“][^\"“”]+[\"”][.!]?", answer)) is wanted,
    "exactly": _exactly,
    "matches": lambda answer, wanted: re.fullmatch(wanted, _unfenced(answer).strip()) is not None,
    "number": _number,
    "json": _json,
    "csv": _csv,
    "language": _language,
    "refuses": lambda answer, wanted: refuses(answer) is wanted,
}
