"""A critical reading of a prompt against its task and its data.

Owns the checks and their order; the words they look for are data, in `words/`. Labels, rows and the test split come as
arguments, so that nothing here reaches up to the data. Refuses to score. To add a check, write a function from `Draft`
to remarks in the file of its theme and name it here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prompts.critique.remark import Draft, Remark, Span, Suggestion, applied, words_of
from prompts.critique.shown import leaks, one_sided_examples, repeated_examples, too_long, wrong_examples
from prompts.critique.task import (
    demands_unstated,
    format_contradicted,
    format_unstated,
    keys_missing,
    labels_missing,
    labels_unknown,
    no_rule_for_none,
    task_unstated,
)
from prompts.critique.wording import (
    contradictions,
    impossible,
    language_unstated,
    placeholders,
    role_markers,
    special_tokens,
    unrendered,
    vague_words,
)
from prompts.critique.wordings import plain

__all__ = ["CHECKS", "Draft", "Remark", "Span", "Suggestion", "among", "applied", "remarks_on", "words_of"]

CHECKS: tuple[Callable[[Draft], Iterator[Remark]], ...] = (
    task_unstated,
    leaks,
    wrong_examples,
    unrendered,
    special_tokens,
    placeholders,
    role_markers,
    labels_missing,
    labels_unknown,
    format_unstated,
    keys_missing,
    format_contradicted,
    contradictions,
    demands_unstated,
    language_unstated,
    impossible,
    repeated_examples,
    one_sided_examples,
    too_long,
    vague_words,
    no_rule_for_none,
)
_GRAVITY = {"error": 0, "warning": 1, "info": 2}


def remarks_on(draft: Draft) -> list[Remark]:
    """All remarks, the gravest first; an empty list where there is nothing to say."""
    found = [remark for check in CHECKS for remark in check(draft)]
    return sorted(found, key=lambda remark: _GRAVITY[remark.severity])


def among(texts: Iterable[str]) -> Callable[[str], bool]:
    """Whether an input is one of these, whatever its case and spacing; for `Draft.in_test`."""
    known = {plain(text) for text in texts}
    return lambda text: plain(text) in known
