"""Rows that a chat model wrote, judged against the real ones.

Owns what makes a written row usable and what a trial of some rows says about the model. Refuses to ask for rows
(`prompts.writing`), to keep them, and to vouch for them: a check of words does not tell sense from nonsense, so that a
person has to read what is kept.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prompts.versions import Demonstration
from prompts.writing import RowRequest
from trainers.checks.spoken import UNDETERMINED, language_of
from trainers.data import Example
from trainers.near import near_across

Near = Callable[[Sequence[str], Sequence[str]], list[tuple[int, int]]]
Reason = Literal[
    "",
    "unreadable",
    "empty",
    "too long",
    "repeating itself",
    "our own words",
    "copy",
    "in another language",
    "with an unknown label",
    "with an answer of another form",
    "reading like another label",
]

_LONGER = 1.5  # times the longest real row
_SHORT = 200  # characters that are never too long
_SAME = 0.7  # ROUGE-L from which on Self-Instruct takes a row for one that is there
_ECHO = 6  # words in a row from our own instructions
# Share of a text's runs of three words that are different ones: 0.95 at least in the sample's tickets, 0.2 to 0.6
# where a small model goes round in circles.
_VARIED, _FEWEST_WORDS = 0.7, 12
_ENOUGH = 0.5  # share of usable trial rows


@dataclass(frozen=True, slots=True)
class Written:
    """A row that a model wrote. `agrees` says whether it reads like its label; None where that is not known.

    What could not be read has the reply's start, or nothing, as its input.
    """

    input: str
    output: str
    verdict: Literal["kept", "refused"]
    reason: Reason = ""
    agrees: bool | None = None

    @property
    def kept(self) -> bool:
        return self.verdict == "kept"


@dataclass(frozen=True, slots=True)
class Trial:
    """What some rows say about the model that wrote them: how many were asked for, and how many are usable."""

    rows: int
    usable: int
    good: bool
    text: str


@dataclass(frozen=True)
class LabelReader:
    """Whether a text reads like a label: its margin before the best other label is not below `lowest`.

    `lowest` is what nine of ten real rows reach when the classifier has not seen them (split conformal prediction,
    Vovk et al. 2005). So about one right row of ten is refused, however weak the classifier is.
    """

    labels: tuple[str, ...]
    lowest: float
    margins: Callable[[Sequence[str]], NDArray[Any]]

    def agrees(self, texts: Sequence[str], labels: Sequence[str]) -> list[bool | None]:
        """For each text with its label; None for a label that had too few rows to be learned."""
        if not texts:
            return []
        margins = self.margins(texts)
        return [
            bool(margins[n, self.labels.index(label)] >= self.lowest) if label in self.labels else None
            for n, label in enumerate(labels)
        ]


_FOLDS = 5
_FEWEST_ROWS = 50  # as for the check of wrong labels: a classifier of fewer says nothing
_MOST_ROWS, _READ = 2000, 500  # rows and characters; 5,000 rows of 77 labels take 60 s on a busy machine
_RIGHT = 0.9  # share of real rows that are to pass
# Share of real rows with a wrong label that must fail, or the reader is of no use. Runs of letters, not words: of the
# sample's 180 training tickets 64 % of the wrong labels fail with them, 42 % with words.
_ABLE = 0.5


def label_reader(train: Sequence[Example], seed: int = 0) -> LabelReader | None:
    """A reader fitted on real rows; None where cross-validation shows that it would not notice wrong labels."""
    counts = Counter(row.output for row in train[:_MOST_ROWS])
    rows = [row for row in train[:_MOST_ROWS] if counts[row.output] >= _FOLDS]
    labels = tuple(sorted({row.output for row in rows}))
    if len(rows) < _FEWEST_ROWS or len(labels) < 2:
        return None
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    texts, given = [row.input[:_READ] for row in rows], np.array([labels.index(row.output) for row in rows])
    runs = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, max_features=50_000)
    model = make_pipeline(runs, LinearSVC(random_state=seed, tol=1e-2, class_weight="balanced"))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    unseen = _margins(cross_val_predict(model, texts, given, cv=folds, method="decision_function"))
    right = np.zeros(unseen.shape, dtype=bool)
    right[np.arange(len(given)), given] = True
    lowest = float(np.quantile(unseen[right], 1 - _RIGHT))
    if float((unseen[~right] < lowest).mean()) < _ABLE:
        return None
    model.fit(texts, given)
    return LabelReader(
        labels, lowest, lambda texts: _margins(model.decision_function([text[:_READ] for text in texts]))
    )


def _margins(scores: NDArray[Any]) -> NDArray[Any]:
    """(rows, labels): each label's score less the best of the others'."""
    if scores.ndim == 1:  # of two labels there is one score
        scores = np.column_stack([-scores, scores])
    best = np.sort(scores, axis=1)
    rivals = np.where(scores == best[:, -1:], best[:, -2:-1], best[:, -1:])
    return np.asarray(scores - rivals)


@dataclass(frozen=True)
class Judge:
    """What a written row is held against. `judge_by` makes one from real rows."""

    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    longest: int
    least_varied: float
    language: str
    keys: frozenset[str] | None
    reader: LabelReader | None
    near: Near

    def judge(self, request: RowRequest, rows: Sequence[Demonstration], earlier: Sequence[str] = ()) -> list[Written]:
        """The verdict on each row of a reply, in order. `earlier` are the inputs that were kept before."""
        rows = [Demonstration(input=row.input, output=self._label(row.output)) for row in rows]
        copies = self._copies([row.input for row in rows], request, earlier)
        agree = self.reader.agrees([row.input for row in rows], [row.output for row in rows]) if self.reader else []
        judged = []
        for n, row in enumerate(rows):
            agrees = agree[n] if self.reader else None
            reason = self._reason(row, request, n in copies, agrees)
            judged.append(Written(row.input, row.output, "refused" if reason else "kept", reason, agrees))
        return judged

    def _reason(self, row: Demonstration, request: RowRequest, copy: bool, agrees: bool | None) -> Reason:
        faults: list[tuple[Reason, bool]] = [
            ("empty", not re.search(r"\w", row.input) or not row.output.strip()),
            ("our own words", _echoes(row.input, request.instructions)),
            ("repeating itself", _varied(row.input) < self.least_varied),
            ("too long", len(row.input) + len(row.output) > self.longest),
            ("with an unknown label", bool(self.labels) and row.output not in self.labels),
            ("with an answer of another form", self.keys is not None and _keys(row.output) != self.keys),
            ("copy", copy),
            ("in another language", self._foreign(row.input)),
            ("reading like another label", agrees is False or request.label not in ("", row.output)),
        ]
        return next((reason for reason, found in faults if found), "")

    def _label(self, output: str) -> str:
        """A label in the data's own spelling."""
        return next((label for label in self.labels if label.casefold() == output.casefold()), output)

    def _foreign(self, text: str) -> bool:
        return bool(self.language) and language_of(text) not in (UNDETERMINED, self.language)

    def _copies(self, texts: Sequence[str], request: RowRequest, earlier: Sequence[str]) -> set[int]:
        """Those near a row of any split, or one written before; and those that reword what the model was shown."""
        known = {later for _, later in self.near([*self.inputs, *earlier], texts)}
        known |= {later for first, later in self.near(texts, texts) if first < later}
        words = [_words(text) for text in texts]
        seen = [_words(text) for text in (*request.shown, *earlier)]
        return known | {n for n, one in enumerate(words) if any(_rouge_l(one, it) >= _SAME for it in seen + words[:n])}


