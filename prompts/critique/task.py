"""Checks of what is asked: the task, the form of the answer, the labels and the keys."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator

from prompts.critique.remark import Draft, Remark, Span, Suggestion
from prompts.critique.wordings import bounded, entries, find, is_negated, names, pattern, with_sentence
from prompts.templates import starting_prompt

_FEW_WORDS = 3
_AND = r"(?:and|or|und|oder|et|ou|y|o)\s+"
_ITEM = r"[\w' /-]{1,40}"
_LISTED = re.compile(rf"(?:[:：]\s*|labels?\s+(?:are\s+)?|one of\s+)((?:{_ITEM},\s*)+(?:{_AND})?{_ITEM})", re.I)


def task_unstated(draft: Draft) -> Iterator[Remark]:
    said = re.sub(r"\{\{.*?\}\}", "", draft.said)
    if len(said.split()) >= _FEW_WORDS:
        return
    start = starting_prompt(draft.spec.model_copy(update={"labels": tuple(draft.labels) or draft.spec.labels}))
    suggestion = Suggestion(label="Begin with the task", changes={"system": start.system}) if draft.spec.task else None
    yield Remark(
        check="task_unstated",
        severity="error",
        text="The prompt never says what to do: state the task in one sentence.",
        suggestion=suggestion,
    )


def labels_missing(draft: Draft) -> Iterator[Remark]:
    if not draft.is_label or draft.version.allowed:
        missing_from_choices = [
            label for label in draft.labels if draft.version.allowed and label not in draft.version.allowed.choices
        ]
        if missing_from_choices and draft.version.allowed and draft.version.allowed.choices:
            yield _other_choices(draft, missing_from_choices)
        if not draft.is_label:
            return
    missing = [label for label in draft.labels if not names(draft.said, label)]
    if not missing:
        return
    none = len(missing) == len(draft.labels)
    listed = ", ".join(draft.labels if none else missing)
    sentence = f"Answer with exactly one label: {listed}." if none else f"Further labels: {listed}."
    shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    yield Remark(
        check="labels_missing",
        severity="info" if draft.version.allowed else "warning",
        text=f"The data has labels that the prompt never names: {shown}.",
        suggestion=Suggestion(
            label="Name the labels", changes={"system": with_sentence(draft.version.system, sentence)}
        ),
    )


def _other_choices(draft: Draft, missing: list[str]) -> Remark:
    allowed = draft.version.allowed
    assert allowed is not None
    choices = allowed.model_copy(update={"choices": tuple(draft.labels)})
    return Remark(
        check="labels_not_allowed",
        severity="error",
        text=f"Answers are held to choices without {', '.join(missing[:5])}, so rows with these can never be right.",
        suggestion=Suggestion(label="Allow the labels of the data", changes={"allowed": choices}),
    )


def labels_unknown(draft: Draft) -> Iterator[Remark]:
    """Labels that are almost the data's, in a list of which most are."""
    if not draft.is_label or not draft.labels:
        return
    known = {label.casefold() for label in draft.labels}
    for part in ("system", "template"):
        text = str(getattr(draft.version, part))
        for listed in _LISTED.finditer(text):
            items = [
                (m.group().strip(), listed.start(1) + m.start() + len(m.group()) - len(m.group().lstrip()))
                for m in re.finditer(r"[^,]+", listed.group(1))
            ]
            items = [one for item, at in items for one in _parted(item, at)]
            words = [(re.sub(f"^{_AND}", "", item), at) for item, at in items]
            strangers = [(item, at) for item, at in words if item.casefold() not in known and not _is_vague(item)]
            if not strangers or len(strangers) * 2 > len(words):
                continue
            item, at = strangers[0]
            at = text.find(item, at)
            near = difflib.get_close_matches(item, draft.labels, 1, 0.75)
            fix = (
                text[:at] + near[0] + text[at + len(item) :] if near and near[0] not in [w for w, _ in words] else None
            )
            yield Remark(
                check="labels_unknown",
                severity="warning",
                text=f"No row of the data has the label {item!r}" + (f"; it has {near[0]!r}." if near else "."),
                about=Span(part=part, start=at, end=at + len(item)),
                suggestion=Suggestion(label=f"Write {near[0]}", changes={part: fix}) if fix else None,
            )
            return


def _parted(item: str, at: int) -> list[tuple[str, int]]:
    """The last two of a list that has no comma before its "or"."""
    match = re.fullmatch(rf"(.+?)\s+{_AND}(.+)", item)
    return [(match.group(1), at), (match.group(2), at + match.start(2))] if match else [(item, at)]


