"""Whether inputs that are asked now are like those that were trained on: two tests of two samples, on texts alone.

Owns the tests and what differs in words. Refuses to know when it may be looked (`looks`). Each test gets half of the
level, so that both together raise a false alarm no more often than the level says.

Strangeness: are requests less like the nearest of one half of the training inputs than the other half is? Under no
shift the two are ranked by chance (Mann-Whitney), as in conformal tests of outliers (Bates et al. 2023,
https://arxiv.org/abs/2104.08279). It sees a few new subjects among many known ones.

Mixture: can a classifier tell requests from training inputs (Lopez-Paz & Oquab 2017, https://arxiv.org/abs/1610.06545;
Rabanser et al. 2019, https://arxiv.org/abs/1810.11953)? It sees known subjects that come more often or less. It is
least squares on TF-IDF: its leave-one-out answers under other labels are one matrix product, so that the permutation
test is exact; a logistic regression would have to be fitted anew for each permutation.

Repeats count once on both sides: training rows were cleared of them, and a program that asks the same every minute
would look like a shift.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from prompts.metrics import Score
from trainers.data import normal

FEWEST = 10
_MOST = 1000  # texts of either side; the test takes their square in memory
_RIDGE = 1.0
_LENGTH = 0.3  # the weight of a text's length beside its words, which have norm 1
_ENOUGH = 10  # permutations as extreme as what was seen, after which more tell nothing new
_BATCH = 1000
_MOST_DRAWS = 50_000
_TOLD_WORDS = 6
_SURE = 0.01
_WORD = re.compile(r"[^\W\d_]{2,}")


class Difference(NamedTuple):
    """One thing in which requests and training inputs differ, in words with the counts."""

    what: str
    told: str


class Drift(BaseModel):
    """What the two tests say of so many requests and training inputs. `p_value` is for both together.

    `stranger` is how often a request is further from the training inputs than one of these is from the others, and
    `told_apart` how often the classifier puts a request and a training input in the right order, of which it saw
    neither. Of both 50 % is chance; they are areas under the ROC curve, with the interval of Hanley & McNeil (1982),
    https://doi.org/10.1148/radiology.143.1.7063747.
    """

    model_config = ConfigDict(frozen=True)

    p_value: float
    stranger: Score
    told_apart: Score
    requests: int
    trained: int
    differences: tuple[Difference, ...] = ()


def distinct(texts: Sequence[str]) -> list[str]:
    """The texts in their order, repeats left out whatever their case and spacing."""
    return list({normal(text): text for text in reversed(texts)}.values())[::-1]


def drift(trained: Sequence[str], asked: Sequence[str], level: float, *, seed: int = 0) -> Drift:
    """Test requests against training inputs, both masked in the same way; `level` is the p-value to be reached.

    More than 1,000 of either are sampled. Raises ValueError where either has fewer than 10 distinct ones.
    """
    both = _Both.of(trained, asked, seed)
    stranger, p_value = _tested(both, level, seed)
    return Drift(
        p_value=p_value,
        stranger=stranger,
        told_apart=_told_apart(both),
        requests=len(both.new),
        trained=len(both.old),
        differences=tuple(differences(both.old, both.new)),
    )


def p_value(trained: Sequence[str], asked: Sequence[str], level: float, *, seed: int = 0) -> float:
    """The p-value of `drift` alone, which takes half as long."""
    return _tested(_Both.of(trained, asked, seed), level, seed)[1]


class _Both(NamedTuple):
    """Training inputs and requests, distinct and sampled; the words' features of both, old ones first, the same with
    the length beside them, and 0 or 1 for each."""

    old: list[str]
    new: list[str]
    words: Any
    features: Any
    labels: Any

    @classmethod
    def of(cls, trained: Sequence[str], asked: Sequence[str], seed: int) -> _Both:
        import numpy as np

        rng = np.random.default_rng(seed)
        old, new = (_sampled(distinct(texts), rng) for texts in (trained, asked))
        if min(len(old), len(new)) < FEWEST:
            raise ValueError("too few texts to test")
        words, length = _features([*old, *new])
        labels = np.array([0.0] * len(old) + [1.0] * len(new))
        return cls(old, new, words, _with_length(words, length), labels)


def _tested(both: _Both, level: float, seed: int) -> tuple[Score, float]:
    """How strange the requests are, and the p-value of both tests together (Bonferroni)."""
    import numpy as np

    rng = np.random.default_rng(seed + 1)
    stranger, p_strange = _strangeness(both.words, both.labels, rng)
    return stranger, min(1.0, 2 * min(p_strange, _p_mixture(both.features, both.labels, level / 2, rng)))


def _sampled(texts: list[str], rng: Any) -> list[str]:
    if len(texts) <= _MOST:
        return texts
    return [texts[i] for i in sorted(rng.choice(len(texts), _MOST, replace=False))]


def _features(texts: Sequence[str]) -> tuple[Any, Any]:
    """Words, pairs and pieces of words of shape (texts, features), rows of norm 1, and the standardized logarithm of
    each length. Labels are not looked at."""
    import numpy as np
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]").fit_transform(texts)
    pieces = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 4)).fit_transform(texts)
    lengths = np.log1p([len(text) for text in texts])
    return normalize(hstack([words, pieces])), (lengths - lengths.mean()) / (lengths.std() or 1.0)


def _with_length(features: Any, length: Any) -> Any:
    from scipy.sparse import csr_matrix, hstack

    return hstack([features, csr_matrix(_LENGTH * length[:, None])]).tocsr()


def _strangeness(features: Any, labels: Any, rng: Any) -> tuple[Score, float]:
    """How often a request is stranger than a training input, and the one-sided p-value."""
    import numpy as np
    from scipy.stats import mannwhitneyu

    trained = rng.permutation(np.flatnonzero(labels == 0))
    half = len(trained) // 2
    known, others = features[trained[:half]], features[trained[half:]]
    near = [(side @ known.T).max(axis=1).toarray().ravel() for side in (features[labels == 1], others)]
    test = mannwhitneyu(*near, alternative="less")
    area = 1 - float(test.statistic) / (len(near[0]) * len(near[1]))
    return _area(area, len(near[0]), len(near[1])), float(test.pvalue)


def _p_mixture(features: Any, labels: Any, level: float, rng: Any) -> float:
    """Permutation p-value of the mean leave-one-out score of requests over that of training inputs.

    Drawn until it is clear on which side of `level` it lies (Besag & Clifford 1991): ten as extreme draws end it.
    """
    import numpy as np

    n, ones = len(labels), labels.sum()
    gram = (features @ features.T).toarray()
    gram -= gram.mean(axis=0)
    gram -= gram.mean(axis=1, keepdims=True)
    hat = np.linalg.solve(gram + _RIDGE * np.eye(n), gram).T + 1 / n
    leverage = np.diag(hat).copy()
    held_out = (hat - np.diag(leverage)) / (1 - leverage)[:, None]  # labels to leave-one-out answers

    def statistic(drawn: Any) -> Any:
        """Of labels of shape (texts, draws)."""
        scores = held_out @ drawn
        return (scores * drawn).sum(axis=0) / ones - (scores * (1 - drawn)).sum(axis=0) / (n - ones)

    seen = float(statistic(labels[:, None])[0])
    wanted = min(_MOST_DRAWS, math.ceil(_ENOUGH / level))
    extreme = done = 0
    while done < wanted and extreme < _ENOUGH:
        count = min(_BATCH, wanted - done)
        drawn = rng.permuted(np.repeat(labels[:, None], count, axis=1), axis=0)
        extreme += int((statistic(drawn) >= seen - 1e-12).sum())
        done += count
    return (1 + extreme) / (1 + done)


def _told_apart(both: _Both) -> Score:
    import numpy as np
    from sklearn.linear_model import Ridge
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    features, labels = both.features, both.labels
    scores = np.zeros(len(labels))
    for rest, fold in StratifiedKFold(5, shuffle=True, random_state=0).split(features, labels):
        scores[fold] = Ridge(alpha=_RIDGE).fit(features[rest], labels[rest]).predict(features[fold])
    ones = int(labels.sum())
    return _area(float(roc_auc_score(labels, scores)), ones, len(labels) - ones)


def _area(area: float, ones: int, zeros: int) -> Score:
    """An area under the ROC curve with its 95 % interval (Hanley & McNeil 1982), n the requests."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (ones - 1) * (q1 - area**2) + (zeros - 1) * (q2 - area**2)) / (ones * zeros)
    wide = 1.96 * math.sqrt(max(0.0, variance))
    return Score(value=area, low=max(0.0, area - wide), high=min(1.0, area + wide), n=ones)


