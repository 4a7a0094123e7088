"""How near one answer comes to the expected one: functions of two texts, all in [0, 1]. Refuses to average."""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal
from functools import cache
from typing import Any

_WORD = re.compile(r"\w+")
_MOST_WORDS = 2000  # of a longer text the common subsequence would take seconds


def exact_match(answer: str, expected: str) -> float:
    """1 where the answer equals the expected one, surrounding white space aside."""
    return float(answer.strip() == expected.strip())


def json_match(answer: str, expected: str) -> float:
    """1 where both are the same JSON value, whatever the spacing and the order of keys."""
    wanted, found = json_value(expected), json_value(answer)
    return float(found is not None and found == wanted)


def valid_json(answer: str, expected: str) -> float:
    """1 where the answer is JSON, whatever it says."""
    return float(json_value(answer) is not None)


def json_value(text: str) -> tuple[Any] | None:
    """The value in a tuple of its own, or None for what is no JSON.

    Numbers are marked and exact: Python holds 1 and true for equal, and long ids round to one float.
    """

    def number(digits: str) -> tuple[str, Decimal]:
        return "number", Decimal(digits)

    try:
        return (json.loads(text, parse_int=number, parse_float=number),)
    except (ValueError, ArithmeticError, RecursionError):  # a model that repeats itself may nest thousands deep
        return None


def fields(text: str) -> Counter[tuple[str, str]]:
    """The facts of a JSON object: path and value of every leaf, empty where it is none. A list is a bag of values."""
    value = json_value(text)
    found: Counter[tuple[str, str]] = Counter()
    if value is not None and isinstance(value[0], dict):
        _collect(value[0], "", found)
    return found


def _collect(value: Any, path: str, found: Counter[tuple[str, str]]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _collect(inner, f"{path}/{key}", found)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, f"{path}[]", found)
    elif value is not None:  # a key with nothing says as much as no key
        found[path, str(value).strip() if isinstance(value, str) else repr(value)] += 1


def field_f1(answer: str, expected: str) -> float:
    """F1 over the facts of one JSON object; 1 where neither has any and the answer is JSON."""
    given, wanted = fields(answer), fields(expected)
    if not given and not wanted:
        return valid_json(answer, expected)
    return 2 * (given & wanted).total() / (given.total() + wanted.total())


def token_f1(answer: str, expected: str) -> float:
    """F1 over words, as SQuAD scores answers (Rajpurkar et al. 2016), articles and case kept out of it."""
    given, wanted = (Counter(w for w in _words(text) if w not in ("a", "an", "the")) for text in (answer, expected))
    if not given or not wanted:
        return float(given == wanted)
    return 2 * (given & wanted).total() / (given.total() + wanted.total())


def rouge_l(answer: str, expected: str) -> float:
    """F1 over the longest common subsequence of words (Lin 2004), lower case, unstemmed as in `rouge_score`.

    Of our own since that package brings nltk and absl for these ten lines.
    """
    given, wanted = _words(answer)[:_MOST_WORDS], _words(expected)[:_MOST_WORDS]
    if not given or not wanted:
        return 0.0
    row = [0] * (len(wanted) + 1)
    for word in given:
        corner = 0
        for i, other in enumerate(wanted, start=1):
            corner, row[i] = row[i], corner + 1 if word == other else max(row[i], row[i - 1])
    return 2 * row[-1] / (len(given) + len(wanted))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def chrf(answer: str, expected: str) -> float:
    """Character n-gram F-score of one answer (Popović 2015, as sacreBLEU computes it)."""
    return float(_chrf().sentence_score(answer, [expected]).score) / 100


def bleu(answer: str, expected: str) -> float:
    """BLEU of one answer (Papineni et al. 2002, smoothed for single sentences as sacreBLEU does)."""
    return min(1.0, float(_bleu().sentence_score(answer, [expected]).score) / 100)


@cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


@cache
def _bleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)
