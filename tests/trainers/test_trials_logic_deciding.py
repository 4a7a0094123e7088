"""What trials prove: who is advised, who cannot be told from whom, and what is said of more data and more epochs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.trainers.trial_worlds import CANDIDATES, ORDER, World, hits, scored
from trainers.trials.deciding import decide
from trainers.trials.records import TrialOrder, Tried, Try

PROMPT, LORA, LORA_32, FEW_SHOT = (
    next(one for one in CANDIDATES if one.key == key) for key in ("prompt", "lora_8", "lora_32", "few_shot")
)


def decision_of(scores: dict[str, Sequence[float]], portion: float = 1 / 2, rows: int = 180) -> tuple[str, ...]:
    tried = [scored(key, portion, found, learned=int(portion * rows)) for key, found in scores.items()]
    found = decide(ORDER, tried, rows)
    return found.advised, found.sentence, *found.told


def test_the_best_is_advised_where_it_can_be_told() -> None:
    advised, sentence, *_ = decision_of({"prompt": hits(0.2, 96), "lora_8": hits(0.8, 96)})
    assert advised == "lora_8"
    assert sentence.startswith("Of what was tried, lora 8 is best: it promises 8")
    assert "96 rows that both were asked" in sentence


def test_of_what_cannot_be_told_apart_the_cheaper_is_advised_and_this_is_said() -> None:
    one, other = hits(0.5, 48), hits(0.5, 48, seed=1)
    tried = [scored("lora_8", 1.0, one), scored("lora_32", 1.0, [*other[:-1], 1.0])]
    dearer = TrialOrder(candidates=(LORA, LORA_32.model_copy(update={"price": 400.0})), budget_minutes=1)
    found = decide(dearer, tried, 100)
    assert set(found.alike) == {"lora_8", "lora_32"}
    assert found.advised == "lora_8"
    assert "lora 32" in found.sentence
    dear = TrialOrder(candidates=(LORA.model_copy(update={"price": 400.0}), LORA_32), budget_minutes=1)
    assert decide(dear, tried, 100).advised == "lora_32"
    first = decide(dearer, [scored("lora_8", 1.0, one), scored("lora_32", 1.0, [1.0 - s for s in one])], 100)
    assert first.best in first.alike and first.advised == "lora_8"


def test_of_what_costs_the_same_and_cannot_be_told_apart_the_more_promising_is_advised() -> None:
    scores = hits(0.5, 48)
    tried = [scored("lora_8", 1.0, scores), scored("lora_32", 1.0, [1 - one for one in scores])]
    best = decide(ORDER, tried, 100).best
    assert decide(ORDER, tried, 100).advised == best, "two ranks cost the same to a thousandth"
    dear = [one.model_copy(update={"price": 400.0}) if one.key == best else one for one in (LORA, LORA_32)]
    found = decide(TrialOrder(candidates=tuple(dear), budget_minutes=1), tried, 100)
    assert found.advised != best and "the cheaper one is advised" in found.sentence


def test_the_sentence_of_a_tie_names_both_and_the_rows() -> None:
    better = hits(0.5, 24)
    worse = list(better)
    tried = [scored("prompt", 1.0, worse), scored("few_shot", 1.0, better), scored("lora_8", 1.0, worse)]
    order = TrialOrder(candidates=(FEW_SHOT.model_copy(update={"price": 1.0}), PROMPT, LORA), budget_minutes=1)
    found = decide(order, tried, 40)
    assert (found.advised, found.best) == ("few_shot", "prompt")
    assert "cannot be told apart on 24 rows, so the cheaper one is advised: few shot." in found.sentence
    assert found.sentence.endswith("Nothing that was trained beats it: do not fine-tune.")


def test_where_nothing_beats_the_prompt_this_is_said() -> None:
    advised, sentence, *told = decision_of(
        {"prompt": hits(0.9, 96), "lora_8": hits(0.3, 96), "few_shot": hits(0.6, 96)}, portion=1.0
    )
    assert advised == "prompt"
    assert sentence.endswith("Nothing that was tried beats the prompt: do not fine-tune.")
    assert any(line.startswith("What did not pay: lora 8 (3") for line in told)


def test_a_far_better_one_does_not_lose_to_a_cheap_one_because_the_rows_are_few() -> None:
    """Twenty points on 24 rows are no difference at 5 %, and yet the better bet."""
    advised, *_ = decision_of({"prompt": hits(0.4, 24), "lora_8": hits(0.6, 24, seed=1)}, portion=1.0)
    assert advised == "lora_8"


def test_too_few_rows_do_not_overrule_what_is_expected_and_this_is_said() -> None:
    order = ORDER.model_copy(update={"expected": "lora_8"})

    def decided(prompt: Sequence[float], lora: Sequence[float], order: TrialOrder = order) -> tuple[str, str]:
        found = decide(order, [scored("prompt", 0.5, prompt, learned=4), scored("lora_8", 0.5, lora, learned=4)], 8)
        assert found.advised in found.alike
        return found.advised, found.sentence

    better, worse = hits(0.75, 8), hits(0.5, 8)
    assert decided(better, worse, ORDER)[0] == "prompt"
    advised, sentence = decided(better, worse)
    assert advised == "lora_8"
    assert "8 rows are too few to overrule what such data speak for: lora 8 stays advised" in sentence
    assert "do not fine-tune" not in sentence
    told = decide(order, [scored("prompt", 0.5, [1.0] * 8), scored("lora_8", 0.5, worse, learned=4)], 8)
    assert told.advised == "lora_8" and not [line for line in told.told if line.startswith("What did not pay")]

    assert decided(hits(0.75, 16), hits(0.5, 16))[0] == "prompt", "with more rows the trials decide"
    assert decided([1.0] * 11, [0.0] * 11)[0] == "prompt", "and where it is as good as sure"
    untried = ORDER.model_copy(update={"expected": "lora_32"})
    assert decided(better, worse, untried)[0] == "prompt"


def test_too_few_rows_do_not_prefer_a_cheaper_one() -> None:
    scores = hits(0.5, 8)
    tried = [scored("prompt", 1.0, scores), scored("lora_8", 1.0, [1 - one for one in scores])]
    best, other = decide(ORDER, tried, 8).best, {"lora_8": "prompt", "prompt": "lora_8"}
    found = decide(ORDER.model_copy(update={"expected": best}), tried, 8)
    assert (found.advised, set(found.alike)) == (best, {"prompt", "lora_8"})
    told = f"is what such data speak for; 8 rows cannot tell it from {other[best].replace('_', ' ')}."
    assert found.sentence.endswith(told)


def test_more_data_is_said_to_help_where_the_curve_still_rises() -> None:
    def told(*shares: float) -> str:
        tried = [
            scored("lora_8", portion, hits(share, 96), learned=int(800 * portion))
            for portion, share in zip((1 / 8, 1 / 4, 1 / 2), shares, strict=True)
        ]
        return " ".join(decide(ORDER, [*tried, scored("prompt", 1 / 8, hits(0.1, 96))], 800).told)

    assert "More data would help: twice the rows promise lora 8 +" in told(0.4, 0.6, 0.75)
    assert "More data would hardly help" in told(0.94, 0.95, 0.95)
    one_point = " ".join(decision_of({"lora_8": hits(0.5, 96)})[2:])
    assert "tried on 1/2 of the rows alone" in one_point


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ((2.0, 0.5, 0.02), "More epochs would not help: lora 8 knows by heart"),
        ((2.0, 1.0, 0.5), "More epochs may help: in the last one lora 8's loss still fell from 1.00 to 0.50."),
        ((2.0, 0.8, 0.75), "More epochs would hardly help"),
    ],
)
def test_epochs_are_judged_by_the_losses(losses: tuple[float, ...], said: str) -> None:
    tried = scored("lora_8", 0.5, hits(0.5, 48)).model_copy(update={"losses": losses})
    assert any(line.startswith(said) for line in decide(ORDER, [tried], 100).told)


def test_what_was_not_tried_and_what_failed_is_named() -> None:
    tried = [
        scored("prompt", 0.5, hits(0.5, 24)),
        Tried(tried=Try(key="lora_8", portion=0.5), rows=5, failed="The memory ran out."),
    ]
    found = decide(ORDER, tried, 100)
    assert found.sentence.startswith("Only prompt could be tried: 50%")
    assert "lora 8 could not be tried: The memory ran out." in found.told
    assert "Not tried: wordings, few shot, lora 32 and prompt tuning." in found.told


def test_nothing_tried_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing was tried"):
        decide(ORDER, [Tried(tried=Try(key="prompt", portion=1), rows=0, failed="no")], 10)


def test_promises_come_with_the_best_first_and_hold_their_values() -> None:
    tried, _ = World(5, 100).trials()
    found = decide(ORDER, tried, 60)
    assert found.promises[0].key == found.best and found.advised in found.alike
    assert all(0 <= p.low <= p.value <= p.high <= 1 for p in found.promises)
