"""Asking a chat model for new rows like some given ones, and reading what it replies.

Owns the request (`templates/writing.yaml` has its words), the reply's parser, and how many rows of each label are
wanted. Refuses to judge the rows (`trainers.synthetic` does) and to talk to a model. The way of asking, a few real
rows shown and others asked for, drawn anew for each request, is that of Self-Instruct (Wang et al. 2023,
arXiv:2212.10560).

Several rows are asked for in one reply, in a format that is told in words. A model that cannot follow that cannot
write rows either, and nothing else shows it: where each row was one turn of a chat, SmolLM2-135M kept the format in 10
of 12, and as plain text 12 of 12 passed all checks of `trainers.synthetic`; nearly all of it was nonsense.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jinja2.sandbox import SandboxedEnvironment

from prompts.chat_model import Message
from prompts.spec import TaskSpec
from prompts.templates import language_name
from prompts.versions import Demonstration

_SHOWN = 6  # real rows in a request, as many as Self-Instruct shows
_TAKEN = 8  # rows written before, told so that they are not written again
_OTHERS = 20  # labels named to stay apart from; 77 would be most of the request
_CLIPPED = 1500  # characters shown of a long text


@dataclass(frozen=True, slots=True)
class RowRequest:
    """What one call asks for: `count` rows with a label, or with free answers where `label` is "".

    `instructions` are our own words in it, `shown` the inputs in it; `tokens` is a fair limit for the reply.
    """

    label: str
    count: int
    messages: tuple[Message, ...]
    instructions: str
    shown: tuple[str, ...]
    tokens: int


def request_rows(
    spec: TaskSpec,
    rows: Sequence[Demonstration],
    count: int,
    *,
    label: str = "",
    labels: Sequence[str] = (),
    taken: Sequence[str] = (),
    seed: str = "",
) -> RowRequest:
    """Ask for `count` rows with a label, or with free answers where `label` is "".

    `rows` are real ones, of that label alone; `labels` are all that there are; `taken` are inputs written before.
    The same arguments ask the same; another `seed` shows other rows and asks for other manners.
    """
    rng = random.Random(seed)
    few = rng.sample(list(rows), min(_SHOWN, len(rows)))
    others = [other for other in labels if other != label]
    texts = _texts()
    facts = {
        **spec.model_dump(),
        "language_name": language_name(spec.language),
        "input_language_name": language_name(spec.input_language),
        "label": label,
        "others": rng.sample(others, min(_OTHERS, len(others))),
        "count": count,
        "manners": [f"{rng.choice(texts['lengths'])}, {rng.choice(texts['voices'])}" for _ in range(count)],
    }
    environment = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    instructions = environment.from_string(texts["request"]).render(**facts).strip()
    told = [text[:_CLIPPED] for text in taken[-_TAKEN:]]
    before = ["", "Written before, so not again:", *(_line(text) for text in told)] if told else []
    parts = [instructions, *before, "", "Examples:", *(_line(row.input, "" if label else row.output) for row in few)]
    return RowRequest(
        label=label,
        count=count,
        messages=(Message(role="user", content="\n".join(parts)),),
        instructions=instructions,
        shown=(*(row.input for row in few), *told),
        tokens=_tokens(few, count),
    )


def _line(given: str, answer: str = "") -> str:
    """A row as it is to be replied. A label is not in it: it is the same in all of them."""
    pair = {"input": given[:_CLIPPED]} | ({"output": answer[:_CLIPPED]} if answer else {})
    return json.dumps(pair, ensure_ascii=False)


def _tokens(shown: Sequence[Demonstration], count: int) -> int:
    """A token for each character of the longest shown row: in few writing systems does one have fewer."""
    longest = max((len(row.input[:_CLIPPED]) + len(row.output[:_CLIPPED]) for row in shown), default=200)
    return min(4096, count * (longest + 30))


@cache
def _texts() -> dict[str, Any]:
    return dict(yaml.safe_load(files("prompts.templates").joinpath("writing.yaml").read_text("utf-8")))


def shortfall(counts: Mapping[str, int], enough: int) -> dict[str, int]:
    """How many rows each label lacks of `enough`, the rarest first; labels that have enough are left out."""
    rarest = sorted(counts, key=lambda label: (counts[label], label))
    return {label: enough - counts[label] for label in rarest if counts[label] < enough}


def levelled(counts: Mapping[str, int], total: int) -> dict[str, int]:
    """How `total` new rows are given out so that the rarest labels come up first, the rarest first."""
    now = dict(counts)
    for _ in range(total if now else 0):
        now[min(now, key=lambda label: (now[label], label))] += 1
    rarest = sorted(counts, key=lambda label: (counts[label], label))
    return {label: now[label] - counts[label] for label in rarest if now[label] > counts[label]}


_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_ITEM = re.compile(r"^\s*(?:\d{1,3}\s*[.):]|[-*•])\s+(?P<text>\S.*)$")
_NAMED = re.compile(r"^[\s\d.)*•-]*(?P<name>input|output|answer)\W*:\W*(?P<text>\S.*)$", re.IGNORECASE)
_INPUT_KEYS = ("input", "text", "question", "message", "example")
_OUTPUT_KEYS = ("output", "answer", "label", "response")


def read_rows(reply: str, label: str = "", *, cut: bool = False) -> list[Demonstration]:
    """The rows of a reply: JSON lines or an array, in prose or fences; else a list. What cannot be read is left out.

    A row that names no answer gets `label`; without a label it is no row. `cut` says that the reply ended at its token
    limit, so that a list's last line is half a row. Never raises.
    """
    text = _THOUGHTS.sub("", reply)
    rows = [row for value in _json_values(text) for row in _rows_of(value, label)]
    if rows:
        return rows
    if "{" in text:  # broken JSON: a list read from it would have its brackets in it
        return []
    lines = [line for line in text.splitlines() if line.strip()]
    return list(_listed(lines[: len(lines) - cut], label))


def _json_values(text: str) -> Iterator[Any]:
    """Every whole object or array in a text; of a broken array the whole objects within."""
    decoder = json.JSONDecoder(strict=False)  # a line break within a string is a frequent slip
    at = 0
    while found := re.compile(r"[{\[]").search(text, at):
        try:
            value, at = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            at = found.start() + 1
        else:
            yield value


def _rows_of(value: Any, label: str) -> Iterator[Demonstration]:
    if isinstance(value, list):
        for item in value:
            yield from _rows_of(item, label)
    elif isinstance(value, str) and label:
        yield Demonstration(input=value.strip(), output=label)
    elif isinstance(value, dict):
        inner = [item for item in value.values() if isinstance(item, list)]
        if len(value) == 1 and inner:  # {"rows": [...]}
            yield from _rows_of(inner[0], label)
        elif row := _row(value, label):
            yield row


def _row(pair: dict[str, Any], label: str) -> Demonstration | None:
    """An object as a row. Models rename keys: without a known one, the first value is the input."""
    names = {str(key).casefold(): key for key in pair}
    given = next((names[key] for key in _INPUT_KEYS if key in names), next(iter(pair), None))
    answer = next((names[key] for key in _OUTPUT_KEYS if key in names and names[key] != given), None)
    if given is None or (answer is None and not label):
        return None
    return Demonstration(input=_text(pair[given]), output=label if answer is None else _text(pair[answer]))


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _listed(lines: Sequence[str], label: str) -> Iterator[Demonstration]:
    """Rows of a numbered list, or of lines "Input: ..." and "Output: ..."."""
    given = ""
    for line in lines:
        if named := _NAMED.match(line):
            text = _unquoted(named["text"])
            if named["name"].casefold() != "input":
                if given:
                    yield Demonstration(input=given, output=label or text)
                given = ""
                continue
            if given and label:
                yield Demonstration(input=given, output=label)
            given = text
        elif label and (item := _ITEM.match(line)):
            yield Demonstration(input=_unquoted(item["text"]), output=label)
    if given and label:
        yield Demonstration(input=given, output=label)


def _unquoted(text: str) -> str:
    return text.strip().strip("*").strip().strip('"“”„').strip()
