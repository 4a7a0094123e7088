"""What trials proved, put into the advice: it decides the first place, and the rules' reasons stay below.

Owns which option a tried candidate belongs to. Refuses to decide (that is `trainers.trials`).
"""

from __future__ import annotations

from assistant.advice.making import make
from assistant.advice.plans import in_full
from assistant.advice.records import Advice, Kind, Option, Reason, Standing
from assistant.advice.rules import rules
from assistant.advice.situation import Situation
from trainers.plan import TrainingPlan
from trainers.trials.records import Candidate, Decision, Promise

_KINDS: dict[str, Kind] = {
    "prompt": "prompt",
    "few_shot": "few_shot",
    "prompt_tuning": "prompt_tuning",
    "p_tuning": "prompt_tuning",
    "prefix_tuning": "prompt_tuning",
    "lora": "lora",
    "qlora": "lora",
    "meta_lora": "meta_lora",
    "full": "full",
}
RULE = "trials"


def kind_of(plan: TrainingPlan) -> Kind | None:
    """The option that a plan carries out; None for what is no option, such as an adapter from elsewhere."""
    return "preference" if plan.objective.compares else _KINDS.get(plan.strategy.type)


def with_evidence(advice: Advice, situation: Situation) -> Advice:
    """The advice with what trials say, where there were any: their choice first, each tried option with its figures."""
    decision = situation.decision
    if decision is None:
        return advice
    candidates = {one.key: one for one in situation.candidates}
    promises = {promise.key: promise for promise in decision.promises}
    chosen = candidates.get(decision.advised)
    kind = kind_of(chosen.plan) if chosen else None
    if chosen is None or kind is None or advice.of(kind) is None:
        return advice
    told = [decision.sentence, *decision.told]
    promise, enough = promises.get(chosen.key), rules().figures()["good_enough"]
    if promise and promise.value < enough and _was_left_out(advice.best.kind, situation, promises):
        kind = advice.best.kind
        told.append(f"{advice.best.title} was not tried and stays the advice; with more minutes it would be.")
    options = [
        _measured(option, _shown(option.kind, chosen, situation, promises), decision, promises, situation)
        for option in advice.options
    ]
    options.sort(key=lambda option: option.kind != kind)
    options[0] = options[0].model_copy(update={"standing": "advised"})
    return advice.model_copy(update={"options": tuple(options), "evidence": " ".join(told)})


def _was_left_out(kind: Kind, situation: Situation, promises: dict[str, Promise]) -> bool:
    """Whether an option could be tried, and the budget ended before it was: nothing speaks against it then."""
    mine = [one for one in situation.candidates if kind_of(one.plan) == kind]
    return bool(mine) and not any(one.key in promises for one in mine)


def _shown(kind: Kind, chosen: Candidate, situation: Situation, promises: dict[str, Promise]) -> Candidate | None:
    """The candidate that an option stands for: the chosen one, else the one of its kind that promises most."""
    if kind == kind_of(chosen.plan):
        return chosen
    mine = [one for one in situation.candidates if kind_of(one.plan) == kind and one.key in promises]
    return max(mine, key=lambda one: promises[one.key].value, default=None)


def _measured(
    option: Option,
    candidate: Candidate | None,
    decision: Decision,
    promises: dict[str, Promise],
    situation: Situation,
) -> Option:
    """An option with what its trial says; without one only its place may change."""
    lowered = option.model_copy(update={"standing": "good"}) if option.advised else option
    promise = promises.get(candidate.key) if candidate else None
    if candidate is None or (promise is None and candidate.key != decision.advised):
        return lowered
    reason = Reason(text=_told(candidate, promise, decision), rule=RULE, source="the trials on your own rows")
    found = make(situation, in_full(candidate.plan, situation))
    return lowered.model_copy(
        update={
            "title": candidate.title,
            "standing": _standing(option, candidate, decision),
            "reasons": (reason, *option.reasons),
            "measured": promise,
            "plan": found.plan,
            "training": found.training,
            "serving": found.serving,
            "fits": found.fits,
        }
    )


def _standing(option: Option, candidate: Candidate, decision: Decision) -> Standing:
    if candidate.key in decision.alike:
        return "good"
    return "possible" if option.standing in ("advised", "good") else option.standing


def _told(candidate: Candidate, promise: Promise | None, decision: Decision) -> str:
    if promise is None:
        return decision.sentence
    whole = "on all training rows" if promise.tried_in_full else "drawn on to all training rows"
    figure = f"{promise.value:.0%} ({promise.low:.0%} to {promise.high:.0%}), {whole}"
    if candidate.key == decision.advised:
        return f"Tried: {figure}. {decision.sentence}"
    alike = ", which cannot be told from the best" if candidate.key in decision.alike else ""
    return f"Tried: {figure}{alike}."