def _is_vague(item: str) -> bool:
    return any(bounded(words).search(f"{item}.") for words in entries("vague"))


def no_rule_for_none(draft: Draft) -> Iterator[Remark]:
    """Only worth saying where nothing among the labels takes what fits none."""
    if not draft.is_label or not draft.labels or not names_task(draft):
        return
    catch_all = pattern("catch_all")
    if any(catch_all.search(label.replace("_", " ")) for label in draft.labels):
        return
    if find(draft, pattern("none_of_these")):
        return
    yield Remark(
        check="no_rule_for_none",
        severity="info",
        text="Nothing says what to answer where no label fits; the data has no label for that either.",
    )


def names_task(draft: Draft) -> bool:
    return not list(task_unstated(draft))


def format_unstated(draft: Draft) -> Iterator[Remark]:
    if draft.is_json and not find(draft, pattern("json")):
        keys = draft.spec.fields or _keys(draft)
        named = f" with the keys {', '.join(keys)}" if keys else ""
        sentence = f"Answer with one JSON object{named}, nothing else."
        yield Remark(
            check="format_unstated",
            severity="info" if draft.version.allowed else "warning",
            text="The answers are JSON, but the prompt never says so.",
            suggestion=Suggestion(
                label="Ask for JSON", changes={"system": with_sentence(draft.version.system, sentence)}
            ),
        )


def keys_missing(draft: Draft) -> Iterator[Remark]:
    keys = draft.spec.fields or _keys(draft)
    if not draft.is_json or not keys or not find(draft, pattern("json")):
        return
    missing = [key for key in keys if not names(draft.said, key)]
    if not missing:
        return
    sentence = f"{'Further keys' if len(missing) < len(keys) else 'Keys'}: {', '.join(missing)}."
    yield Remark(
        check="keys_missing",
        severity="info" if draft.version.allowed else "warning",
        text=f"The prompt never names the keys {', '.join(missing[:6])}.",
        suggestion=Suggestion(label="Name the keys", changes={"system": with_sentence(draft.version.system, sentence)}),
    )


def _keys(draft: Draft) -> tuple[str, ...]:
    """The keys that most rows have, where rows are JSON objects."""
    counts: dict[str, int] = {}
    for row in draft.rows:
        try:
            value = json.loads(row.output)
        except ValueError:
            return ()
        for key in value if isinstance(value, dict) else ():
            counts[key] = counts.get(key, 0) + 1
    return tuple(key for key, count in counts.items() if count * 2 > len(draft.rows))


def format_contradicted(draft: Draft) -> Iterator[Remark]:
    """What is asked of the answer's form, against what the data's answers look like."""
    if draft.is_label and (span := find(draft, pattern("json"))):
        yield _contradicted(span, "asks for JSON, but the data's answers are bare labels")
    elif (
        (draft.is_label or draft.is_json) and (span := find(draft, pattern("explain"))) and not is_negated(draft, span)
    ):
        yield _contradicted(
            span, f"asks for reasons, but the data's answers are {'labels' if draft.is_label else 'JSON'} alone"
        )
    many = [row for row in draft.rows if len(row.output.split()) > 1]
    if len(many) * 2 > len(draft.rows) > 0 and (span := find(draft, pattern("one_word"))):
        yield _contradicted(span, "asks for one word, but most of the data's answers have several")


def _contradicted(span: Span, what: str) -> Remark:
    return Remark(check="format_contradicted", severity="warning", text=f"The prompt {what}.", about=span)


def demands_unstated(draft: Draft) -> Iterator[Remark]:
    """What the person asked of every answer, and the prompt does not say in nearly these words."""
    for demand in (*draft.spec.must_never, *draft.spec.rules):
        if _says(draft.said, demand):
            continue
        asked = starting_prompt(
            type(draft.spec)(must_never=(demand,))
            if demand in draft.spec.must_never
            else type(draft.spec)(rules=(demand,))
        )
        sentence = asked.system[asked.system.rfind(". ", 0, -1) + 1 :].strip()
        yield Remark(
            check="demands_unstated",
            severity="warning",
            text=f"You asked that every answer keep to this, and the prompt does not say it: {demand.rstrip('.')}.",
            suggestion=Suggestion(label="Say it", changes={"system": with_sentence(draft.version.system, sentence)}),
        )


def _says(text: str, demand: str) -> bool:
    """Whether most of the demand's longer words stand in the text."""
    words = [word for word in re.findall(r"\w+", demand.casefold()) if len(word) > 3]
    said = text.casefold()
    return not words or sum(word[:6] in said for word in words) * 3 >= len(words) * 2