def judge_by(
    train: Sequence[Example],
    inputs: Sequence[str],
    labels: Sequence[str] = (),
    *,
    language: str = "",
    seed: int = 0,
    near: Near = near_across,
) -> Judge:
    """What new rows are held against: `train` rows for what is usual, the `inputs` of every split for copies.

    `labels` is empty for free answers. `language` is an ISO code; without one it is that of the training rows, where
    nearly all are in the same.
    """
    return Judge(
        inputs=tuple(inputs),
        labels=tuple(labels),
        longest=int(max([_SHORT, *(_LONGER * (len(row.input) + len(row.output)) for row in train)])),
        least_varied=min([_VARIED, *(_varied(row.input) for row in train)]),
        language=language or _usual_language(train),
        keys=None if labels else _usual_keys(train),
        reader=label_reader(train, seed) if labels else None,
        near=near,
    )


def unreadable(request: RowRequest, rows: Sequence[Demonstration], reply: str) -> list[Written]:
    """One refused row for each that was asked for and did not come. Where none did, the first has the reply's start."""
    missing = request.count - len(rows)
    starts = ["" if rows else reply.strip()[:_SHORT], *[""] * (missing - 1)][: max(0, missing)]
    return [Written(start, request.label, "refused", "unreadable") for start in starts]


