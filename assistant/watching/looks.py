"""When inputs are looked at, and what was seen: so that looking every day makes no false alarm likelier.

Owns the schedule and the looks of a run. Whoever asks whether inputs have changed gets the looks that are due, and no
others: the first on the first 50 distinct requests, each later one on half as many again, all of them new. Look k has
the level 5 % / (k (k + 1)); these sum to 5 % over all looks, however many there will be (the union bound, as alpha
spending has it: Lan & DeMets 1983, https://doi.org/10.1093/biomet/70.3.659). Blocks follow from the requests alone and
not from when somebody asks, so asking more often changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from assistant.watching.drift import FEWEST, Drift, distinct, drift
from assistant.watching.log import Logged, RequestLog
from prompts.metrics import Score
from prompts.versions import DEFAULT_TEMPLATE, PromptVersion
from trainers.checks.personal import masked
from trainers.data import Example, normal
from trainers.paths import write_atomically

ALPHA = 0.05
_FIRST, _GROWTH = 50, 1.5

State = Literal["too few", "no change seen", "changed"]


class Look(BaseModel):
    """One block of new requests, from the first to the last, and what the test said of it."""

    model_config = ConfigDict(frozen=True)

    number: int
    since: datetime
    until: datetime
    level: float
    drift: Drift

    @property
    def alarm(self) -> bool:
        return self.drift.p_value <= self.level


class Looks(BaseModel):
    """All looks so far, and how many distinct requests wait of the `needed` for the next one.

    `elsewise` counts waiting requests that were not asked with the run's prompt, so that their input is not known; they
    are left out. `untestable` says why there can be no look at all. `time` is when somebody last asked for it.
    """

    model_config = ConfigDict(frozen=True)

    looks: tuple[Look, ...] = ()
    waiting: int = 0
    needed: int = _FIRST
    elsewise: int = 0
    untestable: str = ""
    time: datetime | None = None

    @property
    def state(self) -> State:
        """What the last look says, whatever earlier ones said."""
        if not self.looks:
            return "too few"
        return "changed" if self.looks[-1].alarm else "no change seen"

    @property
    def changed_since(self) -> datetime | None:
        """The first request of the first of the last looks that all saw a change; None where the last one saw none."""
        last = list(takewhile(lambda look: look.alarm, reversed(self.looks)))
        return last[-1].since if last else None

    @property
    def told(self) -> str:
        """In words, with the figures."""
        more = f"about {max(1, self.needed - self.waiting):,} more different requests"
        if self.time is None:
            return "Nobody has looked yet whether the inputs have changed."
        if self.untestable:
            return f"Whether the inputs have changed cannot be told: {self.untestable}"
        if not self.looks:
            return (
                f"Too few requests to tell whether the inputs have changed: {self.waiting:,} so far, {more} would do."
            )
        last, alarms = self.looks[-1], [look for look in self.looks if look.alarm]
        found = last.drift
        when = f"{last.since:%Y-%m-%d} to {last.until:%Y-%m-%d}"
        basis = f"look {last.number}, {found.requests:,} requests of {when} against {found.trained:,} training inputs"
        next_one = f"The next look is after {more}."
        if last.alarm:
            return f"The inputs are no longer like those that were trained on ({basis}): {strength(found)}. {next_one}"
        earlier = f" Look {alarms[-1].number} did see a change; this one does not." if alarms else ""
        return (
            f"No change of the inputs was seen ({basis}; in at most 1 of 20 runs does any look at all raise a false "
            f"alarm). A small change can be there all the same.{earlier} {next_one}"
        )


def strength(found: Drift) -> str:
    """How large the change is, in words."""

    def per_hundred(score: Score) -> str:
        return f"in {score.value * 100:.0f} of 100 pairs ({score.low * 100:.0f} to {score.high * 100:.0f})"

    return (
        f"a request is further from what was trained on than a training input is {per_hundred(found.stranger)}, and a "
        f"program tells one from the other {per_hundred(found.told_apart)}; without a change both are near 50"
    )


def block_size(number: int) -> int:
    """Distinct requests for look `number`, which counts from 1."""
    return int(_FIRST * _GROWTH ** (number - 1))


def level_of(number: int) -> float:
    """The p-value at which look `number` is an alarm."""
    return ALPHA / (number * (number + 1))


def kept_looks(log: RequestLog) -> Looks:
    """What was found out so far, nothing done anew."""
    try:
        return Looks.model_validate_json(_file(log).read_bytes())
    except (OSError, ValidationError):
        return Looks()


def look(log: RequestLog, prompt: PromptVersion, trained: Sequence[Example]) -> Looks:
    """Carry out the looks that are due, and keep them in the run. `trained` are the rows that were trained on."""
    kept = kept_looks(log).looks
    until = kept[-1].until if kept else None
    fresh = sorted((r for r in log.requests() if until is None or r.time > until), key=lambda request: request.time)
    known = [request for request in fresh if _is_known(request, prompt)]
    waiting = list(_first_of_each(known))
    old = distinct([masked(row.input) for row in trained]) if len(waiting) >= block_size(len(kept) + 1) else None
    untestable = ""
    while old is not None and len(waiting) >= (size := block_size(number := len(kept) + 1)):
        if len(old) < FEWEST:
            untestable = f"the run was trained on {len(old)} different inputs, and {FEWEST} are needed."
            break
        block = waiting[:size]
        found = drift(old, [text for _, text in block], level_of(number), seed=number)
        span = {"since": block[0][0].time, "until": block[-1][0].time}
        kept = (*kept, Look(number=number, level=level_of(number), drift=found, **span))
        # One that was asked in this block already is new again in the next.
        known = [request for request in known if request.time > block[-1][0].time]
        waiting = list(_first_of_each(known))
    looks = Looks(
        looks=kept,
        waiting=len(waiting),
        needed=block_size(len(kept) + 1),
        elsewise=sum(not _is_known(request, prompt) for request in fresh),
        untestable=untestable,
        time=datetime.now(UTC),
    )
    if log.folder.is_dir():
        write_atomically(_file(log), looks.model_dump_json(indent=1))
    return looks


def _is_known(request: Logged, prompt: PromptVersion) -> bool:
    """Whether its input is what was trained on, and no turn that holds more than that."""
    return bool(request.input.strip()) and (not request.whole_turn or prompt.template == DEFAULT_TEMPLATE)


def _first_of_each(requests: Sequence[Logged]) -> Iterator[tuple[Logged, str]]:
    """Each distinct input with the request that first had it; all masked, as the training inputs are."""
    seen: set[str] = set()
    for request in requests:
        text = request.input if request.masked else masked(request.input)
        if (key := normal(text)) not in seen:
            seen.add(key)
            yield request, text


def _file(log: RequestLog) -> Path:
    return log.folder / "looks.json"
