"""Reads a message: facts for the task spec, and acts that the person asks for.

Owns the rules. Refuses to act, to answer, or to remember: everything it needs is in the text and the current spec.
"""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from prompts.spec import TASK_KINDS, TaskSpec, infer_format

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


# A longer message describes something, whatever words are in it.
_COMMAND_WORDS, _SHORT_WORDS = 15, 6
# The rules look at no more than this; a person may paste a whole file.
_READ = 4_000

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
    "question_answering": r"\b(answer(s|ing)? (\w+ ){0,2}questions?|question.answering|faq|q&a)",
    "chat": r"\b(chat ?bot|assistant|converse|dialog)",
    "generation": r"\b(generat|write|draft|compose|turn .* into)",
}
# Once a person has said the kind, only these change it: "write" or "code" may stand in any later message.
_NAMES = "|".join(kind.replace("_", "[ _-]") for kind in TASK_KINDS if kind not in ("chat", "code"))
_KIND = re.compile(rf"\b({_NAMES}|actually|instead|rather)\b", re.I)

_ASKED = r"^\W*(?:(?:please|ok|okay|now|then|just|let'?s|can you|could you|i want to|i(?:'d| would) like to)\W+)*"
_ACTS = {
    "sample": (
        rf"\b(sample|example|demo) project\b|^\W*(the )?(sample|demo)( data)?\W*$"
        rf"|{_ASKED}(start|open|load|use|try|show)\W(.{{0,20}}\W)?(sample|demo)\b"
    ),
    "cancel": rf"{_ASKED}(cancel|stop|abort)\b(\W+(it|this|that|the|my|training|run|measur\w+|now|please))*\W*$",
    "confirm": r"^\W*yes\W+(please\W+)?start",
    "train": (
        rf"{_ASKED}(start|begin|run|go)\b(\W+\w+){{0,3}}?\W+train\w*(\W+\w+){{0,4}}\W*$"
        rf"|{_ASKED}(train|start|go)\b\W*(it|now|the training)?\W*$"
        rf"|{_ASKED}train (it|now|the)\b(\W+\w+){{0,6}}\W*$"
    ),
    "few_shot": r"\b(few.?shot|add (some |four |4 )?examples)\b",
    "measure": r"\b(measure|score|test|try) (it|the prompt|my prompt|this prompt)\b|^\W*measure\W*$",
    "recommend": r"\b(recommend|advi[sc]e|what should i do|suggest)",
    "compare": r"\b(compare|side by side|try (it|both)|talk to)\b",
    "report": r"\b(report|results?|did it (work|get better)|how good)\b",
    "status": r"\b(status|how far|progress|how long|is it (done|ready|finished))\b",
    "help": r"^\W*(help|what can (you|i) do|how does (it|this) work|hi|hello|hey)\b( there)?\W*$",
}
_PROMPT = re.compile(
    r"^\W*(?:(?:use (?:this|the)|set the|my|new|system) )*prompt\s*(?:to\s*)?[:=]\s*(.+)$", re.I | re.S
)
_SMALL_TALK = re.compile(
    r"^\W*(hi|hello|hey|thanks?|thank you|ok(ay)?|yes|no|great|nice|cool|sorry|good (morning|day|evening)|how|why|who"
    r"|what|when|where|is|are|does|do)\b",
    re.I,
)

# A list ends where a sentence goes on: an item does not begin with a word of the first kind or with "3,000 rows", and
# does not go on after one of either kind.
_BEGINS = r"or|and|i|we|you|my|our|please|there|so|that|which|who|because|then|is|are|has|have"
_GOES_ON = r"for|by|using|with|based|from|in|on|if|when|where|at|into|as|to|per|each|the"
_FIRST = rf"(?!(?:{_BEGINS})(?![\w-])|\d[\d,.]*\s*k?\s+\w)[\w&/'’.-]*[\w&/]"
_LATER = rf"(?!(?:{_BEGINS}|{_GOES_ON})(?![\w-]))[\w&/'’.-]*[\w&/]"
_ITEM = rf"[\"'“]?(?:(?:an?|the) )?{_FIRST}(?: {_LATER}){{0,3}}[\"'”]?"
_COMMA = r"(?:\s*,\s*|\s*\n\s*[-*•]\s*)"
_ITEMS = rf"({_ITEM}(?:{_COMMA}(?:(?:and|or)\s+)?{_ITEM})*(?:,?\s+(?:or|and)\s+{_ITEM})?)"
_IS = r"\s*(?:\b(?:are|is|be|such as|like|namely)\b)?\s*[:=(]?\s*(?:[-*•]\s*)?"
_SAYS_LABELS = r"\b(?:labels|categories|classes|teams|intents|one of|either)\b"
_LABELS = re.compile(rf"(?:{_SAYS_LABELS}{_IS}|\blabel[:=]\s*){_ITEMS}", re.I)
# What these introduce is a list of labels only where the task is to choose one.
_SENDS = r"(?:rout|assign|send|forward)\w*\b[^.:,]{0,60}?\bto"
_CHOICES = re.compile(rf"(?:\b(?:into|as|{_SENDS})\s+|:\s*){_ITEMS}", re.I)
_FIELDS = re.compile(rf"\b(?:(?:json with (?:the )?)?(?:fields?|keys?)|json with)\b{_IS}{_ITEMS}", re.I)
_EXTRACTED = re.compile(rf"\bextract(?:ing|s)?\s+{_ITEMS}", re.I)

