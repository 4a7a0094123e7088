"""Proposing answers for rows that have none, and doubting answers that are there: which row a person should see first.

Owns the proposals and their order. Refuses to answer in the person's place and to know who looks at them.

A linear classifier over words learns from the rows that are answered. The row of which it is least sure comes first
(uncertainty sampling by margin; Scheffer, Decomain, Wrobel 2001; Settles 2009, section 3.1): that is where an answer
teaches most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainers.data import Example
from trainers.words import READ, word_vectors

_FEWEST_KINDS = 2


@dataclass(frozen=True)
class Proposal:
    """A row with a likely answer; `sure` is the probability given to it, in [0, 1], and 0 where there is no guess."""

    example: Example
    answer: str
    sure: float


def propose(answered: Sequence[Example], rows: Sequence[Example]) -> list[Proposal]:
    """A proposal for each of `rows`, the least certain first; in their own order, without one, where nothing is known.

    `answered` are rows with the answers to learn from: at least two different ones, each a label rather than a text.
    """
    if not rows:
        return []
    kinds = {row.output for row in answered}
    if len(kinds) < _FEWEST_KINDS:
        return [Proposal(example=row, answer="", sure=0.0) for row in rows]
    from sklearn.linear_model import LogisticRegression

    words = word_vectors()
    known = words.fit_transform([row.input[:READ] for row in answered])
    # Balanced: early on, the labels that a person happened to meet more often would swallow the others.
    model = LogisticRegression(C=10, class_weight="balanced", max_iter=200)
    model.fit(known, [row.output for row in answered])
    believed = model.predict_proba(words.transform([row.input[:READ] for row in rows]))
    ranked = believed.argsort(axis=1)
    index = range(len(rows))
    best, second = believed[index, ranked[:, -1]], believed[index, ranked[:, -2]]
    order = (best - second).argsort(kind="stable")
    return [Proposal(example=rows[i], answer=str(model.classes_[ranked[i, -1]]), sure=float(best[i])) for i in order]
