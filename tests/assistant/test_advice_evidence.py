"""What trials proved, in the advice: their choice comes first, and the rules' reasons stay below."""

from __future__ import annotations

from pathlib import Path

from assistant.advice.advise import advise
from assistant.advice.evidence import RULE, kind_of
from assistant.advice.plans import advised_plan
from assistant.advice.records import KINDS
from assistant.advice.situation import Situation
from tests.assistant.advice_kit import situation
from trainers.objectives import DpoObjective, SftObjective
from trainers.plan import PROBES
from trainers.strategies import (
    FewShotStrategy,
    FullStrategy,
    LoraStrategy,
    MetaLoraStrategy,
    PromptStrategy,
    PromptTuningStrategy,
    PTuningStrategy,
)
from trainers.trials.records import Candidate, Decision, Promise

STRATEGIES = {
    "prompt": PromptStrategy(),
    "few": FewShotStrategy(examples=2),
    "low": LoraStrategy(r=4),
    "high": LoraStrategy(r=32),
    "soft": PromptTuningStrategy(),
}
VALUES = {"prompt": 0.2, "few": 0.4, "low": 0.9, "high": 0.91, "soft": 0.3}


def decided(folder: Path, advised: str, alike: tuple[str, ...], sentence: str) -> Situation:
    """A project on which five options were tried."""
    known = situation(folder)
    candidates = tuple(
        Candidate(key=key, title=f"The {key} one", plan=advised_plan(known, strategy, SftObjective()), price=1)
        for key, strategy in STRATEGIES.items()
    )
    promises = tuple(
        Promise(key=key, value=value, low=value - 0.05, high=value + 0.05, tried_in_full=key == advised)
        for key, value in VALUES.items()
    )
    decision = Decision(advised=advised, best=alike[-1], alike=alike, sentence=sentence, promises=promises)
    return known.model_copy(update={"candidates": candidates, "decision": decision})


def test_the_trials_choice_comes_first_with_its_figures_and_the_rules_reasons_below(tmp_path: Path) -> None:
    sentence = "Rank 4 and rank 32 cannot be told apart; rank 4 is cheaper."
    known = decided(tmp_path, "low", ("low", "high"), sentence)
    advice = advise(known)
    best = advice.best
    assert (best.kind, best.advised, best.title) == ("lora", True, "The low one")
    assert advice.evidence == sentence
    assert best.measured and best.measured.key == "low"
    assert best.reasons[0].rule == RULE
    assert "90% (85% to 95%), on all training rows" in best.reasons[0].text and sentence in best.reasons[0].text
    assert best.reasons[1].rule == "lora-enough", "the rules' reasons stay below"
    assert isinstance(best.plan and best.plan.strategy, LoraStrategy)
    assert best.plan and best.plan.strategy.model_dump()["r"] == 4
    assert best.plan.evaluation.probes == PROBES, "the trial had none, the training in full has"
    few = advice.of("few_shot")
    assert few and few.measured and "40% (35% to 45%), drawn on to all training rows" in few.reasons[0].text
    assert [option.advised for option in advice.options] == [True] + [False] * (len(KINDS) - 1)


def test_when_nothing_beats_the_prompt_the_advice_is_the_prompt(tmp_path: Path) -> None:
    advice = advise(decided(tmp_path, "prompt", ("prompt", "high"), "Nothing that was tried beats your prompt."))
    assert (advice.best.kind, advice.evidence) == ("prompt", "Nothing that was tried beats your prompt.")
    lora = advice.of("lora")
    assert lora and lora.standing == "good" and lora.title == "The high one", "it cannot be told from the best"
    assert "cannot be told from the best" in lora.reasons[0].text
    soft = advice.of("prompt_tuning")
    assert soft and soft.standing == "not now" and soft.measured


def test_what_was_good_by_rules_and_lost_in_the_trials_is_good_no_more(tmp_path: Path) -> None:
    lora = advise(decided(tmp_path, "prompt", ("prompt",), "The prompt is best.")).of("lora")
    assert lora and lora.standing == "possible" and lora.measured and lora.measured.key == "high", "the better of two"


def test_what_the_budget_left_untried_is_not_outdone_by_the_best_of_the_rest(tmp_path: Path) -> None:
    known = decided(tmp_path, "soft", ("soft",), "Prompt tuning is best of what was tried.")
    assert known.decision
    left = tuple(promise for promise in known.decision.promises if promise.key not in ("low", "high"))
    advice = advise(known.model_copy(update={"decision": known.decision.model_copy(update={"promises": left})}))
    assert (advice.best.kind, advice.best.measured) == ("lora", None)
    assert "was not tried and stays the advice" in advice.evidence
    soft = advice.of("prompt_tuning")
    assert soft and soft.measured, "what was found is told all the same"


def test_a_decision_about_options_that_are_gone_changes_nothing(tmp_path: Path) -> None:
    known = decided(tmp_path, "low", ("low",), "Rank 4.")
    assert advise(known.model_copy(update={"candidates": ()})) == advise(situation(tmp_path))


def test_which_option_a_plan_carries_out(tmp_path: Path) -> None:
    known = situation(tmp_path)
    strategies = {
        "meta_lora": MetaLoraStrategy(),
        "full": FullStrategy(),
        "prompt_tuning": PTuningStrategy(),
        "lora": LoraStrategy(use_dora=True),
    }
    assert {kind: kind_of(advised_plan(known, one)) for kind, one in strategies.items()} == {k: k for k in strategies}
    assert kind_of(advised_plan(known, LoraStrategy(), DpoObjective())) == "preference"