_COUNT = re.compile(
    r"(?<![\d.,])(\d[\d,.]*)\s*(k|thousand|million)?\s+(?:(?!(?:of|for|per|to|from|in)\b)\w+ ){0,2}?"
    r"(?:examples?|rows?|tickets?|messages?|samples?|records?|e?mails?|reviews?|documents?|pairs?|questions?)\b"
    r"(?!\s+(?:an?|per|every|each)\s+(?:day|week|month|hour|minute))",
    re.I,
)
_TIMES = {"k": 1_000, "thousand": 1_000, "million": 1_000_000}
_MINUTES = re.compile(
    r"(?<!last )(?<!past )(?<!every )(\d+(?:\.\d+)?|\b(?:half )?an)\s*(mins?|minutes?|hours?|hrs?|h)\b"
    r"(?! (?:of|ago|old)\b)",
    re.I,
)
_GPU = re.compile(
    r"\b(?:gpu|card|rtx|vram|nvidia)\b[^.;\n]{0,25}?\b(\d+)\s*gi?b\b|"
    r"\b(\d+)\s*gi?b\b(?! (?:of )?ram)[^.,;\n]{0,20}?(?<!no )\b(?:gpu|card|rtx|vram|nvidia)\b",
    re.I,
)
_LOCAL = re.compile(
    r"\b(on.?prem|own (server|machine|laptop|computer)|locally|local.only|(run|work|stay|fully) offline"
    r"|(not|never|n['’]t|cannot) leave|no cloud|private data|(is|are|stays?|kept|keep it) private"
    r"|stays? (here|on (this|my|our)))\b",
    re.I,
)
_INPUT = re.compile(
    r"\b((?:support|customer|bank|incoming)[\w -]{0,20}?(?:tickets?|messages?|emails?|requests?))\b", re.I
)
_LANGUAGE = re.compile(r"\b(?:[Ii]nto|[Tt]o) ([A-Z][a-z]+)\b")


def read(text: str, spec: TaskSpec) -> Reading:
    """Read one message in the light of what is known already."""
    text = text.strip()
    if prompt := _PROMPT.match(text):
        return Reading(prompt=prompt.group(1).strip())
    words, start = len(text.split()), text[:_READ]
    act = _first(_ACTS, start) if words <= _COMMAND_WORDS else None
    task = _kind(start, spec)
    said = {**_simple_facts(start), **_lists(start, task or spec.task)}
    # A description may mention training or a report without asking for it now.
    if act and (task is None or (spec.task is not None and words <= _SHORT_WORDS)):
        return Reading(said=said, act=act)
    inferred: dict[str, Any] = {}
    if task:
        said["task"] = task
        inferred["output_format"] = infer_format(task)
        if task == "translation" and (language := _LANGUAGE.search(start)):
            said["language"] = language.group(1)
    elif spec.task is None and ("labels" in said or "fields" in said):
        task = "classification" if "labels" in said else "extraction"
        inferred = {"task": task, "output_format": infer_format(task)}
    if not spec.description and _describes(text, words, "task" in said, len(said)):
        said["description"] = text
    if goes_in := _INPUT.search(start):
        inferred["input"] = re.sub(r"s$", "", goes_in.group(1).lower())
    return Reading(said=said, inferred=inferred)


def _describes(text: str, words: int, names_task: bool, facts: int) -> bool:
    """Whether a message says more than the facts that were found in it, and is no small talk."""
    return words > 3 if names_task else words > _SHORT_WORDS * (1 + facts) and not _SMALL_TALK.match(text)


def _kind(text: str, spec: TaskSpec) -> str | None:
    settled = spec.origins.get("task") == "said"
    return None if settled and not _KIND.search(text) else _first(_TASKS, text)


def _first(patterns: dict[Any, str], text: str) -> str | None:
    return next((name for name, pattern in patterns.items() if re.search(pattern, text, re.I | re.S)), None)


def _simple_facts(text: str) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if count := _COUNT.search(text):
        digits = re.sub(r"[.,](?=\d{3}\b)", "", count.group(1)).replace(",", ".").rstrip(".")
        facts["examples"] = int(float(digits) * _TIMES.get((count.group(2) or "").lower(), 1))
    if minutes := _MINUTES.search(text):
        number = {"an": 1.0, "half an": 0.5}.get(minutes.group(1).lower()) or float(minutes.group(1))
        facts["time_budget_minutes"] = number * (60 if minutes.group(2)[0].lower() == "h" else 1)
    if gpu := _GPU.search(text):
        facts["gpu_memory_gb"] = float(gpu.group(1) or gpu.group(2))
    if _LOCAL.search(text):
        facts["local_only"] = True
    return facts


def _lists(text: str, kind: str | None) -> dict[str, Any]:
    """Keys of a JSON answer, or labels where the task may be to choose one."""
    searches = {"fields": [_FIELDS, *([_EXTRACTED] if kind == "extraction" else [])]}
    if kind in (None, "classification"):
        searches["labels"] = [_LABELS, *([_CHOICES] if kind else [])]
    for name, patterns in searches.items():
        found = (_items(match.group(1)) for pattern in patterns for match in pattern.finditer(text))
        if listed := next((items for items in found if len(items) > 1), None):
            return {name: listed}
    return {}


def _items(listed: str) -> tuple[str, ...]:
    parts = re.split(rf"{_COMMA}(?:(?:and|or)\s+)?|,?\s+(?:and|or)\s+", listed.strip(), flags=re.I)
    named = (re.sub(r"^(an?|the) ", "", part.strip(" .\"'“”"), flags=re.I) for part in parts)
    return tuple(name for name in named if name)
