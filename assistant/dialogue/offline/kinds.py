"""Which kind of task a description is of.

Owns the decision: words that speak for a kind, and a small classifier (character and word n-grams, a linear SVM) fitted
at first use on `task_examples.jsonl`. Refuses to know any other fact. Which of the two decides when was
measured: `python -m benchmarks.interviews --kinds`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from assistant.dialogue.offline.text import fold, lexicon, pattern, without_denied

# A pattern of weight 3 settles the kind alone; below SURE the classifier's first choice is no more than a guess.
SETTLES = 3.0
SURE = 0.2
# What a point of the lexicon's weighs against the classifier's probabilities.
WORDS_WEIGH = 0.12
_LEAD = 2.0
# A guess at a short message of no telling words must be better than others.
_SURELY, _SHORT = 0.45, 6
_TELLING = 2.0
_FEWEST_WORDS = 3
_TAG = re.compile(r"</?\w+[^>]{0,40}>")
_SHARPNESS = 3.0


@dataclass(frozen=True)
class Kind:
    """A kind of task; whether the words said it rather than suggested it, and whether it is more than a guess."""

    name: str
    said: bool
    sure: bool = True


def kind_of(text: str, *, but: str = "") -> Kind | None:
    """The kind of task that a text describes, or None where it describes none. `but`: one that only words make it."""
    wanted = _TAG.sub(" ", without_denied(fold(text)))
    scores = by_words(wanted)
    if not scores and len(re.findall(r"[^\W\d]{2,}", wanted)) < _FEWEST_WORDS:
        return None
    if settled := _settled(scores):
        return Kind(settled, said=True)
    guessed = by_classifier(wanted)
    guessed = {name: likely for name, likely in guessed.items() if name != but or name in scores}
    together = {name: likely + WORDS_WEIGH * scores.get(name, 0.0) for name, likely in guessed.items()}
    best = max(together, key=lambda name: together[name])
    if best == "none" or together[best] < SURE:
        return None
    sure = together[best] >= _SURELY or scores.get(best, 0.0) >= _TELLING
    if not sure and not scores and len(wanted.split()) <= _SHORT:
        return None
    others = max((score for name, score in scores.items() if name != best), default=0.0)
    return Kind(best, said=scores.get(best, 0.0) >= SETTLES and scores[best] - others >= 1, sure=sure)


def _settled(scores: dict[str, float]) -> str:
    """The kind that the words alone decide, if one does."""
    best, *others = sorted(scores, key=lambda name: -scores[name]) or [""]
    lead = scores[best] - scores[others[0]] if others else scores.get(best, 0.0)
    return best if scores.get(best, 0.0) >= SETTLES and lead >= _LEAD else ""


def by_words(folded: str) -> dict[str, float]:
    """Kind to the weight of the lexicon's words found in a folded text; each pattern counts once."""
    scores: dict[str, float] = {}
    for name, weighed in lexicon()["kinds"].items():
        score = sum(weight for weight, expression in weighed.items() if re.search(expression, folded))
        if score:
            scores[name] = float(score)
    return scores


def by_classifier(folded: str) -> dict[str, float]:
    """Kind to how likely it is, "none" among them: the margins of a linear classifier, made to sum to 1."""
    model = _fitted()
    powers = [math.exp(_SHARPNESS * float(margin)) for margin in model.decision_function([folded])[0]]
    return {str(name): power / sum(powers) for name, power in zip(model.classes_, powers, strict=True)}


@cache
def _fitted() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    texts, kinds = training_rows()
    features = make_union(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2),
        TfidfVectorizer(analyzer="word", ngram_range=(1, 2), sublinear_tf=True),
    )
    return make_pipeline(features, LinearSVC(C=0.3, tol=0.01, random_state=0)).fit(texts, kinds)


def training_rows() -> tuple[list[str], list[str]]:
    """The descriptions that the classifier learns from, folded, with their kinds."""
    lines = files("assistant.dialogue").joinpath("task_examples.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    return [fold(row["text"]) for row in rows], [row["task"] for row in rows]


def changes_kind(text: str) -> bool:
    """Whether a message speaks of the task itself, so that a settled kind may change."""
    return bool(pattern("changes_kind").search(fold(text)))


def denies(folded: str, word: str) -> bool:
    """Whether a word is only named to say that it is not wanted."""
    return word not in without_denied(folded)
