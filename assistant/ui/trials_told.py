"""The trials in words and tables, as HTML: what will be tried, progress, the verdict, and each option's line.

Owns this wording and its escaping. Refuses to read files and to act.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from assistant.standing import GONE, Standing, State
from assistant.trialling import Options
from assistant.ui import html
from assistant.ui.trials_plot import colour
from prompts.errors import TunewrightError
from trainers.splits import Splits
from trainers.strategies import FewShotStrategy
from trainers.trials.folder import ENDED, TrialsFolder
from trainers.trials.portions import learned
from trainers.trials.records import Decision, TrialsStatus, Try

TITLE = "Try the options"
_WHAT = (
    "Runs them for real on growing parts of your training and dev rows, and stops those that can no longer win. The "
    "test rows stay sealed. It goes on if you close this page or the app."
)
_BADGES: dict[State, str] = {
    "advised": "tw-advised", "leading": "tw-good", "as good": "tw-tr-alike", "being tried": "tw-tr-now",
    "failed": "tw-lost",
}  # fmt: skip
_STATES = {
    "queued": "waits", "running": "trying", "done": "finished", "failed": "failed", "cancelled": "stopped",
}  # fmt: skip


def before(options: Options, base: str, splits: Splits) -> str:
    """What Start would do."""
    figures = [
        ("options, on " + base, str(len(options.candidates))),
        ("rows to learn from, and to check with", f"{len(splits.train):,} + {len(splits.dev):,}"),
        ("memory at most", f"{options.memory_gb:.1f} GB"),
        ("if all were run in full instead", html.duration(options.seconds)),
    ]
    chips = "".join(
        f'<span class="tw-tr-chip {colour(number)}"><i></i>{escape(candidate.title)}</span>'
        for number, candidate in enumerate(options.candidates)
    )
    return f'{_title("")}<p class="tw-tr-what">{_WHAT}</p><div class="tw-tr-chips">{chips}</div>' + (
        html.tiles(figures) + _left_out(options.left_out)
    )


def not_now(error: TunewrightError) -> str:
    """Why nothing can be tried, and what to do."""
    return f'{_title("")}<p class="tw-tr-what">{_WHAT}</p>{html.notes([("info", str(error))])}'


def to_be_fetched(base: str) -> str:
    """What is said where the base model is not on this machine yet."""
    told = f"{base} is not on this machine yet. Start fetches it first; what can be tried with it is known then."
    return f'{_title("")}<p class="tw-tr-what">{_WHAT}</p>{html.notes([("info", told)])}'


def _left_out(reasons: dict[str, str]) -> str:
    if not reasons:
        return ""
    lines = "".join(f"<li><b>{escape(title)}</b>: {escape(why)}</li>" for title, why in reasons.items())
    count = len(reasons)
    words = "1 option is left out" if count == 1 else f"{count} options are left out"
    return f'<details class="tw-where"><summary>{words}</summary><ul>{lines}</ul></details>'


def head(folder: TrialsFolder, status: TrialsStatus) -> str:
    """The title with how it stands, and what was ordered."""
    order = folder.order()
    spent = f"{html.duration(status.spent_seconds)} of {order.budget_minutes:g} min spent"
    where = f" on {order.cluster.address}" if order.cluster else ""
    told = f"{len(order.candidates)} options, {spent}{where}. The test rows stay sealed."
    return f'{_title(status.state)}<p class="tw-tr-what">{escape(told)}</p>'


def _title(state: str) -> str:
    kind = {"done": "tw-good", "failed": "tw-lost", "running": "tw-tr-now"}.get(state, "")
    badge = f'<span class="tw-badge {kind}">{_STATES[state]}</span>' if state else ""
    return f'<div class="tw-head tw-tr-title"><span>{TITLE}</span>{badge}</div>'


def progress(folder: TrialsFolder, status: TrialsStatus, rows: int | None) -> str:
    """What is being tried and how much time is left; after a failure, what it said last. `rows` are
    all training rows, where that is known."""
    if status.state == "failed":
        told = f"{status.message} {status.hint}".strip()
        tail = folder.log_tail(6)
        return html.notes([("error", told)]) + (html.rows_as_seen([tail]) if tail else "")
    if status.state in ENDED:
        return ""
    if status.state == "queued":
        return html.notes([("info", status.message or "Waits for its turn.")])
    left = html.duration(status.seconds_left or None)
    bar = html.progress(status.fraction, _doing(folder, status, rows), f"{left} left" if left else "ends with this")
    return bar + html.aside([("", status.message.partition(". ")[2] or status.message)])


def _doing(folder: TrialsFolder, status: TrialsStatus, rows: int | None) -> str:
    if status.doing is None:
        return "Preparing"
    return f"Trying {_name(folder, status.doing, rows)}"


def _name(folder: TrialsFolder, tried: Try, rows: int | None) -> str:
    """An option and how much of the rows it has."""
    title = next((one.title for one in folder.order().candidates if one.key == tried.key), tried.key)
    share = f"{tried.portion:.0%}" if rows is None else f"{learned(rows, tried.portion):,}"
    share = "all training rows" if tried.portion >= 1 else f"{share} of the {f'{rows:,} ' if rows else ''}training rows"
    again = f", part {tried.fold + 1}" if tried.fold else ""
    return f"{title}, on {share}{again}"


# After


def verdict(found: Sequence[Standing], status: TrialsStatus, decision: Decision | None, outdated: str) -> str:
    """What the trials prove, what follows, and the buttons; and whether it still holds."""
    changed = f"Since then {outdated} changed, so that this no longer counts for the advice. Try again to renew it."
    doubts = html.notes([("warning", changed)]) if outdated else ""
    if decision is None:
        return doubts + _undecided(status)
    advised = next((one for one in found if one.candidate.key == decision.advised), None)
    told = "".join(f"<li>{escape(sentence)}</li>" for sentence in decision.told)
    acts = _acts(advised, take=not outdated) if advised else ""
    return (
        f'{doubts}<div class="tw-card {"" if outdated else "tw-best"} tw-tr-verdict"><div class="tw-tr-sentence">'
        f"{escape(decision.sentence)}</div>{f'<ul>{told}</ul>' if told else ''}{acts}</div>"
    )


def _undecided(status: TrialsStatus) -> str:
    if status.state == "failed":
        return ""  # the progress says why
    return html.notes([("warning", f"{status.message or 'It ended'} Too little was tried to compare anything.")])


def _acts(advised: Standing, *, take: bool) -> str:
    use = f'<button type="button" class="tw-act tw-act-main" data-key="take:{escape(advised.candidate.key)}">' * take
    use += "Use this plan</button>" * take
    opened = (
        f'<button type="button" class="tw-act" data-key="open:{escape(advised.run)}">Open its run</button>'
        if advised.run
        else ""
    )
    return f'<div class="tw-acts">{use}{opened}</div>'


# The table


def table(found: Sequence[Standing], *, plan: bool) -> str:
    """A line an option; `plan` where its plan can be taken."""
    head_cells = "".join(f"<th>{name}</th>" for name in ("Option", "Score", "Rows", "Took", ""))
    rows = "".join(_row(one, plan=plan) for one in found)
    return (
        f'<div class="tw-scroll"><table class="tw-table tw-tr-table"><thead><tr>{head_cells}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(one: Standing, *, plan: bool) -> str:
    gone = " tw-tr-gone" if one.state in GONE else ""
    badge = f'<span class="tw-badge {_BADGES.get(one.state, "")}">{escape(one.state)}</span>'
    took = [html.duration(one.seconds), f"{one.memory_gb:.1f} GB"] if one.seconds else []
    cells = (
        f'<div class="tw-tr-name-cell"><i></i><div><b>{escape(one.candidate.title)}</b> {badge}</div></div>',
        _score(one),
        _learned(one),
        "<br>".join(took),
        _buttons(one, plan=plan),
    )
    kind = f"{colour(one.number)}{gone}"
    why = f'<tr class="{kind} tw-tr-reason"><td colspan="5">{escape(one.why)}</td></tr>' if one.why else ""
    return (
        f'<tr class="{kind}{" tw-tr-has-reason" if why else ""}" data-option="{escape(one.candidate.key)}" '
        f'data-state="{escape(one.state)}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>{why}'
    )


def _score(one: Standing) -> str:
    """The bar with its whiskers, the figures, and what is expected of all rows where that was not tried."""
    if one.last is None:
        return ""
    score, promise = one.last.score, one.promise
    whisker = f"left:{score.low:.1%};width:{max(0.0, score.high - score.low):.1%}"
    expected = mark = ""
    if promise and not promise.tried_in_full and one.state not in GONE:
        expected = (
            f'<div class="tw-tr-told">all rows: {promise.value:.0%} expected, {promise.low:.0%} to {promise.high:.0%}'
            "</div>"
        )
        mark = f'<i class="tw-tr-promise" style="left:{promise.value:.1%}"></i>'
    return (
        f'<div class="tw-tr-bar"><i class="tw-tr-fill" style="width:{score.value:.1%}"></i>'
        f'<i class="tw-tr-span" style="{whisker}"></i>{mark}</div>'
        f'<div class="tw-tr-told"><b>{score.value:.0%}</b> {score.low:.0%} to {score.high:.0%}, n={score.n}</div>'
        f"{expected}"
    )


def _learned(one: Standing) -> str:
    """Rows that it learned from or showed, and what part of all rows that is."""
    if one.last is None:
        return ""
    strategy = one.candidate.plan.strategy
    if isinstance(strategy, FewShotStrategy):
        return f"{min(strategy.examples, one.last.rows)} shown"
    if not one.candidate.trains:
        return "none"
    share = "all of them" if one.last.portion >= 1 else f"{one.last.portion:.0%} of all"
    return f'{one.last.rows:,} row{"s" * (one.last.rows != 1)}<div class="tw-tr-why">{share}</div>'


def _buttons(one: Standing, *, plan: bool) -> str:
    key = escape(one.candidate.key)
    use = f'<button type="button" class="tw-pick" data-key="take:{key}">Use</button>' if plan and one.points else ""
    opened = (
        f'<button type="button" class="tw-pick" data-key="open:{escape(one.run)}">Open run</button>' if one.run else ""
    )
    return use + opened
