"""How a served result is doing: its log, whether its inputs have changed, whether its answers fell, and what to do.

Owns putting that together and the advice. The advice follows from tests that were made for being looked at often:
it changes when a look or newly labelled rows change it, and not from day to day. Refuses to train.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict

from assistant.watching.labelled import Labelled, kept_labelled
from assistant.watching.log import Logged, RequestLog, WatchSettings
from assistant.watching.looks import Looks, kept_looks, look
from prompts.errors import RunError
from prompts.metrics import Score, summarize
from trainers.status import RunFolder

_FALL = 0.10  # the fall that labelled rows are to show, where there are none yet
_MANY_FAILED = 0.05
_FEWEST = 20  # requests, from which on their failures are worth a word

LIMITS = (
    "What was compared are texts: requests that look as before can be meant otherwise, and their right answers can "
    "have changed. Only labelled rows show whether answers are still right. Personal data is masked by its form; "
    "names and addresses are not."
)

Act = Literal["tune again", "label rows", "mend failures", "wait", "nothing"]


class Advice(BaseModel):
    """What to do about it, and why: each reason with its figures."""

    model_config = ConfigDict(frozen=True)

    act: Act
    told: str
    reasons: tuple[str, ...] = ()


class Traffic(BaseModel):
    """What the log holds. `failed` is the share of requests that failed or were cut off, None without any; `seconds`
    the median of those that did not. `per_day` has a row a day (UTC): day, requests, failed. `otherwise` counts those
    that were not asked with the run's prompt, and `reasons` the failures by what was said of them."""

    model_config = ConfigDict(frozen=True)

    requests: int = 0
    bytes: int = 0
    failed: Score | None = None
    seconds: float | None = None
    otherwise: int = 0
    per_day: tuple[tuple[str, int, int], ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()


class Watched(BaseModel):
    """All that is known of a served run."""

    model_config = ConfigDict(frozen=True)

    run: str
    settings: WatchSettings
    traffic: Traffic
    inputs: Looks
    labelled: Labelled | None = None
    advice: Advice
    limits: str = LIMITS


def watched(run: RunFolder, *, look_now: bool = True) -> Watched:
    """What is known of a run, looks that are due carried out first unless `look_now` is False.

    Raises `RunError` where the run has no result or its rows are gone.
    """
    if not run.has_result:
        raise RunError(f"{run.name} has no result that could be served.", hint="Choose a run that is done.")
    log, prompt = RequestLog(run), run.result_prompt()
    requests = list(log.requests()) if look_now else []
    inputs = look(log, prompt, run.split("train")) if requests else kept_looks(log)
    traffic, labelled, report = traffic_of(log, requests, prompt.id), kept_labelled(log), run.report()
    return Watched(
        run=run.id,
        settings=log.settings(),
        traffic=traffic,
        inputs=inputs,
        labelled=labelled,
        advice=advise(traffic, inputs, labelled, report.tuned if report else None),
    )


def traffic_of(log: RequestLog, requests: Sequence[Logged], prompt_id: str) -> Traffic:
    """Sums over the log; without `requests` only what is counted by day."""
    days = tuple((day, *counts) for day, counts in sorted(log.per_day().items()))
    count, failed = sum(day[1] for day in days), sum(day[2] for day in days)
    went_well = [request.seconds for request in requests if not request.error]
    return Traffic(
        requests=count,
        bytes=log.size(),
        failed=summarize([1.0] * failed + [0.0] * (count - failed)) if count else None,
        seconds=median(went_well) if went_well else None,
        otherwise=sum(request.prompt_id != prompt_id for request in requests),
        per_day=days,
        reasons=tuple(Counter(request.error for request in requests if request.error).most_common(3)),
    )


def advise(traffic: Traffic, inputs: Looks, labelled: Labelled | None, test: Score | None) -> Advice:
    """When to tune again. Changed inputs alone are no reason: answers may be as good on them. Labelled rows that are
    older than the change that was seen last do not speak about it."""
    reasons = [inputs.told] if traffic.requests or inputs.looks else []
    failing = traffic.failed is not None and traffic.failed.n >= _FEWEST and traffic.failed.low >= _MANY_FAILED
    changed = inputs.changed_since
    dated = changed is not None and labelled is not None and labelled.time < changed
    known = labelled if labelled and not dated else None
    if labelled:
        reasons = [labelled.told + (" That was before the inputs changed." if dated else ""), *reasons]
    if known and known.verdict == "fell":
        told = f"Tune again: add the {known.now.n:,} newly labelled rows to the data and start another run."
        return Advice(act="tune again", told=told, reasons=tuple(reasons))
    if failing and traffic.failed:
        why = "; ".join(f"{reason} ({count:,})" for reason, count in traffic.reasons)
        share = f"{traffic.failed} of the requests failed or were cut off{f': {why}' if why else ''}."
        told = "See why requests fail first; tuning again would not mend that."
        return Advice(act="mend failures", told=told, reasons=(share, *reasons))
    if known and known.verdict == "holds":
        return Advice(act="nothing", told="No need to tune again: the answers hold.", reasons=tuple(reasons))
    if changed:
        rows = (known and known.more) or rows_to_see(_FALL, test)
        told = (
            f"Label about {rows:,} of the newest requests before you tune again: the inputs have changed, and whether "
            "the answers have become worse is not known."
        )
        return Advice(act="label rows", told=told, reasons=tuple(reasons))
    if not inputs.looks and known is None:
        return Advice(act="wait", told="Wait: there is too little to go by.", reasons=tuple(reasons))
    return Advice(act="nothing", told="There is no reason to tune again.", reasons=tuple(reasons))


def rows_to_see(fall: float, test: Score | None) -> int:
    """About how many labelled rows show a fall of this size four times in five, rounded up to tens.

    By the normal approximation for two shares, the test rows' own interval counted; where that alone is wider than the
    fall, so many as there are test rows.
    """
    if test is None:
        return 100
    share = min(0.95, max(0.05, test.value - fall))
    room = (fall / (1.96 + 0.84)) ** 2 - share * (1 - share) / test.n
    rows = share * (1 - share) / room if room > 0 else test.n
    return max(30, math.ceil(min(rows, 10 * test.n) / 10) * 10)


def lines(found: Watched) -> list[str]:
    """The same for a terminal."""
    switch = "logged" if found.settings.log else "not logged (tunewright serve RUN --log, or the switch in the app)"
    masked = ", personal data masked" if found.settings.mask else ", personal data not masked"
    traffic = found.traffic
    told = [f"{found.run}: requests are {switch}{masked if found.settings.log else ''}."]
    if traffic.requests:
        took = f", {traffic.seconds:.2g} s in the middle" if traffic.seconds is not None else ""
        days = f"{traffic.per_day[0][0]} to {traffic.per_day[-1][0]}"
        told.append(
            f"requests: {traffic.requests:,} ({days}, {traffic.bytes / 1e6:.1f} MB); failed {traffic.failed}{took}"
        )
    if traffic.otherwise:
        told.append(f"{traffic.otherwise:,} were not asked with this run's prompt.")
    if found.inputs.elsewise:
        told.append(
            f"{found.inputs.elsewise:,} of the newest are left out: which part of them is the input is not known."
        )
    told += ["", found.advice.told, *(f"- {reason}" for reason in found.advice.reasons)]
    if found.inputs.looks and (seen := found.inputs.looks[-1]).drift.differences:
        title = "What has changed" if seen.alarm else "What differs most, though it may be chance"
        told += [
            "",
            f"{title} (look {seen.number}):",
            *(f"- {what}: {words}" for what, words in seen.drift.differences),
        ]
    return [*told, "", found.limits]
