"""The advice: all options in order, each with why, what would change it, what it takes, and a plan.

Owns putting rules, estimates and trials together. Refuses to start anything, and to know any rule (`rules.yaml`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assistant.advice.evidence import with_evidence
from assistant.advice.facts import Facts
from assistant.advice.looking import facts_of, facts_without_data
from assistant.advice.making import Made, at_hand, make, plan_for, plan_on
from assistant.advice.records import KINDS, Advice, Conflict, Kind, Option, Reason
from assistant.advice.rules import Rule, Rules, RuleStanding, holds, rules
from assistant.advice.situation import Situation
from assistant.advice.turning import with_more_rows
from prompts.spec import TaskSpec

_ORDER: tuple[RuleStanding, ...] = ("best", "good", "possible", "not now", "impossible")


def advise(situation: Situation) -> Advice:
    """What to do in a situation. Exactly one option is advised, and comes first."""
    if situation.profile is None or situation.splits is None:
        return advise_without_data(situation.project.spec)
    made = {kind: make(situation, plan) for kind in KINDS if (plan := plan_for(kind, situation))}
    facts = facts_of(situation, made)
    if situation.wanted:  # the figures are those of another base
        made = {}
    for kind, ref in (
        ("smaller", _smaller(facts)),
        ("larger", facts.larger_fits_ref),
    ):
        if other := at_hand(situation, ref):
            made[kind] = make(situation.model_copy(update={"base": other}), plan_on(other, situation))  # type: ignore[index]
    return with_evidence(_advice(facts, made), situation)


def _smaller(facts: Facts) -> str | None:
    """The smaller base that is spoken of."""
    slow = facts.latency_ms and facts.max_latency_ms and facts.latency_ms > facts.max_latency_ms
    return (facts.smaller_quick_ref or facts.smallest_ref) if slow and facts.lora_fits else facts.smaller_fits_ref


def advise_without_data(spec: TaskSpec) -> Advice:
    """What to do before there is data; no base model has to be there."""
    return _advice(facts_without_data(spec), {})


def _advice(facts: Facts, made: Mapping[Kind, Made]) -> Advice:
    known = rules()
    prices = {kind: _price(kind, facts, made) for kind in KINDS}
    order = _ranked(known, facts, prices)
    options = [_option(kind, known, facts, made.get(kind)) for kind in order]
    further = with_more_rows(facts, lambda other: _ranked(known, other, prices)[0])
    changes = (*options[0].changes, *([further] if further else []))
    options[0] = options[0].model_copy(update={"standing": "advised", "changes": changes})
    return Advice(options=tuple(options), conflicts=_conflicts(known, facts), facts=facts.known())


def _ranked(known: Rules, facts: Facts, prices: Mapping[Kind, float]) -> list[Kind]:
    """The options, the first one advised; of those that stand alike the cheaper first."""

    def place(kind: Kind) -> tuple[int, float, int]:
        standing = _deciding(kind, known, facts).standing
        assert standing is not None
        return _ORDER.index(standing), prices[kind], KINDS.index(kind)

    return sorted(KINDS, key=place)


def _deciding(kind: Kind, known: Rules, facts: Facts) -> Rule:
    """The first rule of an option that holds and has a standing; the last one always does."""
    limits = known.figures()
    return next(rule for rule in known.options[kind].rules if rule.standing and holds(rule.when, facts, limits))


def _price(kind: Kind, facts: Facts, made: Mapping[Kind, Made]) -> float:
    """What an option costs, to order those that stand alike. What needs no plan of ours is free; another base model
    that is not here takes as much more than LoRA on this one as it is larger."""
    if kind in made:
        return made[kind].price
    size = {"smaller": facts.smaller_size, "larger": facts.larger_size}.get(kind)
    return made["lora"].price * size / max(1.0, facts.parameters) if size and "lora" in made else 0.0


def _option(kind: Kind, known: Rules, facts: Facts, made: Made | None) -> Option:
    mine, limits, words = known.options[kind], known.figures(), known.words(facts)
    decided = _deciding(kind, known, facts)
    further = [rule for rule in mine.rules if rule.standing is None and holds(rule.when, facts, limits)]
    standing = decided.standing or "not now"
    return Option(
        kind=kind,
        title=(decided.title or mine.title).format_map(words),
        standing="good" if standing == "best" else standing,
        reasons=tuple(_reason(rule, known, words) for rule in (decided, *further)),
        changes=tuple(text.format_map(words) for text in decided.changes),
        cost=_cost(made, facts) or (decided.cost or mine.cost).format_map(words),
        training=made.training if made else None,
        serving=made.serving if made else None,
        fits=made.fits if made else (),
        plan=made.plan if made else None,
    )


def _reason(rule: Rule, known: Rules, words: Mapping[str, str]) -> Reason:
    return Reason(text=rule.reason.format_map(words), rule=rule.id, source=known.source(rule))


def _cost(made: Made | None, facts: Facts) -> str:
    """One line for a card, where something is trained."""
    if made is None or made.training is None:
        return ""
    minutes = max(1, round(made.training.seconds.total / 60))
    return (
        f"about {minutes} minute{'s' if minutes != 1 else ''} on {facts.machine}, {made.training.tokens:,} training "
        f"tokens, {made.training.memory.total:.1f} GB"
    )


def _conflicts(known: Rules, facts: Facts) -> tuple[Conflict, ...]:
    words, limits = known.words(facts), known.figures()
    return tuple(
        Conflict(
            told=rule.told.format_map(words),
            nearest=rule.nearest.format_map(words),
            change={key: _value(value, facts) for key, value in rule.change.items()},
        )
        for rule in known.conflicts
        if holds(rule.when, facts, limits)
    )


def _value(value: Any, facts: Facts) -> Any:
    """What to set: a plain value, or with "=" before it the fact of that name."""
    return getattr(facts, value[1:]) if isinstance(value, str) and value.startswith("=") else value
