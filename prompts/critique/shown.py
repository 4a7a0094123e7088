"""Checks of the solved examples and of the length: leaks from the test split, wrong answers, too much to read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from prompts.critique.remark import Draft, Remark, Span, Suggestion
from prompts.critique.wordings import plain

_NEARLY_FULL = 0.75


def leaks(draft: Draft) -> Iterator[Remark]:
    leaked = [i for i, shown in enumerate(draft.version.demonstrations) if draft.in_test(shown.input)]
    if leaked:
        many = f"{len(leaked)} examples stand" if len(leaked) > 1 else "An example stands"
        yield Remark(
            check="leaks",
            severity="error",
            text=f"{many} in the test rows too: the final score would be of what the model has seen.",
            about=Span(part="demonstrations", index=leaked[0]),
            suggestion=_without(draft, leaked),
        )


def wrong_examples(draft: Draft) -> Iterator[Remark]:
    shown = draft.version.demonstrations
    if draft.is_label and draft.labels:
        wrong = [i for i, d in enumerate(shown) if d.output.strip() not in draft.labels]
        what = "has an answer that is no label of the data"
    elif draft.is_json:
        wrong = [i for i, d in enumerate(shown) if not _is_json(d.output)]
        what = "has an answer that is no valid JSON"
    else:
        return
    if wrong:
        yield Remark(
            check="wrong_examples",
            severity="error",
            text=f"Example {wrong[0] + 1} {what}: {shown[wrong[0]].output[:60]!r}.",
            about=Span(part="demonstrations", index=wrong[0]),
            suggestion=_without(draft, wrong),
        )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def repeated_examples(draft: Draft) -> Iterator[Remark]:
    seen: set[str] = set()
    again = []
    for index, shown in enumerate(draft.version.demonstrations):
        key = plain(shown.input)
        if key in seen:
            again.append(index)
        seen.add(key)
    if again:
        yield Remark(
            check="repeated_examples",
            severity="warning",
            text="An example is shown twice; it costs its tokens and shows nothing new.",
            about=Span(part="demonstrations", index=again[0]),
            suggestion=_without(draft, again),
        )


def one_sided_examples(draft: Draft) -> Iterator[Remark]:
    shown = draft.version.demonstrations
    if not draft.is_label or len(draft.labels) < 2 or len(shown) < 3:
        return
    label, count = Counter(d.output for d in shown).most_common(1)[0]
    if count == len(shown):
        yield Remark(
            check="one_sided_examples",
            severity="warning",
            text=f"Every example has the answer {label!r}; a small model will repeat it.",
            about=Span(part="demonstrations"),
        )


def too_long(draft: Draft) -> Iterator[Remark]:
    if not draft.tokens or not draft.limit or draft.tokens < _NEARLY_FULL * draft.limit:
        return
    over = draft.tokens > draft.limit
    shown = draft.version.demonstrations
    kept = shown[: len(shown) // 2]
    suggestion = Suggestion(label=f"Keep {len(kept)} examples", changes={"demonstrations": kept}) if shown else None
    yield Remark(
        check="too_long",
        severity="error" if over else "warning",
        text=f"With a typical input the prompt takes {draft.tokens:,} tokens, and the model reads {draft.limit:,}.",
        suggestion=suggestion,
    )


def _without(draft: Draft, indices: list[int]) -> Suggestion:
    kept = tuple(d for i, d in enumerate(draft.version.demonstrations) if i not in indices)
    return Suggestion(label=f"Remove {'them' if len(indices) > 1 else 'it'}", changes={"demonstrations": kept})
