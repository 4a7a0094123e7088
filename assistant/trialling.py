"""What can be tried for a project: the prompt alone, a refined prompt, examples, prompt tuning, LoRA, a meta-learned
start.

Owns which options there are, each with the figures of the advised plan, and why others cannot be tried here. Refuses to
run them (`trainers.trials`), and to say which is best.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assistant.advice.advise import advise
from assistant.advice.costs import cost_of, price, serving_of
from assistant.advice.evidence import kind_of
from assistant.advice.plans import advised_plan
from assistant.advice.records import Option
from assistant.advice.situation import Situation
from prompts.errors import DataError, PromptError, TunewrightError
from prompts.metrics import metric_for
from prompts.versions import PromptVersion
from trainers.checking import check_plan
from trainers.data import normal
from trainers.estimating.records import TrainingEstimate
from trainers.objectives import SftObjective
from trainers.plan import TrainingPlan
from trainers.strategies import (
    AnyStrategy,
    FewShotStrategy,
    LoraStrategy,
    MetaLoraStrategy,
    PromptStrategy,
    PromptTuningStrategy,
)
from trainers.trials.records import Candidate, Tried

FEWEST = 6  # training and dev rows: fewer tell no two options apart, whatever the budget; chosen by us
_SHOWN, _SHOWN_MORE = 4, 8  # solved examples
_MORE_ROWS = 24  # from here on, twice as many examples are tried too
_HIGHER = 4  # times the usual rank
_WAYS, _SHOTS = 5, 4  # labels and examples a label of an episode, at most: `MetaLoraStrategy`'s usual ones
# Seconds that a new wording or a higher rank costs more at least: what promises the same stays with the simpler one.
_CHANGE = 1.0
REFINED = "refined"


@dataclass(frozen=True)
class Options:
    """What can be tried, and by its title why something else cannot be.

    `expected` is the key of the one that the rules advise, empty where that is none of them. `memory_gb` is the most
    that a try is expected to hold, `seconds` what running all options in full would take.
    """

    candidates: tuple[Candidate, ...]
    left_out: dict[str, str]
    expected: str = ""
    memory_gb: float = 0.0
    seconds: float = 0.0


def candidates_for(situation: Situation, *, wordings: Sequence[PromptVersion] = ()) -> tuple[Candidate, ...]:
    """The options that can be tried here. `wordings` are further prompts for the search of a better one.

    Raises `DataError` and `PromptError` where nothing can be tried at all.
    """
    return options_for(situation, wordings=wordings).candidates


def options_for(situation: Situation, *, wordings: Sequence[PromptVersion] = ()) -> Options:
    """The same, with what is left out and why."""
    _check(situation)
    tried: dict[str, _Tryable] = {}
    left_out: dict[str, str] = {}
    for key, title, strategy in _ways(situation, left_out):
        try:
            tried[key] = _tryable(situation, key, title, strategy)
        except TunewrightError as error:
            left_out[title] = str(error)
    found = _higher_ranks_last({key: one.candidate for key, one in tried.items()})
    if refined := _refined(situation, wordings, found.get("prompt")):
        found = {"prompt": found["prompt"], REFINED: refined, **found}
    elif "prompt" in found:
        left_out["A refined prompt"] = "There is no other wording than yours to try."
    advised = advise(situation.model_copy(update={"decision": None, "candidates": ()})).best
    return Options(
        candidates=_on_same_rows(_likeliest_first(found.values(), advised)),
        left_out=left_out,
        expected=standing_for(advised, tuple(found.values())),
        memory_gb=max((one.estimate.memory.total for one in tried.values()), default=0.0),
        seconds=sum(one.estimate.seconds.total for one in tried.values()),
    )


def _check(situation: Situation) -> None:
    """Raise what makes any trial impossible."""
    project, splits = situation.project, situation.splits
    if project.data is None or splits is None or situation.profile is None:
        raise DataError("There is no data, so that nothing can be tried.", hint="Bring rows with answers first.")
    if project.prompt is None:
        raise PromptError("There is no prompt yet.", hint="Tell the task first, or write one in the Prompt panel.")
    if project.data.columns.shape in ("preference", "thumbs"):
        told = f"{project.data.name} says which answers people like, and not which answer is right"
        raise DataError(f"{told}: no option can be scored on it.", hint="Bring rows with one right answer each.")
    rows = len(splits.train) + len(splits.dev)
    if rows < FEWEST:
        told = f"beside the test rows there {_are(rows)} with an answer, too few to tell options apart"
        hint = f"Add rows until there are {FEWEST}: about ten in all, better some dozens."
        raise DataError(f"{project.data.name}: {told}.", hint=hint)


def _ways(situation: Situation, left_out: dict[str, str]) -> list[tuple[str, str, AnyStrategy]]:
    """Key, title and strategy of all that is tried beside the refined prompt: what trains nothing, then LoRA, which has
    won wherever we measured (benchmarks/strategies.py)."""
    splits = situation.splits
    assert splits is not None
    found: list[tuple[str, str, AnyStrategy]] = [("prompt", "Your prompt alone", PromptStrategy())]
    numbers = (_SHOWN, _SHOWN_MORE) if len(splits.train) >= _MORE_ROWS else (_SHOWN,)
    found += [(f"few_shot_{n}", f"{n} examples in the prompt", FewShotStrategy(examples=n)) for n in numbers]
    found += [(f"lora_{rank}", f"LoRA, rank {rank}", LoraStrategy(r=rank)) for rank in _ranks(situation)]
    found.append(("prompt_tuning", "Prompt tuning", PromptTuningStrategy()))
    if meta := _meta(situation, left_out):
        found.append(("meta_lora", MetaLoraStrategy.title, meta))
    return found


def _ranks(situation: Situation) -> tuple[int, ...]:
    """The usual rank of LoRA and a higher one, as far as the base's layers are wide enough."""
    strategy = advised_plan(situation, LoraStrategy(), SftObjective()).strategy
    assert isinstance(strategy, LoraStrategy)
    narrowest = min((min(shape) for shape in situation.base.shape.modules.values()), default=strategy.r * _HIGHER)
    higher = min(strategy.r * _HIGHER, narrowest)
    return (strategy.r, higher) if higher > strategy.r else (max(1, strategy.r // _HIGHER), strategy.r)


def _meta(situation: Situation, left_out: dict[str, str]) -> MetaLoraStrategy | None:
    """Episodes of the person's own labels, small enough for a portion of the rows; None where these are too few."""
    title = MetaLoraStrategy.title
    profile, splits = situation.profile, situation.splits
    assert profile is not None and splits is not None
    if not profile.labels:
        left_out[title] = "It learns from small tasks made of labels, and these answers are free text."
        return None
    inputs: defaultdict[str, set[str]] = defaultdict(set)
    for row in splits.train:
        inputs[row.output].add(normal(row.input))
    counts = sorted((len(found) for found in inputs.values()), reverse=True)
    ways = min(_WAYS, sum(count >= 2 for count in counts))
    if ways < 2:
        left_out[title] = (
            f"It needs two labels with two different training rows each; there {_are(ways)} of {len(counts)} labels."
        )
        return None
    return MetaLoraStrategy(ways=ways, shots=max(1, min(_SHOTS, counts[ways - 1] // 2)))


@dataclass(frozen=True)
class _Tryable:
    """An option, and what following its plan in full takes."""

    candidate: Candidate
    estimate: TrainingEstimate


def _tryable(situation: Situation, key: str, title: str, strategy: AnyStrategy) -> _Tryable:
    """An option with its plan and price. Raises a `TunewrightError` where it cannot be followed here."""
    plan = _bare(advised_plan(situation, strategy, SftObjective()), situation)
    assert situation.splits is not None
    check_plan(plan, situation.base, situation.compute, situation.splits)
    taken = cost_of(situation, plan).estimate
    if not taken.fits:
        told = f"It needs about {taken.memory.total:.1f} GB of memory, more than there is on {taken.machine}"
        raise DataError(f"{told}.", hint="Choose a smaller base model, or try it on a larger machine.")
    return _Tryable(Candidate(key=key, title=title, plan=plan, price=price(taken, serving_of(situation, plan))), taken)


def _higher_ranks_last(found: dict[str, Candidate]) -> dict[str, Candidate]:
    """Each rank of LoRA with a price above that of the lower one: where time sets the epochs, both fill it, and what
    promises the same should be the smaller adapter."""
    least = 0.0
    for key, one in found.items():
        if isinstance(one.plan.strategy, LoraStrategy):
            found[key] = one.model_copy(update={"price": max(one.price, least)})
            least = found[key].price + _CHANGE
    return found


def _likeliest_first(candidates: Iterable[Candidate], advised: Option) -> tuple[Candidate, ...]:
    """What trains nothing, then what the rules advise, then the others: a budget that ends early has then been spent on
    what most probably wins."""
    return tuple(sorted(candidates, key=lambda one: (one.trains, one.trains and kind_of(one.plan) != advised.kind)))


def standing_for(advised: Option, candidates: Sequence[Candidate]) -> str:
    """The key of the candidate that an option of the rules stands for: of its kind the one that is its own plan's, else
    the first; a better prompt where wordings are tried. Empty where no candidate is of its kind."""
    mine = [one for one in candidates if kind_of(one.plan) == advised.kind]
    refined = [one for one in mine if one.wordings]
    own = [one for one in mine if advised.plan and one.plan.strategy == advised.plan.strategy]
    return next((one.key for one in (*refined, *own, *mine)), "")


def _on_same_rows(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """All plans with one limit of rows, the highest that the time allows one that trains: else no two options could be
    compared."""
    limits = [candidate.plan.data.max_train_rows for candidate in candidates if candidate.trains]
    most = None if None in limits or not limits else max(limit for limit in limits if limit)
    return tuple(
        one.model_copy(
            update={
                "plan": one.plan.model_copy(update={"data": one.plan.data.model_copy(update={"max_train_rows": most})})
            }
        )
        for one in candidates
    )


def _bare(plan: TrainingPlan, situation: Situation) -> TrainingPlan:
    """The plan as it is tried: without probes, further arms on the test rows, and general rows.

    These keep what no trial looks at, and the base would have to write their answers for each try. `plans.in_full`
    puts back what is left out.
    """
    spec = situation.project.spec
    changes = {"probes": (), "prompts": {}, "few_shot": 0, "metric": metric_for(spec.output_format, spec.metric)}
    return plan.model_copy(
        update={
            "data": plan.data.model_copy(update={"general_rows": 0}),
            "evaluation": plan.evaluation.model_copy(update=changes),
        }
    )


def _refined(situation: Situation, wordings: Sequence[PromptVersion], own: Candidate | None) -> Candidate | None:
    """The search over wordings, the best measured version first; None where there is but the person's own."""
    if own is None:
        return None
    measured = sorted(situation.measured, key=lambda one: -(one.score.value if one.score else 0.0))
    versions = [*(one.version for one in measured), *wordings]
    others = {version.id: version for version in versions if version.id != own.plan.prompt.id}
    if not others:
        return None
    changes = {
        "key": REFINED,
        "title": f"The best of {len(others) + 1} wordings",
        "wordings": (own.plan.prompt, *others.values()),
        "price": own.price + _CHANGE,
    }
    return own.model_copy(update=changes)


def best_tried(tried: Sequence[Tried], key: str) -> list[Tried]:
    """What was tried of an option on its largest portion, over all folds; failures left out."""
    mine = [one for one in tried if one.tried.key == key and not one.failed and one.scores]
    most = max((one.tried.portion for one in mine), default=0.0)
    return [one for one in mine if one.tried.portion == most]


def with_wording(candidate: Candidate, tried: Sequence[Tried]) -> Candidate:
    """An option with the wording that was chosen for it on its largest portion, where there was a choice."""
    chosen = [one.prompt for one in best_tried(tried, candidate.key) if one.prompt]
    if not (candidate.wordings and chosen):
        return candidate
    return candidate.model_copy(update={"plan": candidate.plan.model_copy(update={"prompt": chosen[-1]})})


def _are(count: int) -> str:
    return f"{'is' if count == 1 else 'are'} {count}"
