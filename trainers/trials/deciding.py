"""What the trials prove: which option is best by what it promises, which cannot be told from it, and which is advised.

Owns the rule and its sentences. Refuses to draw curves (`curves`).

Two candidates are alike where it is less than three to two that the better one is better by more than a point; of
these the cheapest is advised, and of what costs the same, to a hundredth, what promises most: two ranks of LoRA differ
by a thousandth. Chosen by simulation (`python -m benchmarks.trials`: 500 invented worlds of each size, six options with
prices as they were here, trials at 20 to 28 % of the cost of all in full): the mean regret against the best run of all
is 6.6, 5.3, 4.6, 2.0 and 1.8 points with 12, 24, 40, 100 and 300 rows; always the cheapest to the last second lost 7.1,
5.8, 5.0, 2.5 and 2.2 (300 worlds), always what promises most loses 7.4, 5.5, 4.6, 1.9 and 1.6. The cheapest of what
a test at the usual 5 % calls alike loses 8.2 over all (80 worlds each, other prices): with so few rows it calls almost
everything so. About one point of each is chance between two runs of one option, which no trial can foresee.

Where fewer than 12 rows could be asked at all, what is advised without trials stands, unless another is almost surely
better: on eight rows a wording came out ahead of a LoRA with 96 % probability, which then was right on 96 % of new rows
against the wording's 64 % (benchmarks/advice.py, `tiny`). In the worlds of 12 rows and of 16, where the option that is
best on average in others is expected, this lowers the regret from 6.6 and 6.5 points to 5.1 and 5.4 (by 1.5 +- 0.9 and
1.2 +- 0.9); from 20 rows on nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainers.trials.curves import Drawn, draw, points
from trainers.trials.portions import part_told
from trainers.trials.records import Candidate, Decision, Promise, TrialOrder, Tried

_MARGIN = 0.01  # a point is nothing that a person would pay for
_SURE = 0.6
_FEW, _SURE_ON_FEW = 12, 0.99
_AS_CHEAP = 1.01  # two ranks of LoRA lie nearer
_LOST = 0.8  # how probable it must be that the prompt alone is better, to say that something did not pay
_NOTABLE, _LITTLE = 0.02, 0.01  # what twice the rows gain, in shares
_BY_HEART = 0.05  # nats a token: every answer learned from comes with a probability of 95 %
_STILL_FALLS = 0.25  # of the loss, from the last epoch but one to the last


def decide(order: TrialOrder, tried: Sequence[Tried], train_rows: int) -> Decision:
    """The decision from all that was tried, also of trials that were stopped early; `train_rows` are all of them.

    Raises ValueError where nothing was tried that has scores.
    """
    drawn = draw(order.candidates, tried)
    known = {one.key: one for one in order.candidates}
    best = drawn.ranked[0]
    stands = order.expected if _stands(order.expected, best, drawn, tried) else ""
    alike = tuple(key for key in drawn.ranked if key in (best, stands) or drawn.better(best, key, _MARGIN) < _SURE)
    advised = stands or _cheapest(alike, known, drawn)
    telling = _Telling(known, tuple(tried), drawn, train_rows)
    return Decision(
        advised=advised,
        best=best,
        alike=alike,
        sentence=telling.standing(stands, best, alike)
        if stands and len(alike) > 1
        else telling.sentence(advised, best, alike),
        told=tuple(telling.further(advised)),
        promises=tuple(drawn.promise(key) for key in drawn.ranked),
    )


def _cheapest(alike: Sequence[str], known: dict[str, Candidate], drawn: Drawn) -> str:
    """The cheapest; of what costs as good as the same, what promises most."""
    least = min(known[key].price for key in alike)
    return min(
        (key for key in alike if known[key].price <= _AS_CHEAP * least),
        key=lambda key: (-round(drawn.mean(key), 3), known[key].price),
    )


def _stands(expected: str, best: str, drawn: Drawn, tried: Sequence[Tried]) -> bool:
    """Whether so few rows were asked that what is advised without trials stays advised, whatever promises more."""
    if expected not in drawn.keys or len(_asked(tried)) >= _FEW:
        return False
    return expected == best or drawn.better(best, expected) < _SURE_ON_FEW


def _asked(tried: Sequence[Tried], key: str = "") -> set[int]:
    """The rows that a candidate was asked on whatever portion; without a key those that any was."""
    return {row for one in tried if not key or one.tried.key == key for row in one.scores}


class _Telling:
    """The sentences of a decision."""

    def __init__(self, known: dict[str, Candidate], tried: tuple[Tried, ...], drawn: Drawn, rows: int) -> None:
        self.known, self.tried, self.drawn, self.rows = known, tried, drawn, rows

    def sentence(self, advised: str, best: str, alike: Sequence[str]) -> str:
        """What is advised, and why that and nothing else."""
        own, promise = self._title(advised), self._promised(advised)
        others = [key for key in self.drawn.ranked if key != advised]
        if not others:
            return f"Only {own} could be tried: {promise}. There is nothing to compare it with."
        if advised != best:
            n = self._shared(advised, best)
            told = (
                f"{own} ({promise}) and {self._title(best)} ({self._promised(best)}) cannot be told apart on {n} rows"
            )
            told = f"{told}, so the cheaper one is advised: {own}."
        elif len(alike) > 1:
            n, names = self._shared(best, alike[1]), self._others(alike, best)
            told = f"{own} promises most, {promise}, and what cannot be told from it on {n} rows is no cheaper"
            told = f"{told} ({names})."
        else:
            second = others[0]
            sure = _chances(self.drawn.better(best, second))
            told = f"{self._of_tried(own)} is best: it promises {promise}, "
            told = f"{told}{self._title(second)} {self._promised(second)}; {sure}"
            told = f"{told}, by {self._shared(best, second)} rows that both were asked."
        return f"{told}{self._no_training(advised)}"

    def standing(self, stands: str, best: str, alike: Sequence[str]) -> str:
        """What is advised where too few rows were asked to overrule it, or to prefer a cheaper one."""
        n, own = len(_asked(self.tried)), self._title(stands)
        told = f"{self._title(best)} promises most, {self._promised(best)}"
        if stands == best:
            return f"{told}, and is what such data speak for; {n} rows cannot tell it from {self._others(alike, best)}."
        return (
            f"{told}, but {n} rows are too few to overrule what such data speak for: {own} stays advised "
            f"({self._promised(stands)} here). With {_FEW} rows or more to ask, the trials would decide."
        )

    def _shared(self, first: str, second: str) -> int:
        """The rows that both were asked."""
        return len(_asked(self.tried, first) & _asked(self.tried, second))

    def _others(self, keys: Sequence[str], but: str) -> str:
        return _listed([self._title(key) for key in keys if key != but])

    def _no_training(self, advised: str) -> str:
        """What is to be said where what is advised needs none, though something was trained."""
        candidate = self.known[advised]
        if candidate.trains or not any(self._trains(key) for key in self.drawn.keys):
            return ""
        if candidate.plan.strategy.type == "prompt" and not candidate.wordings:
            return " Nothing that was tried beats the prompt: do not fine-tune."
        return " Nothing that was trained beats it: do not fine-tune."

    def further(self, advised: str) -> Iterator[str]:
        """What else the trials say."""
        learner = next((key for key in (advised, *self.drawn.ranked) if self._trains(key)), None)
        if learner:
            yield from self._of_rows(learner)
            yield from self._of_epochs(learner)
        yield from self._did_not_pay(advised)
        yield from self._not_tried()

    def _of_rows(self, key: str) -> Iterator[str]:
        """Whether more data would help."""
        seen = points(self.tried, key)
        title = self._title(key)
        if key not in self.drawn.exponents:
            return
        if len(seen) < 2:
            yield (
                f"{title} was tried on {part_told(seen[0].portion)} alone: how it goes on to all {self.rows} is "
                "taken from how such curves usually go."
            )
            return
        gain, low, high = self.drawn.doubled(key)
        figures = f"{gain * 100:+.0f} points ({low * 100:+.0f} to {high * 100:+.0f})"
        if gain >= _NOTABLE and low > 0:
            yield f"More data would help: twice the rows promise {title} {figures}."
        elif high < _NOTABLE or gain < _LITTLE:
            yield f"More data would hardly help: twice the rows promise {title} {figures}."
        else:
            yield f"Whether more data would help is open: twice the rows promise {title} {figures}."

    def _of_epochs(self, key: str) -> Iterator[str]:
        """Whether more epochs would help, by the loss of the try on most rows."""
        own = [one for one in self.tried if one.tried.key == key and len(one.losses) > 1]
        if not own:
            return
        *_, before, last = max(own, key=lambda one: one.tried.portion).losses
        title = self._title(key)
        if last <= _BY_HEART:
            yield f"More epochs would not help: {title} knows by heart what it learned from (loss {last:.2f})."
        elif last <= (1 - _STILL_FALLS) * before:
            yield f"More epochs may help: in the last one {title}'s loss still fell from {before:.2f} to {last:.2f}."
        else:
            yield f"More epochs would hardly help: {title}'s loss has come to rest ({before:.2f}, then {last:.2f})."

    def _did_not_pay(self, advised: str) -> Iterator[str]:
        prompts = [key for key in self.drawn.ranked if self.known[key].plan.strategy.type == "prompt"]
        if not prompts:
            return
        best = prompts[0]
        lost = [key for key in self.drawn.ranked if self._trains(key) and self.drawn.better(best, key) >= _LOST]
        if lost and advised not in lost:  # it stands where too few rows were asked to say so
            names = _listed([f"{self._title(key)} ({self._promised(key)})" for key in lost])
            yield f"What did not pay: {names}, beside {self._promised(best)} by the prompt alone ({self._title(best)})."

    def _not_tried(self) -> Iterator[str]:
        untried = []
        for key in self.known:
            if key not in self.drawn.keys:
                why = next((one.failed for one in self.tried if one.tried.key == key and one.failed), "")
                if why:
                    yield f"{self._title(key)} could not be tried: {why}"
                else:
                    untried.append(self._title(key))
        if untried:
            yield f"Not tried: {_listed(untried)}."

    def _of_tried(self, title: str) -> str:
        """A title, with what it is best of where not all were tried."""
        return title if len(self.drawn.keys) == len(self.known) else f"Of what was tried, {title}"

    def _title(self, key: str) -> str:
        return self.known[key].title

    def _trains(self, key: str) -> bool:
        return self.known[key].trains

    def _promised(self, key: str) -> str:
        return figures_of(self.drawn.promise(key))


def figures_of(promise: Promise) -> str:
    """A promise in figures: "82 % (71 to 90 %)", as elsewhere without blanks."""
    return f"{promise.value:.0%} ({promise.low:.0%} to {promise.high:.0%})"


def _chances(probability: float) -> str:
    """How probable it is that the first is better, without claiming certainty that some hundred rows cannot give."""
    if probability > 0.99:
        return "that it is better is more than 99% probable"
    return f"that it is better is {probability:.0%} probable"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
