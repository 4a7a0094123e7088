"""Scores and their certainty, against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from prompts.metrics import METRICS, chrf, compare, exact_match, json_match, metric_for, summarize


@pytest.mark.parametrize(
    ("answer", "expected", "score"),
    [
        ("billing", "billing", 1.0),
        (" billing\n", "billing", 1.0),
        ("Billing", "billing", 0.0),
        ("billing.", "billing", 0.0),
        ("billing department", "billing", 0.0),
        ("", "billing", 0.0),
    ],
)
def test_exact_match_is_strict_but_for_surrounding_space(answer: str, expected: str, score: float) -> None:
    assert exact_match(answer, expected) == score


@pytest.mark.parametrize(
    ("answer", "expected", "score"),
    [
        ('{"a": 1, "b": [1, 2]}', '{"b":[1,2],"a":1}', 1.0),
        ('{"a": 1.0}', '{"a": 1}', 1.0),
        ('{"a": "1"}', '{"a": 1}', 0.0),
        ('{"a": true}', '{"a": 1}', 0.0),
        ('{"a": null}', '{"a": false}', 0.0),
        ('{"id": 12345678901234567890}', '{"id": 12345678901234567891}', 0.0),
        ("[1, 2]", "[2, 1]", 0.0),
        ('{"a": 1} so it is', '{"a": 1}', 0.0),
        ('```json\n{"a": 1}\n```', '{"a": 1}', 0.0),
        ("", "{}", 0.0),
        ("[" * 100_000, "[]", 0.0),
        ("1e99999999999999999999", "1", 0.0),
    ],
)
def test_json_match_compares_values(answer: str, expected: str, score: float) -> None:
    assert json_match(answer, expected) == score


def test_chrf_is_a_share() -> None:
    assert chrf("the cat sat", "the cat sat") == pytest.approx(1.0)
    assert chrf("", "the cat") == 0.0
    assert 0.3 < chrf("the cat sat on a mat", "the cat sat on the mat") < 1.0


@pytest.mark.parametrize(
    ("output_format", "name"),
    [("label", "exact match"), ("json", "field F1"), ("text", "chrF"), (None, "exact match")],
)
def test_every_shape_of_answer_has_a_metric(output_format: str | None, name: str) -> None:
    assert metric_for(output_format) == name  # type: ignore[arg-type]
    assert name in METRICS


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_wilson_intervals(hits: int, n: int, low: float, high: float) -> None:
    score = summarize([1.0] * hits + [0.0] * (n - hits))
    assert (score.value, score.n) == (hits / n, n)
    assert (score.low, score.high) == pytest.approx((low, high), abs=1e-4)


def test_graded_scores_have_a_bootstrap_interval_inside_0_and_1() -> None:
    score = summarize([0.1, 0.9, 0.5, 0.7, 0.95, 0.3, 1.0, 0.8])
    assert 0 <= score.low < score.value < score.high <= 1
    assert score == summarize([0.1, 0.9, 0.5, 0.7, 0.95, 0.3, 1.0, 0.8]), "the bootstrap is seeded"
    assert summarize([0.4, 0.4]).low == summarize([0.4, 0.4]).high == 0.4


def test_a_score_reads_as_a_sentence_part() -> None:
    assert str(summarize([1.0] * 8 + [0.0] * 2)) == "80% (49% to 94%, n=10)"


@pytest.mark.parametrize(
    ("gains", "losses", "ties", "p_value", "verdict"),
    [
        (6, 0, 4, 2 / 64, "better"),
        (0, 6, 4, 2 / 64, "worse"),
        (5, 0, 20, 2 / 32, "cannot tell"),
        (7, 1, 0, 18 / 256, "cannot tell"),
        (1, 0, 0, 1.0, "cannot tell"),
        (1, 0, 9, 1.0, "cannot tell"),
        (3, 3, 3, 1.0, "cannot tell"),
    ],
)
def test_a_paired_comparison_by_hand(gains: int, losses: int, ties: int, p_value: float, verdict: str) -> None:
    base = [0.0] * gains + [1.0] * losses + [1.0] * ties
    tuned = [1.0] * gains + [0.0] * losses + [1.0] * ties
    result = compare(base, tuned)
    assert result.p_value == pytest.approx(p_value)
    assert result.verdict == verdict
    assert result.difference == pytest.approx((gains - losses) / (gains + losses + ties))
    assert result.low <= result.difference <= result.high


def test_identical_arms_cannot_be_told_apart() -> None:
    result = compare([0.0, 1.0, 0.5], [0.0, 1.0, 0.5])
    assert (result.verdict, result.p_value, result.difference, result.n) == ("cannot tell", 1.0, 0.0, 3)


def test_a_large_test_set_fits_in_memory_and_patience() -> None:
    base = [float(i % 2) for i in range(3000)]
    tuned = [float(i % 2 or i % 5 == 0) for i in range(3000)]
    result = compare(base, tuned)
    assert result.verdict == "better"
    assert result.difference == pytest.approx(0.1)


@pytest.mark.parametrize(("first", "second"), [([1.0], [1.0, 0.0]), ([], []), ([1.0], [])])
def test_arms_on_different_rows_are_refused(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match="same rows"):
        compare(first, second)


def test_no_rows_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="no rows"):
        summarize([])


def test_intervals_are_numbers_even_for_few_and_lumpy_scores() -> None:
    for scores in ([0.0, 0.5], [0.5, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0, 0.9], [0.3]):
        score = summarize(scores)
        assert not math.isnan(score.low)
        assert not math.isnan(score.high)


# Figures of the whole, and what else is measured of text and JSON.


def test_macro_f1_is_scikit_learns() -> None:
    from sklearn.metrics import f1_score

    expected = ["a", "a", "a", "a", "b", "b", "c", "c", "c", "c"]
    answers = ["a", "a", "b", "nonsense", "b", "a", "c", "c", "", "c"]
    score = METRICS["macro-F1"].score(answers, expected)
    assert score.value == pytest.approx(f1_score(expected, answers, labels=["a", "b", "c"], average="macro"))
    assert score.low < score.value < score.high and score.n == 10


@pytest.mark.parametrize(
    ("answer", "expected", "value"),
    [
        ('{"a": "x", "b": 2}', '{"a": "x", "b": 2}', 1.0),
        ('{"a": "x"}', '{"a": "x", "b": 2}', 2 / 3),
        ('{"a": "y", "b": 2}', '{"a": "x", "b": 2}', 0.5),
        ('{"a": "x", "b": null}', '{"a": "x"}', 1.0),
        ('{"a": {"b": [1, 2]}}', '{"a": {"b": [2, 3]}}', 0.5),
        ("not JSON", '{"a": "x"}', 0.0),
        ("{}", "{}", 1.0),
        ("", "{}", 0.0),
    ],
)
def test_field_f1_of_one_answer(answer: str, expected: str, value: float) -> None:
    assert METRICS["field F1"].row(answer, expected) == pytest.approx(value)


def test_field_f1_of_all_counts_facts_not_rows() -> None:
    answers = ['{"a": 1}', '{"a": 1, "b": 2, "c": 3}']
    expected = ['{"a": 2}', '{"a": 1, "b": 2, "c": 3}']
    assert METRICS["field F1"].score(answers, expected).value == pytest.approx(2 * 3 / 8)


@pytest.mark.parametrize(
    ("name", "answer", "expected", "value"),
    [
        ("ROUGE-L", "the cat sat", "the cat sat", 1.0),
        ("ROUGE-L", "the cat on a mat", "the cat sat on the mat", 2 * 4 / 11),
        ("ROUGE-L", "", "the cat", 0.0),
        ("BLEU", "the cat sat on the mat", "the cat sat on the mat", 1.0),
        ("BLEU", "", "the cat", 0.0),
        ("token F1", "The cat", "a cat!", 1.0),
        ("token F1", "black dog", "black cat", 0.5),
        ("valid JSON", '{"a"', "{}", 0.0),
        ("valid JSON", "[1]", "{}", 1.0),
    ],
)
def test_text_and_json_metrics(name: str, answer: str, expected: str, value: float) -> None:
    assert METRICS[name].row(answer, expected) == pytest.approx(value)


@pytest.mark.parametrize("name", ["exact match", "macro-F1", "field F1", "chrF"])
def test_every_metric_tells_better_from_worse_and_from_the_same(name: str) -> None:
    expected = ['{"a": "x"}', '{"b": "y"}'] * 20
    good, bad = expected, ["nothing"] * 40
    metric = METRICS[name]
    assert metric.compare(bad, good, expected).verdict == "better"
    assert metric.compare(good, bad, expected).verdict == "worse"
    same = metric.compare(good, good, expected)
    assert (same.verdict, same.difference, same.more) == ("cannot tell", 0.0, None)
    assert "score alike" in same.told


@pytest.mark.parametrize(
    ("wanted", "shape", "name"),
    [
        ("macro_f1", "label", "macro-F1"),
        ("accuracy", "label", "exact match"),
        ("f1", "json", "field F1"),
        ("rouge", "text", "ROUGE-L"),
        ("rouge", "label", "exact match"),  # which does not fit labels
        ("bleu", "text", "BLEU"),
    ],
)
def test_what_the_person_wants_is_measured_where_it_fits(wanted: str, shape: str, name: str) -> None:
    assert metric_for(shape, wanted) == name  # type: ignore[arg-type]


def test_more_rows_are_asked_for_where_they_would_tell() -> None:
    first, second = [0.0] * 8 + [1.0] * 12, [1.0] * 4 + [0.0] * 6 + [1.0] * 10
    found = compare(first, second)
    assert found.verdict == "cannot tell" and found.more is not None and found.more > 20
    assert f"about {found.more} more rows would do" in found.told


@pytest.mark.parametrize("n", [20, 60])
@pytest.mark.parametrize("name", ["exact match", "macro-F1"])
def test_equals_are_rarely_told_apart(name: str, n: int) -> None:
    """Two arms that are right by the same chance: 5 % may be called different, and a few more by bad luck."""
    import random

    wrong = 0
    for seed in range(100):
        rng = random.Random(seed)
        expected = [rng.choice("abc") for _ in range(n)]
        one, other = ([e if rng.random() < 0.6 else rng.choice("abc") for e in expected] for _ in "12")
        wrong += METRICS[name].compare(one, other, expected).verdict != "cannot tell"
    assert wrong <= 10, wrong
