"""The advice as cards and as words: figures, sources that can be opened, and buttons that mean what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant import advice_words as words
from assistant.advice.records import Advice, Conflict, Option, Reason
from assistant.ui import advice_cards
from prompts.errors import DataError
from prompts.versions import PromptVersion
from trainers.data import Mapping
from trainers.estimating.records import Fit, Memory, Seconds, TrainingEstimate
from trainers.plan import DataPlan, EvaluationPlan, TrainingPlan
from trainers.strategies import AnyStrategy, FewShotStrategy, LoraStrategy
from trainers.trials.records import Promise


def plan(strategy: AnyStrategy) -> TrainingPlan:
    return TrainingPlan(data=DataPlan(path=Path("x.csv"), columns=Mapping(input="a", output="b")), strategy=strategy)


def estimate(**changed: object) -> TrainingEstimate:
    figures = {
        "machine": "CPU, 2 cores",
        "tokens": 1000,
        "memory": Memory(weights=1.0, activations=2.0, adapter=0.01, optimizer=0.02),
        "seconds": Seconds(loading=5, training=300, testing=60),
        "fits": True,
    }
    return TrainingEstimate.model_validate({**figures, **changed})


LORA = Option(
    kind="lora",
    title="LoRA <b>",
    standing="advised",
    reasons=tuple(Reason(text=f"reason {n}") for n in range(5)),
    training=estimate(),
    plan=plan(LoraStrategy()),
)
SHOTS = Option(
    kind="few_shot", title="Few-shot", standing="good", reasons=(Reason(text="r"),), plan=plan(FewShotStrategy())
)
WISH = Conflict(told="Both cannot be.", nearest="This can.", change={"max_latency_ms": 2000, "base_model": ""})
ADVICE = Advice(options=(LORA, SHOTS), conflicts=(WISH,), facts=(("rows", "<180>"),))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.042, "0.042 s"),
        (5.04, "5 s"),
        (1.26, "1.3 s"),
        (42, "42 s"),
        (89, "89 s"),
        (360, "6 min"),
        (9000, "2.5 h"),
        (300_000, "3 days"),
    ],
)
def test_time_is_told_as_people_do(seconds: float, told: str) -> None:
    assert words.time_of(seconds) == told


def test_sizes_energy_and_money_are_never_told_as_nothing() -> None:
    assert [words.size_of(gb) for gb in (0.05, 0.44, 9.94, 23.6)] == ["51 MB", "0.4 GB", "9.9 GB", "24 GB"]
    assert [words.energy_of(wh) for wh in (0.031, 3.14, 42.4, 1400)] == ["0.031 Wh", "3.1 Wh", "42 Wh", "1.4 kWh"]
    assert [words.money_of(amount) for amount in (0, 0.001, 1.239)] == ["0.00", "below 0.01", "1.24"]


def test_small_parts_of_memory_are_told_together_and_nothing_is_lost() -> None:
    shares = words.memory_shares(estimate().memory)
    assert [share.key for share in shares] == ["activations", "weights", "rest"]
    assert sum(share.figure for share in shares) == pytest.approx(3.03)


@pytest.mark.parametrize(
    ("source", "said", "address"),
    [
        ("Hu et al. 2021, arXiv 2106.09685", "arXiv 2106.09685", "https://arxiv.org/abs/2106.09685"),
        (
            "Schulman 2025, thinkingmachines.ai/blog/lora",
            "thinkingmachines.ai/blog/lora",
            "https://thinkingmachines.ai/blog/lora",
        ),
        (
            "Karnin 2013, https://proceedings.mlr.press/v28/karnin13.html",
            "https://proceedings.mlr.press/v28/karnin13.html",
            "https://proceedings.mlr.press/v28/karnin13.html",
        ),
        ("measured here: benchmarks/journey.py", "", ""),
        ("measured here (python -m benchmarks.journey), n=200", "", ""),
        ("", "", ""),
    ],
)
def test_a_source_with_an_address_can_be_opened(source: str, said: str, address: str) -> None:
    assert words.address_of(source) == (said, address)


def test_card_sizes_are_told_only_where_the_list_has_such_a_card() -> None:
    fits = (Fit(machine="A", memory_gb=12, needed_gb=14), Fit(machine="B", memory_gb=15.7, needed_gb=14))
    assert [(size, fit) for size, fit, _ in words.fitting(fits)] == [(12, False), (16, True)]


def test_plans_that_come_to_the_same_are_the_same_whatever_their_name() -> None:
    mine = plan(LoraStrategy())
    assert words.same_training(mine, mine.model_copy(update={"name": "other", "evaluation": EvaluationPlan(probes=())}))
    assert not words.same_training(mine, mine.model_copy(update={"prompt": PromptVersion(system="Other words.")}))
    assert not words.same_training(mine, plan(LoraStrategy(r=32))) and not words.same_training(mine, None)


def test_the_verdict_has_three_reasons_and_the_rest_below() -> None:
    shown = advice_cards.verdict(ADVICE, None, 24.0)
    first, _, more = shown.partition("<details")
    assert "reason 2" in first and "reason 3" not in first and "reason 3" in more and "reason 4" in more
    assert "LoRA &lt;b&gt;" in shown and "LoRA <b>" not in shown
    assert "3.0 GB of the 24 GB that this machine has" in first and "6 min" in first
    assert "&lt;180&gt;" in advice_cards.saw(ADVICE)


def test_what_does_not_fit_says_so() -> None:
    too_large = LORA.model_copy(update={"training": estimate(fits=False)})
    shown = advice_cards.verdict(ADVICE.model_copy(update={"options": (too_large, SHOTS)}), None, 2.0)
    assert "3.0 GB, more than the 2.0 GB that this machine has" in shown


def test_the_button_is_gone_where_training_follows_the_plan_already() -> None:
    assert 'data-key="plan:' in advice_cards.verdict(ADVICE, SHOTS.plan, 24.0)
    shown = advice_cards.verdict(ADVICE, LORA.plan, 24.0)
    assert 'data-key="plan:' not in shown and "Training follows this plan" in shown
    cannot = SHOTS.model_copy(update={"standing": "impossible"})
    assert "data-key" not in advice_cards.others(ADVICE.model_copy(update={"options": (LORA, cannot)}), None, 24.0)


def key_in(html: str, kind: str) -> str:
    return html.split(f'data-key="{kind}:')[1].split('"')[0]


def test_a_button_names_its_option_and_fails_where_the_advice_is_another_by_now() -> None:
    key = f"plan:{key_in(advice_cards.others(ADVICE, None, 24.0), 'plan')}"
    assert advice_cards.plan_for(ADVICE, key) == SHOTS
    with pytest.raises(DataError, match="The advice has changed"):
        advice_cards.plan_for(ADVICE.model_copy(update={"options": (LORA,)}), key)


def test_a_contradiction_offers_its_change_in_words() -> None:
    shown = advice_cards.verdict(ADVICE, None, 24.0)
    assert "Change it: longest wait: 2000 ms, base model: left open" in shown
    key = f"conflict:{key_in(shown, 'conflict')}"
    assert advice_cards.conflict_for(ADVICE, key) == WISH
    with pytest.raises(DataError, match="not there any more"):
        advice_cards.conflict_for(ADVICE.model_copy(update={"conflicts": ()}), key)


def test_a_measured_option_shows_its_score_with_its_interval() -> None:
    tried = SHOTS.model_copy(update={"measured": Promise(key="f", value=0.55, low=0.41, high=0.68)})
    advice = ADVICE.model_copy(update={"options": (LORA, tried), "evidence": "LoRA was best."})
    shown = advice_cards.others(advice, None, 24.0)
    assert "55% (41% to 68%), expected with all rows, from tries on some" in shown and "left:41.0%" in shown
    assert "LoRA was best." in advice_cards.verdict(advice, None, 24.0)
