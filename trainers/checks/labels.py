"""Labels that are likely wrong, by confident learning (Northcutt, Jiang, Chuang 2021, arXiv:1911.00068).

A linear classifier over words, fitted on four fifths of the rows, reads the fifth that it has not seen. cleanlab
estimates from that how many labels are wrong; as many of the least believed ones are told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.checks.finding import Finding, Fix, counted
from trainers.checks.subject import Subject
from trainers.data import Example
from trainers.words import READ, word_vectors

_FOLDS = 5
_FEWEST = 50  # rows; a classifier of fewer says nothing about any of them
# Turns margins into probabilities. At 4, of Banking77 with 5 % flipped labels, 85 % of the flips are found and 0.7 %
# of the other rows are told; at 6, 98 % and 2.4 %; at 3, 69 % and 0.3 %.
_SHARPNESS = 4.0
# Where words tell the label less often than this, most hard rows look wrong: of the sample project's 300 tickets, of
# which a classifier gets 52 % right, 91 would be told. Of 1,540 rows of Banking77 with 15 % flipped labels (57 % right)
# 87 % of the flips are found and 6 % of the others told.
_ABLE = 0.55


def label_errors(subject: Subject) -> Iterator[Finding]:
    """Most suspicious rows first."""
    rows = _readable(subject.sample) if subject.labels else []
    names = sorted({row.output for row in rows})
    if len(rows) < _FEWEST or len(names) < 2:
        return
    given = np.array([names.index(row.output) for row in rows])
    believed = _believed([row.input[:READ] for row in rows], given, subject)
    guesses = believed.argmax(axis=1)
    able = float((guesses == given).mean())
    if able < _ABLE:
        yield _unable(able, subject)
        return
    doubted = [i for i in _doubted(given, believed) if guesses[i] != given[i]]
    if not doubted:
        return
    yield Finding(
        check="label_errors",
        severity="warning",
        text=f"{counted(doubted)} may carry the wrong label ({len(doubted) / len(rows):.1%}).",
        rows=tuple(rows[i].row for i in doubted),
        effect="Wrong labels are learned as they stand, and wrong test labels make the report worse than the model.",
        examples=tuple(
            f"row {rows[i].row}: {rows[i].output!r}, reads like {names[guesses[i]]!r}: {rows[i].input[:60]!r}"
            for i in doubted[:10]
        ),
        fix=Fix(action="drop_rows", words="Drop them. Look at a few first: hard rows that are right are among them."),
        sampled=subject.sampled,
    )


def _unable(able: float, subject: Subject) -> Finding:
    return Finding(
        check="label_errors",
        severity="info",
        text=f"Wrong labels could not be looked for: by its words alone, a row's label is told in {able:.0%} of rows.",
        effect="There may be some. Read a few rows of each label yourself.",
        sampled=subject.sampled,
    )


def _readable(examples: Sequence[Example]) -> list[Example]:
    """Rows whose label has one for every fold."""
    counts = Counter(example.output for example in examples)
    return [example for example in examples if counts[example.output] >= _FOLDS]


def _believed(texts: list[str], given: NDArray[Any], subject: Subject) -> NDArray[Any]:
    """The probability of every label for every row, by a classifier that has not seen the row."""
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import LinearSVC

    subject.progress.say(1 / (_FOLDS + 3))
    counts = word_vectors().fit_transform(texts)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=subject.seed).split(texts, given)
    margins = np.zeros(0)
    for number, (seen, unseen) in enumerate(folds, start=2):
        subject.progress.say(number / (_FOLDS + 3))
        # A loose tolerance: 2 s instead of 7 on 10,000 rows of 77 labels, and the same accuracy.
        fitted = LinearSVC(random_state=subject.seed, tol=1e-2).fit(counts[seen], given[seen])
        read = fitted.decision_function(counts[unseen])
        if not len(margins):
            margins = np.zeros((len(texts), *read.shape[1:]))
        margins[unseen] = read
    if margins.ndim == 1:  # of two labels there is one margin
        margins = np.column_stack([-margins, margins]) / 2
    sharp = np.exp(_SHARPNESS * (margins - margins.max(axis=1, keepdims=True)))
    return np.asarray(sharp / sharp.sum(axis=1, keepdims=True))


def _doubted(given: NDArray[Any], believed: NDArray[Any]) -> list[int]:
    from cleanlab.filter import find_label_issues

    # In this process: others would each load all of this again.
    found = find_label_issues(
        given, believed, filter_by="low_self_confidence", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return [int(i) for i in found]
