"""Reads a message: facts for the task spec, and acts that the person asks for.

Owns the rules. Refuses to act, to answer, or to remember: everything it needs is in the text and the current spec.
"""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from prompts.spec import TaskSpec, infer_format

Act = Literal[
    "sample", "measure", "few_shot", "recommend", "train", "confirm", "cancel", "status", "report", "compare", "help"
]
ACTS: tuple[Act, ...] = get_args(Act)


class Reading(BaseModel):
    """What a message says. `said` came in so many words, `inferred` follows from them."""

    model_config = ConfigDict(frozen=True)

    said: dict[str, Any] = {}
    inferred: dict[str, Any] = {}
    prompt: str | None = None
    act: Act | None = None


# The first pattern that matches decides, so the more particular ones stand first.
_TASKS = {
    "extraction": r"\b(extract|pull\b.*\bout\b|parse|find the (fields|values)|as json|into json)",
    "translation": r"\b(translat|from english (in)?to|into (german|french|spanish|english))",
    "summarization": r"\b(summar|condense|shorten|tl;?dr)",
    "classification": (
        r"\b(classif|categor|triage|route|routing|label(l?ing)?\b|sort\b|tag\b|intent|sentiment|spam|which team)"
    ),
    "rewriting": r"\b(rewrit|rephras|paraphras|proofread|polish|correct the (grammar|spelling)|tone of)",
    "code": r"\b(code|sql|python|regex|function that|script that)\b",
    "question_answering": r"\b(answer (the |customer |user )?questions?|question.answering|faq|q&a)",
    "chat": r"\b(chat ?bot|assistant|converse|dialog)",
    "generation": r"\b(generat|write|draft|compose|turn .* into)",
}
_ACTS = {
    "sample": r"\b(sample|example project|demo)\b",
    "cancel": r"^\W*(cancel|stop|abort)\b",
    "confirm": r"^\W*yes\W+start",
    "train": (
        r"^\W*(please )?(start|begin|run|go)\b.*\btrain|^\W*(train|start|go)\b\W*(it|now|the training)?\W*$"
        r"|^\W*train (it|now|the)"
    ),
    "few_shot": r"\b(few.?shot|add (some |four |4 )?examples)\b",
    "measure": r"\b(measure|score|test|try) (it|the prompt|my prompt|this prompt)\b|^\W*measure\W*$",
    "recommend": r"\b(recommend|advi[sc]e|what should i do|suggest)",
    "compare": r"\b(compare|side by side|try (it|both)|talk to)\b",
    "report": r"\b(report|results?|did it (work|get better)|how good)\b",
    "status": r"\b(status|how far|progress|how long)\b",
    "help": r"^\W*(help|what can you do|hi|hello|hey)\b\W*$",
}
_PROMPT = re.compile(r"^\W*(?:use (?:this|the) prompt|(?:new |system )?prompt)\s*[:=]\s*(.+)$", re.I | re.S)
_LABELS = re.compile(
    r"\b(?:labels?|categories|classes|teams|intents|one of|into|as)\s*(?:are|is)?\s*[:=(]?\s*"
    r"((?:[\w&/-]+(?: (?!or\b|and\b)[\w&/-]+)?\s*,\s*)+(?:and |or )?[\w&/-]+(?: (?!or\b|and\b)[\w&/-]+)?(?:\s+(?:or|and)\s+[\w&/-]+)?)",
    re.I,
)
_FIELDS = re.compile(r"\b(?:fields?|keys?|json with)\s*[:=]?\s*((?:[\w-]+\s*,\s*)+(?:and )?[\w-]+)", re.I)
_COUNT = re.compile(
    r"(?<![\d.])(\d[\d,.]*)\s*(k)?\s+(?:\w+ ){0,2}?"
    r"(?:examples?|rows?|tickets?|messages?|samples?|records?|emails?|reviews?)\b",
    re.I,
)
_MINUTES = re.compile(r"(\d+(?:\.\d+)?)\s*(min|minutes?|hours?|h)\b", re.I)
_GPU = re.compile(r"(\d+)\s*g(?:i)?b\b(?:[^.]{0,20}\b(?:gpu|card|rtx|vram))?", re.I)
_LOCAL = re.compile(
    r"\b(on.?prem|own (server|machine|laptop)|locally|offline|may(?: not)? leave|no cloud|private)\b", re.I
)
_INPUT = re.compile(
    r"\b((?:support|customer|bank|incoming)[\w -]{0,20}?(?:tickets?|messages?|emails?|requests?))\b", re.I
)


def read(text: str, spec: TaskSpec) -> Reading:
    """Read one message in the light of what is known already."""
    prompt = _PROMPT.match(text.strip())
    if prompt:
        return Reading(prompt=prompt.group(1).strip())
    act = _first(_ACTS, text)
    task = _first(_TASKS, text)
    said = {**_simple_facts(text), **_lists(text)}
    if act and len(text.split()) <= 6:  # a command, not a description
        return Reading(said=said, act=act)
    inferred: dict[str, Any] = {}
    if task:
        said["task"] = task
        inferred["output_format"] = infer_format(task)
    elif "labels" in said and spec.task is None:
        inferred = {"task": "classification", "output_format": "label"}
    if len(text.split()) > (3 if task else 6) and not spec.description:
        said["description"] = text.strip()
    goes_in = _INPUT.search(text)
    if goes_in:
        inferred["input"] = re.sub(r"s$", "", goes_in.group(1).lower())
    # A description may mention training or a report without asking for it now.
    return Reading(said=said, inferred=inferred, act=act if not (task or said) else None)


def _first(patterns: dict[Any, str], text: str) -> str | None:
    return next((name for name, pattern in patterns.items() if re.search(pattern, text, re.I | re.S)), None)


def _simple_facts(text: str) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if count := _COUNT.search(text):
        number = float(count.group(1).replace(",", "").rstrip("."))
        facts["examples"] = int(number * 1000) if count.group(2) else int(number)
    if minutes := _MINUTES.search(text):
        facts["time_budget_minutes"] = float(minutes.group(1)) * (60 if minutes.group(2)[0].lower() == "h" else 1)
    if gpu := _GPU.search(text):
        facts["gpu_memory_gb"] = float(gpu.group(1))
    if _LOCAL.search(text):
        facts["local_only"] = True
    return facts


def _lists(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if fields := _FIELDS.search(text):
        found["fields"] = _items(fields.group(1))
    elif labels := _LABELS.search(text):
        found["labels"] = _items(labels.group(1))
    return found


def _items(listed: str) -> tuple[str, ...]:
    parts = re.split(r"\s*,\s*(?:and |or )?|\s+(?:and|or)\s+", listed.strip())
    return tuple(part.strip(" .\"'") for part in parts if part.strip(" .\"'"))