# In words


def differences(trained: Sequence[str], asked: Sequence[str]) -> list[Difference]:
    """What differs: language, length, new words, and the words that tell most, each only where it is no chance (1 %).

    These explain a shift; they are no test of their own, since the largest of many differences is always large.
    """
    return [*_languages(trained, asked), *_lengths(trained, asked), *_unseen(trained, asked), *_words(trained, asked)]


def _languages(trained: Sequence[str], asked: Sequence[str]) -> list[Difference]:
    from collections import Counter

    from prompts.templates import language_name
    from trainers.checks.spoken import UNDETERMINED, languages_of

    old, new = (Counter(languages_of(texts)) for texts in (trained, asked))
    told = [
        f"{language_name(code)} in {_of(count, len(asked))}, in training {_of(old[code], len(trained))}"
        for code, count in new.most_common()
        if code != UNDETERMINED and _odd(count, len(asked), old[code], len(trained))
    ]
    return [Difference("language", "; ".join(told[:3]))] if told else []


def _lengths(trained: Sequence[str], asked: Sequence[str]) -> list[Difference]:
    from statistics import median

    from scipy.stats import mannwhitneyu

    old, new = ([len(text) for text in texts] for texts in (trained, asked))
    if mannwhitneyu(old, new).pvalue >= _SURE:
        return []
    return [
        Difference("length", f"{median(new):,.0f} characters in the middle, in training {median(old):,.0f}"),
    ]


