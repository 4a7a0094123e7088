"""Trials as logic: portions and who is asked what, who goes on, what a curve promises, and what is decided."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from tests.trainers.trial_worlds import CANDIDATES, ORDER, World, candidate, examples, hits, outcome, scored
from trainers.strategies import MetaLoraStrategy
from trainers.trials.curves import by_epoch, draw, points
from trainers.trials.halving import SHARE, next_tries
from trainers.trials.portions import folds, in_order, ladder, rows_of
from trainers.trials.records import TrialOrder, Tried, Try

PROMPT, LORA, LORA_32, FEW_SHOT = (
    next(one for one in CANDIDATES if one.key == key) for key in ("prompt", "lora_8", "lora_32", "few_shot")
)


# Portions


@pytest.mark.parametrize("rows", [4, 7, 14, 24, 60, 180, 2000])
def test_the_ladder_ends_with_all_rows_and_begins_with_a_dozen_where_there_are_as_many(rows: int) -> None:
    steps = ladder(rows)
    assert list(steps) == sorted(set(steps)) and steps[-1] == 1
    assert steps[0] * rows >= 12 or steps[0] == 0.5


@pytest.mark.parametrize(("train", "dev"), [(7, 1), (14, 2), (36, 6), (90, 15), (180, 30), (1200, 200)])
def test_portions_are_nested_and_nobody_is_asked_what_they_learned(train: int, dev: int) -> None:
    rows, checking = examples(train, 4), examples(dev, 4, first=train + 1)
    earlier: set[int] = set()
    for portion in ladder(train):
        found = rows_of(Try(key="a", portion=portion), rows, checking, 0)
        learned, asked = {row.row for row in found.learn}, {row.row for row in found.asked}
        assert earlier <= learned, "nested"
        assert not learned & asked
        assert len(learned) == len(found.learn) and len(asked) == len(found.asked), "each once"
        assert {row.row for row in checking} <= asked or len(asked) == len(found.asked) >= 24
        assert asked <= {row.row for row in (*rows, *checking)}
        earlier = learned
    assert len(earlier) == train


def test_rungs_share_most_of_the_rows_that_are_asked() -> None:
    rows, dev = examples(180, 6), examples(30, 6, first=181)
    first, second, third = (
        {row.row for row in rows_of(Try(key="a", portion=p), rows, dev, 0).asked} for p in (1 / 8, 1 / 4, 1 / 2)
    )
    assert first <= second <= third
    assert len(first) < len(second)


def test_of_few_rows_every_one_is_asked_by_a_fold_that_did_not_learn_from_it() -> None:
    rows, dev = examples(14, 3), examples(2, 3, first=15)
    assert folds(14, 0.5) == 2
    asked: Counter[int] = Counter()
    for fold in range(2):
        found = rows_of(Try(key="a", portion=0.5, fold=fold), rows, dev, 0)
        assert not {row.row for row in found.learn} & {row.row for row in found.asked}
        asked.update(row.row for row in found.asked)
    assert set(asked) == {row.row for row in (*rows, *dev)}
    assert all(asked[row.row] == 1 for row in rows), "training rows once"


def test_every_label_comes_as_early_as_it_can_and_as_often_as_it_is() -> None:
    rows = examples(200, 8)
    rare = examples(1, 1, first=500)[0]
    rare = type(rare)(row=rare.row, input=rare.input, output="rare")
    order = in_order([*rows, rare], 3)
    assert len({row.output for row in order[:9]}) == 9, "one of each before the second of any"
    shares = Counter(row.output for row in rows)
    half = Counter(row.output for row in order[:100])
    assert all(abs(half[label] - count / 2) <= 1.5 for label, count in shares.items())


def test_the_order_is_seeded() -> None:
    rows = examples(50, 5)
    assert in_order(rows, 1) == in_order(rows, 1) != in_order(rows, 2)


# Curves


def test_one_point_of_a_curve_leaves_a_wide_promise_and_a_second_narrows_it() -> None:
    one = [scored("lora_8", 1 / 8, hits(0.5, 96))]
    more = [*one, scored("lora_8", 1 / 4, hits(0.6, 96)), scored("lora_8", 1 / 2, hits(0.7, 96))]
    early, late = (draw(CANDIDATES, tried).promise("lora_8") for tried in (one, more))
    assert early.high - early.low > 1.4 * (late.high - late.low)
    assert early.low > 0.4, "what was reached on an eighth is not lost with more rows"
    assert late.low < 0.78 < late.high, "the errors 0.5, 0.4, 0.3 go on to about 0.23"
    assert not early.tried_in_full


def test_a_prompt_has_no_curve_and_all_its_rows_count() -> None:
    tried = [scored("prompt", 1 / 8, hits(0.5, 48)), scored("prompt", 1 / 4, hits(0.5, 96))]
    found = draw(CANDIDATES, tried).promise("prompt")
    assert found.tried_in_full
    assert found.value == pytest.approx(0.5, abs=0.03)
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 96), rel=0.25)


def test_what_one_candidate_gains_by_more_rows_tells_of_another() -> None:
    def promised(second: float) -> float:
        tried = [
            scored("lora_8", 1 / 8, hits(0.3, 96)),
            scored("lora_8", 1 / 2, hits(second, 96)),
            scored("prompt_tuning", 1 / 8, hits(0.3, 96, seed=1)),
        ]
        return draw(CANDIDATES, tried).mean("prompt_tuning")

    assert promised(0.8) > promised(0.32) + 0.1


def test_differences_are_paired() -> None:
    """Two that are right on the same rows are told apart by the few on which they differ."""
    base = hits(0.5, 96)
    better = list(base)
    for row in [n for n, score in enumerate(base) if not score][:10]:
        better[row] = 1.0
    elsewhere = hits(sum(better) / 96, 96, seed=5)
    together, apart = (
        draw(CANDIDATES, [scored("prompt", 0.5, base), scored("wordings", 0.5, other)]).better("wordings", "prompt")
        for other in (better, elsewhere)
    )
    assert together > 0.97 > apart


def test_never_a_miss_is_not_certainty() -> None:
    found = draw(CANDIDATES, [scored("prompt", 0.5, [1.0] * 5), scored("few_shot", 0.5, [1.0, 1.0, 0.0, 1.0, 1.0])])
    assert found.promise("prompt").low < 0.95
    assert 0.5 < found.better("prompt", "few_shot") < 0.97


def test_graded_scores_are_not_taken_to_go_towards_one() -> None:
    graded = [0.4 + 0.2 * (n % 2) for n in range(48)]
    binary = hits(0.5, 48)
    promised = [draw(CANDIDATES, [scored("lora_8", 1 / 8, scores)]).mean("lora_8") for scores in (graded, binary)]
    assert promised[0] < promised[1]


def test_folds_are_one_point_by_the_mean_of_each_row() -> None:
    tried = [
        Tried(tried=Try(key="lora_8", portion=0.5, fold=0), rows=7, scores={1: 1.0, 2: 0.0}),
        Tried(tried=Try(key="lora_8", portion=0.5, fold=1), rows=8, scores={2: 1.0, 3: 1.0}),
        Tried(tried=Try(key="lora_8", portion=0.5, fold=2), rows=8, failed="no memory"),
    ]
    [point] = points(tried, "lora_8")
    assert point.scores == {1: 1.0, 2: 0.5, 3: 1.0}
    assert point.rows == 7.5


def test_losses_by_epoch() -> None:
    lines = [
        {"step": 1, "epoch": 0.5, "loss": 3.0}, {"step": 2, "epoch": 1.0, "loss": 1.0},
        {"step": 2, "epoch": 1.0, "eval_loss": 9.0}, {"step": 3, "epoch": 1.5, "loss": 0.5},
    ]  # fmt: skip
    assert by_epoch(lines) == (2.0, 0.5)
    assert by_epoch([{"step": 1, "loss": 2.0}]) == ()


# Halving


def test_what_trains_nothing_comes_first_and_then_the_likeliest_alone_to_learn_what_training_costs() -> None:
    rows = examples(180, 4)
    first = next_tries(ORDER, [], rows, 3600).tries
    assert [one.key for one in first] == ["prompt"], "nothing is known of any cost yet"
    tried = [outcome(one, 23, dict.fromkeys(range(48), 1.0)) for one in first]
    second = next_tries(ORDER, tried, rows, 3600).tries
    assert [one.key for one in second] == ["wordings", "few_shot"]
    tried += [outcome(one, 23, dict.fromkeys(range(48), 1.0)) for one in second]
    third = next_tries(ORDER, tried, rows, 3600).tries
    assert [one.key for one in third] == ["lora_8"]
    tried += [outcome(one, 23, dict.fromkeys(range(48), 1.0)) for one in third]
    assert [one.key for one in next_tries(ORDER, tried, rows, 3600).tries] == ["lora_32", "prompt_tuning"]
    assert {one.tried.portion for one in tried} == {1 / 8}


def test_on_a_cluster_the_whole_first_rung_goes_at_once() -> None:
    from trainers.ray_cluster import Cluster

    order = ORDER.model_copy(update={"cluster": Cluster(address="http://head:8265")})
    assert {one.key for one in next_tries(order, [], 180, 3600).tries} == {one.key for one in CANDIDATES}


@pytest.mark.parametrize("rows", [12, 24, 60, 150, 300])
def test_trials_take_no_more_than_their_share_and_compare_something(rows: int) -> None:
    for seed in range(5):
        world = World(seed, rows)
        tried, _ = world.trials()
        assert sum(one.seconds for one in tried) <= SHARE * world.in_full
        assert len({one.tried.key for one in tried}) >= 4
        assert any(one.tried.key.startswith("lora") for one in tried)


def test_a_small_budget_holds_and_still_trains_the_likeliest() -> None:
    world = World(1, 300)
    tried, found = world.trials(seconds=80)
    trained = [one for one in tried if one.train_seconds]
    assert [one.tried.key for one in trained] == ["lora_8"]
    assert sum(one.seconds for one in tried) <= 80
    assert "not tried" in found.out["prompt_tuning"]


def test_a_spent_budget_begins_nothing() -> None:
    assert next_tries(ORDER, [], 180, 0.0).tries == ()


def test_looking_again_finds_the_same() -> None:
    """Nothing is kept between two looks: cut off anywhere, it goes on as if it had not been."""
    world = World(3, 300)
    tried, found = world.trials()
    done: list[Tried] = []
    while len(done) < len(tried):
        left = 3600 - sum(one.seconds for one in done)
        step = next_tries(ORDER, done, world.train, left, len(world.dev)).tries
        assert list(step) == [one.tried for one in tried[len(done) : len(done) + len(step)]]
        done += tried[len(done) : len(done) + 1]  # as if it had ended after one of several
        if len(step) > 1:
            rest = next_tries(ORDER, done, world.train, left - done[-1].seconds, len(world.dev)).tries
            assert list(rest[: len(step) - 1]) == list(step[1:])
    assert next_tries(ORDER, done, world.train, 3600 - sum(one.seconds for one in done), len(world.dev)) == found


def test_who_can_no_longer_win_is_out_with_the_reason() -> None:
    rows = examples(2000, 4)
    scores = {"prompt": 0.1, "wordings": 0.12, "few_shot": 0.15, "lora_8": 0.9, "lora_32": 0.91, "prompt_tuning": 0.3}
    tried = [outcome(Try(key=key, portion=1 / 8), 250, dict(enumerate(hits(s, 96)))) for key, s in scores.items()]
    found = next_tries(ORDER, tried, rows, 1e6)
    assert set(found.out) == {"prompt", "wordings", "prompt_tuning"}, "one that trains nothing stays to be beaten"
    later = [outcome(Try(key=key, portion=1 / 4), 500, dict(enumerate(hits(scores[key], 96)))) for key in scores]
    found = next_tries(ORDER, [*tried, *(one for one in later if one.tried.key not in found.out)], rows, 1e6)
    assert found.out["few_shot"].startswith("It can no longer win: on all rows its curve reaches 1")
    assert "lora 32 promises 9" in found.out["few_shot"] or "lora 8 promises 9" in found.out["few_shot"]


def test_the_worse_half_is_out_and_one_prompt_stays_to_be_beaten() -> None:
    rows = examples(2000, 4)
    scores = {"prompt": 0.5, "wordings": 0.52, "few_shot": 0.5, "lora_8": 0.5, "lora_32": 0.55, "prompt_tuning": 0.5}
    tried = [outcome(Try(key=key, portion=1 / 8), 250, dict(enumerate(hits(s, 48)))) for key, s in scores.items()]
    found = next_tries(ORDER, tried, rows, 1e6)
    assert "wordings" in {one.key for one in found.tries}
    assert sum(one.key.startswith(("lora", "prompt_t")) for one in found.tries) == 2, (
        "of three, two are the better half"
    )
    assert "worse half on 1/8 of the rows" in " ".join(found.out.values())


def test_the_certainty_of_right_answers_tells_where_no_score_does() -> None:
    rows = examples(800, 4)
    sure = {"prompt_tuning": -0.1, "prompt": -5.0, "wordings": -5.0, "few_shot": -5.0}
    for better, worse in (("lora_8", "lora_32"), ("lora_32", "lora_8")):
        sure[better], sure[worse] = -0.2, -4.0
        tried = [
            outcome(Try(key=key, portion=1 / 8), 100, dict.fromkeys(range(48), 0.0)).model_copy(
                update={"certainty": dict.fromkeys(range(48), value)}
            )
            for key, value in sure.items()
        ]
        found = next_tries(ORDER, tried, rows, 1e6)
        assert worse in found.out and better not in found.out


def test_a_candidate_that_failed_is_out_and_the_others_go_on() -> None:
    world = World(2, 150)
    tried: list[Tried] = []
    while True:
        found = next_tries(ORDER, tried, world.train, 3600 - sum(one.seconds for one in tried), len(world.dev))
        if not found.tries:
            break
        tried += [
            Tried(tried=one, rows=10, failed="The memory ran out.", seconds=1.0)
            if one.key == "lora_8"
            else world.carry_out(one)
            for one in found.tries
        ]
    assert found.out["lora_8"] == "It could not be tried: The memory ran out."
    assert sum(one.tried.key == "lora_8" for one in tried) == 1
    assert any(one.tried.key == "lora_32" for one in tried)


def test_what_trains_as_much_on_every_portion_is_left_out_where_that_is_too_dear() -> None:
    meta = candidate("meta", MetaLoraStrategy(), 900)  # 60 rounds, however few the rows
    order = TrialOrder(candidates=(PROMPT, LORA, meta), budget_minutes=5)
    world, tried = World(4, 100), list[Tried]()
    while True:
        left = 300 - sum(one.seconds for one in tried)
        found = next_tries(order, tried, world.train, left, len(world.dev))
        if not found.tries:
            break
        tried += [world.carry_out(one) for one in found.tries]
    assert found.out["meta"].startswith("It was not tried on 1/4 of the rows: that would take about 20")
    assert {one.tried.key for one in tried} == {"prompt", "lora_8"}
