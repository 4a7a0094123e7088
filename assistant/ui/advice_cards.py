"""The advice on the screen: what contradicts itself, what is advised and what that takes, and all other options.

Owns this HTML and the keys that its buttons send back. Refuses to advise and to carry out what a button asks for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from html import escape

from assistant import advice_words as words
from assistant.advice.records import Advice, Conflict, Option, Reason
from assistant.advice_words import Share
from assistant.project import Stage
from assistant.ui import html
from assistant.ui.findings import LISTEN
from prompts.errors import DataError
from trainers.estimating.records import Fit, ServingEstimate, TrainingEstimate
from trainers.plan import TrainingPlan

# What a person opened stays open when cards are drawn anew, also where these come in another order: Gradio makes new
# HTML out of the elements that are there, by their places.
LISTEN_AND_KEEP_OPEN = (
    LISTEN
    + """
const opened = new Set();
element.addEventListener('click', (event) => {
  const fold = event.target.closest('summary')?.closest('details[data-fold]');
  if (fold) fold.open ? opened.delete(fold.dataset.fold) : opened.add(fold.dataset.fold);
});
const keep = () => element.querySelectorAll('details[data-fold]').forEach((fold) => {
  if (fold.open !== opened.has(fold.dataset.fold)) fold.open = !fold.open;
});
new MutationObserver(keep).observe(element, {
  childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ['class', 'data-fold'],
});
"""
)
_AWAY = ("not now", "impossible")
_REASONS = 3  # that a glance takes in
_GO: dict[str, tuple[Stage, str]] = {
    "data": ("Data", "Go to the data"),
    "prompt": ("Prompt", "Work on the prompt"),
}


def verdict(advice: Advice, now: TrainingPlan | None, memory_gb: float) -> str:
    """What contradicts itself, then the advised option with its reasons and all that it takes.

    `now` is the plan that Start will follow; `memory_gb` what the machine has.
    """
    return "".join(map(_conflict, advice.conflicts)) + _advised(advice, now, memory_gb)


def others(advice: Advice, now: TrainingPlan | None, memory_gb: float) -> str:
    """The other options by standing, each closed to a line; those that do not suit now together, below."""
    rest = [option for option in advice.options if option is not advice.best]
    near = [option for option in rest if option.standing not in _AWAY]
    away = [option for option in rest if option.standing in _AWAY]
    shown = "".join(_card(one, now, memory_gb) for one in near)
    if shown:
        shown = html.heading("Other options, the better first") + shown
    if away:
        names = ", ".join(option.title.partition(":")[0] for option in away)
        summary = (
            f"<b>{len(away)} that do{'es' * (len(away) == 1)} not suit now, and why</b>"
            f'<span class="tw-opt-line"><span class="tw-opt-why">{escape(names)}</span></span>'
        )
        shown += _fold("away", summary, "".join(_card(one, now, memory_gb) for one in away), "tw-more tw-away")
    return shown


def saw(advice: Advice) -> str:
    """The facts that the rules saw."""
    cells = "".join(
        f'<div><span class="tw-name">{escape(name)}</span><b>{escape(value)}</b></div>' for name, value in advice.facts
    )
    return f'<div class="tw-saw">{cells}</div>'


# What a button asks for


def plan_for(advice: Advice, key: str) -> Option:
    """The option whose plan a button names. Raises `DataError` where the advice is another one by now."""
    for option in advice.options:
        if option.plan is not None and key == _plan_key(option.plan):
            return option
    raise DataError("The advice has changed since this was shown.", hint="Look at the options once more, then choose.")


def conflict_for(advice: Advice, key: str) -> Conflict:
    """The conflict that a button names. Raises `DataError` where it is gone."""
    for conflict in advice.conflicts:
        if key == _conflict_key(conflict):
            return conflict
    raise DataError("This contradiction is not there any more.", hint="Look at the advice once more.")


def _plan_key(plan: TrainingPlan) -> str:
    return f"plan:{_digest(plan.model_dump_json())}"


def _conflict_key(conflict: Conflict) -> str:
    return f"conflict:{_digest(conflict.model_dump_json())}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# The advised option


def _advised(advice: Advice, now: TrainingPlan | None, memory_gb: float) -> str:
    option = advice.best
    reasons = words.reasons(advice, option)
    return (
        f'<div class="tw-card tw-best tw-verdict" data-kind="{escape(option.kind)}">'
        f'<div class="tw-head"><span class="tw-verdict-title">{escape(option.title)}</span>'
        f'<span class="tw-badge tw-advised">advised</span></div>'
        f"{_score(option)}{_why(reasons[:_REASONS])}"
        f"{_takes(option, memory_gb)}"
        f"{_sure(advice)}"
        f'<div class="tw-acts">{_use(option, now)}{_go(option)}{_start(option, now)}</div>'
        f"{_more(option, reasons[_REASONS:], memory_gb)}</div>"
    )


def _sure(advice: Advice) -> str:
    sure = words.how_sure(advice)
    return f'<div class="tw-sure"><b>How sure?</b> {escape(sure)}</div>' if sure else ""


def _takes(option: Option, memory_gb: float) -> str:
    """The figures of the training, the large ones first, and memory by its parts."""
    training = option.training
    if training is None:
        return f'<div class="tw-cost">{escape(option.cost)}</div>' if option.cost else ""
    figures = html.tiles([*words.takes(training), *list(_answering(option.serving))])
    return figures + _memory(training, memory_gb)


def _answering(serving: ServingEstimate | None) -> list[tuple[str, str]]:
    return [("one answer takes", words.time_of(serving.seconds_per_answer))] if serving else []


def _more(option: Option, reasons: Sequence[Reason], memory_gb: float) -> str:
    """What a glance does not need: further reasons, what would change the advice, all figures."""
    body = _why(reasons) + _changes(option) + _figures(option, memory_gb, with_training_memory=False)
    if not body:
        return ""
    return _fold(f"best:{option.kind}", "<span>What would change this, and all figures</span>", body, "tw-more")


# The others


def _card(option: Option, now: TrainingPlan | None, memory_gb: float) -> str:
    standing = words.STANDINGS[option.standing]
    kind = option.standing.replace(" ", "-")
    why = option.reasons[0].text if option.reasons else ""
    summary = (
        f'<span class="tw-opt-head"><span class="tw-opt-title">{escape(option.title)}</span>'
        f'<span class="tw-badge tw-{kind}">{escape(standing)}</span></span>'
        f'<span class="tw-opt-line"><span class="tw-opt-why">{escape(why)}</span>'
        f"<span>{escape(_short(option))}</span></span>"
    )
    longer = "" if option.training or option.cost == words.short_cost(option) else option.cost
    cost = f'<div class="tw-cost">{escape(longer)}</div>' if longer else ""
    body = (
        f"{_score(option)}{_why(option.reasons)}{cost}{_changes(option)}{_figures(option, memory_gb)}"
        f'<div class="tw-acts">{_use(option, now)}{_go(option)}</div>'
    )
    return _fold(option.kind, summary, body, f"tw-option tw-is-{kind}")


def _short(option: Option) -> str:
    """An option in a few figures: its score where trials found one, else what it costs."""
    if found := option.measured:
        return f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%})"
    return words.short_cost(option)


def _fold(key: str, summary: str, body: str, kind: str) -> str:
    return (
        f'<details class="{kind}" data-fold="{escape(key)}"><summary>{summary}</summary>'
        f'<div class="tw-fold-body">{body}</div></details>'
    )


# Parts of a card


def _why(reasons: Sequence[Reason]) -> str:
    if not reasons:
        return ""
    return f'<ul class="tw-why">{"".join(f"<li>{escape(one.text)}{_source(one.source)}</li>" for one in reasons)}</ul>'


def _source(source: str) -> str:
    """Where a reason comes from, small; what is an address of it can be opened."""
    if not source:
        return ""
    said, address = words.address_of(source)
    told = escape(source)
    if address:
        link = f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(said)}</a>'
        told = told.replace(escape(said), link, 1)
    return f' <span class="tw-source">{told}</span>'


def _changes(option: Option) -> str:
    if not option.changes:
        return ""
    lines = "".join(f"<li>{escape(change)}</li>" for change in option.changes)
    return f'<div class="tw-sub">What would change this</div><ul class="tw-why">{lines}</ul>'


def _score(option: Option) -> str:
    """What trials measured, as a bar with its interval."""
    found = option.measured
    if found is None:
        return ""
    title = "Measured in trials" if found.tried_in_full else "Expected from trials"
    return html.intervals([(title, found.value, found.low, found.high, words.measured(option))])


def _memory(training: TrainingEstimate, memory_gb: float) -> str:
    needed, shares = training.memory.total, words.memory_shares(training.memory)
    told = f"{words.size_of(needed)} of the {words.size_of(memory_gb)} that this machine has"
    if not training.fits:
        told = f"{words.size_of(needed)}, more than the {words.size_of(memory_gb)} that this machine has"
    return _stack("Memory", told, shares, max(needed, memory_gb), fits=training.fits)


def _stack(title: str, told: str, shares: Sequence[Share], whole: float, *, fits: bool = True) -> str:
    """Parts side by side in one bar, against the whole that there is, with a key below."""
    cells = "".join(
        f'<div class="tw-share tw-share-{n}" style="width:{100 * one.figure / whole:.2f}%" '
        f'title="{escape(one.name)}: {escape(one.told)}"></div>'
        for n, one in enumerate(shares)
    )
    key = "".join(
        f'<span><i class="tw-share-{n}"></i>{escape(one.name)} <b>{escape(one.told)}</b></span>'
        for n, one in enumerate(shares)
    )
    return (
        f'<div class="tw-stack{"" if fits else " tw-too-large"}"><div class="tw-words"><span>{escape(title)}</span>'
        f"<span>{escape(told)}</span></div>"
        f'<div class="tw-track">{cells}</div><div class="tw-stack-key">{key}</div></div>'
    )


def _figures(option: Option, memory_gb: float, *, with_training_memory: bool = True) -> str:
    """What training and answering take, in full, and on which cards the training would fit."""
    found = ""
    if training := option.training:
        if with_training_memory:
            found += '<div class="tw-sub">To train</div>' + html.tiles(words.takes(training))
            found += _memory(training, memory_gb)
        shares = words.time_shares(training.seconds)
        if len(shares) > 1:
            found += _stack("Time", words.time_of(training.seconds.total), shares, training.seconds.total)
        found += f'<div class="tw-cost">{escape(words.how_sure_of(training))} On {escape(training.machine)}.</div>'
    if serving := option.serving:
        found += '<div class="tw-sub">To answer, once it is done</div>' + html.tiles(words.serves(serving))
    return found + _chips(option.fits)


def _chips(fits: Sequence[Fit]) -> str:
    """Which common sizes of a graphics card the training would fit on."""
    sizes = words.fitting(fits)
    if not sizes:
        return ""
    cells = "".join(
        f'<span class="{kind}" title="{escape(told)}">{mark} {size} GB</span>'
        for size, fits_on, told in sizes
        for kind, mark in [("tw-chip tw-fits", "✓") if fits_on else ("tw-chip", "✗")]
    )
    return f'<div class="tw-chips"><span>Training fits on a card of</span>{cells}</div>'


def _use(option: Option, now: TrainingPlan | None) -> str:
    """The button that makes an option's plan the project's, or the word that it is."""
    if option.plan is None or option.standing == "impossible":
        return ""
    if words.same_training(option.plan, now):
        return '<span class="tw-is-plan">✓ Training follows this plan</span>'
    kind = "tw-act tw-act-main" if option.advised else "tw-act"
    return f'<button type="button" class="{kind}" data-key="{_plan_key(option.plan)}">Use this plan</button>'


def _start(option: Option, now: TrainingPlan | None) -> str:
    """The way on, where the advised plan is the one that is followed."""
    if option.plan is None or not words.same_training(option.plan, now):
        return ""
    told = "Go on to training" if option.plan.strategy.trains else "Go on: have it measured"
    return f'<button type="button" class="tw-act tw-act-main" data-key="go:Train">{told}</button>'


def _go(option: Option) -> str:
    """A way to the panel where an option without training is carried out."""
    if option.kind not in _GO:
        return ""
    stage, told = _GO[option.kind]
    return f'<button type="button" class="tw-act" data-key="go:{stage}">{told}</button>'


def _conflict(conflict: Conflict) -> str:
    change = words.change_of(conflict)
    button = (
        f'<button type="button" class="tw-act" data-key="{_conflict_key(conflict)}" '
        f'title="{escape(change)}">Change it: {escape(change)}</button>'
        if change
        else ""
    )
    return (
        f'<div class="tw-finding tw-warning tw-conflict"><div class="tw-head"><span>{escape(conflict.told)}</span>'
        f'<span class="tw-badge tw-warning">cannot both be</span></div>'
        f'<div class="tw-row"><div>{escape(conflict.nearest)}</div>{button}</div></div>'
    )