def _unseen(trained: Sequence[str], asked: Sequence[str]) -> list[Difference]:
    """Inputs with a word that no training input has; among training inputs, one that no other has."""
    from collections import Counter

    rows = [_words_of(text) for text in trained]
    counts = Counter(word for row in rows for word in row)
    old = sum(any(counts[word] == 1 for word in row) for row in rows)
    new = sum(any(word not in counts for word in _words_of(text)) for text in asked)
    if new / len(asked) <= old / len(rows) or not _odd(new, len(asked), old, len(rows)):
        return []
    told = f"{_of(new, len(asked))} have a word that no training input has; of training inputs, {_of(old, len(rows))}"
    return [Difference("new words", f"{told} have one that no other has")]


def _words(trained: Sequence[str], asked: Sequence[str]) -> list[Difference]:
    from collections import Counter

    old, new = (Counter(word for text in texts for word in _words_of(text)) for texts in (trained, asked))

    def surprise(word: str) -> float:
        """The two shares' difference in standard errors, with half a text added to each."""
        a, b = (new[word] + 0.5) / (len(asked) + 1), (old[word] + 0.5) / (len(trained) + 1)
        return (a - b) / math.sqrt(a * (1 - a) / (len(asked) + 1) + b * (1 - b) / (len(trained) + 1))

    known = sorted({*old, *new}, key=lambda word: (-abs(surprise(word)), word))[: 4 * _TOLD_WORDS]
    odd = [word for word in known if _odd(new[word], len(asked), old[word], len(trained))]
    found = []
    for what, side in (("more often", 1), ("less often", -1)):
        words = [word for word in odd if surprise(word) * side > 0][:_TOLD_WORDS]
        told = [f"“{w}” in {_of(new[w], len(asked))}, in training {_of(old[w], len(trained))}" for w in words]
        found += [Difference(what, "; ".join(told))] if told else []
    return found


def _words_of(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}


def _odd(new: int, asked: int, old: int, trained: int) -> bool:
    """Whether two shares differ beyond chance, by Fisher's exact test at 1 %."""
    from scipy.stats import fisher_exact

    return float(fisher_exact([[new, asked - new], [old, trained - old]]).pvalue) < _SURE


def _of(count: int, n: int) -> str:
    return f"{count:,} of {n:,}"