def good_enough(judged: Sequence[Written]) -> Trial:
    """What a trial of some rows says about the model: below half usable, it is not good enough."""
    usable = sum(row.kept for row in judged)
    good = bool(judged) and usable >= _ENOUGH * len(judged)
    parts = [f"Of {len(judged)} trial rows {usable} {'was' if usable == 1 else 'were'} usable"]
    parts.append("" if good else ": this model is not good enough at writing rows")
    if usable < len(judged):
        parts.append(f"; refused were {told_reasons(judged)}")
    parts.append(".")
    if good:
        unknown = any(row.kept and row.agrees is None for row in judged)
        right = "whether an answer is right, nor " if unknown else ""
        parts.append(f" No check tells {right}sense from nonsense: read them.")
    return Trial(rows=len(judged), usable=usable, good=good, text="".join(parts))


def told_reasons(judged: Sequence[Written]) -> str:
    """Why rows were refused, the most frequent reason first: "6 copies, 5 unreadable". Empty where none was."""
    counts = Counter(row.reason for row in judged if row.reason)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n} {'copies' if reason == 'copy' and n > 1 else reason}" for reason, n in ordered)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _echoes(text: str, instructions: str) -> bool:
    """Whether a text has a run of our own words in it, or is no more than some of them."""
    words = _words(text)
    run = min(_ECHO, max(2, len(words)))
    ours = f" {' '.join(_words(instructions))} "
    return any(f" {' '.join(words[n : n + run])} " in ours for n in range(len(words) - run + 1))


def _varied(text: str) -> float:
    """The share of a text's runs of three words that are different ones; 1 for a short text."""
    words = _words(text)
    runs = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(runs)) / len(runs) if len(words) >= _FEWEST_WORDS else 1.0


def _rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """ROUGE-L (Lin 2004): twice the longest common subsequence over both lengths; 0 where it cannot reach `_SAME`."""
    both = sum((Counter(one) & Counter(other)).values())  # no subsequence is longer
    if not both or 2 * both < _SAME * (len(one) + len(other)):
        return 0.0
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for n, rival in enumerate(other, 1):
            before, row[n] = row[n], before + 1 if word == rival else max(row[n], row[n - 1])
    return 2 * row[-1] / (len(one) + len(other))


def _keys(answer: str) -> frozenset[str] | None:
    """The keys of an answer that is a JSON object; None for another."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return frozenset(value) if isinstance(value, dict) else None


def _usual_keys(train: Sequence[Example]) -> frozenset[str] | None:
    """The keys of the answers, where all are JSON objects with the same ones."""
    kinds = {_keys(row.output) for row in train}
    return kinds.pop() if len(kinds) == 1 else None


def _usual_language(train: Sequence[Example]) -> str:
    codes = Counter(language_of(row.input) for row in train[:200])
    del codes[UNDETERMINED]
    code, most = codes.most_common(1)[0] if codes else ("", 0)
    return code if most >= 0.9 * codes.total() else ""
