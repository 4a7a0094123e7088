"""What is proposed for rows, and the labels to choose from. Owns how much is learned from, so that nobody waits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

from assistant.reviewing.cards import KEYS
from prompts.spec import TaskSpec
from trainers.data import Example, labels_of
from trainers.labelling import Proposal, propose

LONGEST_LABEL = 60
_LESSON = 2_000  # answers to learn from; of 77 labels, 2.5 s, and 5,000 would take 13
_POOL = 1_000  # rows that get a proposal at a time; there are new ones long before they are through
_VARIED = 0.9  # 40 rows drawn from 77 labels have 31 different ones; texts hardly repeat


def lesson_of(own: Iterable[Example], others: Sequence[Example]) -> list[Example]:
    """What to learn from: a person's own answers before all others, the latest last."""
    mine = list(own)[-_LESSON:]
    return random.Random(0).sample(others, min(len(others), _LESSON - len(mine))) + mine


def some_of(rows: Sequence[Example]) -> list[Example]:
    """Rows to propose answers for."""
    return random.Random(0).sample(rows, min(len(rows), _POOL))


def labels_to_choose(spec: TaskSpec, examples: Sequence[Example]) -> tuple[str, ...]:
    """The labels to choose from, in an order that stays: what the person said, then by name, or many by frequency."""
    said = spec.labels if spec.origins.get("labels") == "said" else ()
    counts = Counter(example.output for example in examples)
    if not (said or labels_of(examples) or _like_labels(counts)):
        return ()
    known = sorted(counts) if len(counts) <= KEYS else [label for label, _ in counts.most_common()]
    return tuple(dict.fromkeys((*said, *known)))


def _like_labels(counts: Counter[str]) -> bool:
    """Whether answers look like labels where there are too few yet to be sure: short ones, a handful or repeated."""
    short = all(len(text) <= LONGEST_LABEL and "\n" not in text for text in counts)
    return short and (len(counts) <= KEYS or len(counts) <= _VARIED * counts.total())


def wants_texts(spec: TaskSpec) -> bool:
    """Whether the person said that answers are something else than labels."""
    return spec.task != "classification" and spec.origins.get("task") == "said"


def guesses(lesson: Sequence[Example], rows: Sequence[Example]) -> dict[int, Proposal]:
    """Proposals by row, the least certain first; none where there is nothing to learn from."""
    kinds = len({row.output for row in lesson})
    # Where most labels have one row, sklearn warns that they may be numbers; each row twice teaches the same.
    learned = [*lesson, *lesson] if 2 * kinds > len(lesson) else lesson
    try:
        found = propose(learned, rows)
    except ValueError:  # no row has a word
        return {}
    return {proposal.example.row: proposal for proposal in found if proposal.answer}
