"""Does it say training rows word for word where the base would not?

Owns which texts can show that, halving them, and the judgement. Refuses to know how a model is asked (`arm`). Never
imports torch.

After Carlini et al. 2022, "Quantifying memorization across neural language models"
(https://arxiv.org/abs/2202.07646): given a row up to a point, its rest comes greedily as it stands there. Much of a
text can be guessed by who knows the task well, so that rows that it never saw are asked as well: only what exceeds
these is memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trainers.data import Example, normal
from trainers.evaluation.curves import against_overfitting
from trainers.evaluation.gap import FEWEST, Gap, measure
from trainers.evaluation.probe import OnProgress, Probe, Subject
from trainers.evaluation.records import Case, Figure, Gate, Group, Part, Prediction

if TYPE_CHECKING:
    from trainers.evaluation.arm import Arm

# Half of it is some seven words, which nobody says alike by chance; of a label there would be nothing to go on with.
_LONG = 80
_READ = 600  # characters of a text; further in there is no more to be learned from it
_CASES = 5
GATE = "rows by heart"

Side = Literal["answer", "input"]


@dataclass(frozen=True)
class _Half:
    """A text's beginning as it is given, and the rest that must come."""

    row: int
    given: str
    rest: str


class MemorisationProbe(Probe):
    """Begins the answers of training rows and of unseen rows; where answers are too short, their inputs."""

    name: ClassVar[str] = "memorisation"
    title: ClassVar[str] = "Word for word"
    group: ClassVar[Group] = "overfitting"

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self.side: Side = "answer"
        self.seen: list[Example] = []
        self.unseen: list[Example] = []
        if not subject.plan.strategy.trains:
            return
        for side in ("answer", "input"):
            self.side = side
            seen, unseen = (list(_long(rows, side)) for rows in (subject.train, (*subject.dev, *subject.test)))
            known = {normal(_text(row, side)) for row in seen}
            self.seen = subject.sample(seen)
            self.unseen = subject.sample([row for row in unseen if normal(_text(row, side)) not in known])
            if min(len(self.seen), len(self.unseen)) >= FEWEST:
                break

    @property
    def _too_few(self) -> bool:
        return min(len(self.seen), len(self.unseen)) < FEWEST

    def ask(self, arm: Arm, on_progress: OnProgress) -> list[Any]:
        if self._too_few:
            return []
        texts = [self._begun(arm, row) for row in (*self.seen, *self.unseen)]
        found = arm.recall(texts, on_progress=on_progress)
        return [{"tokens": one.tokens, "recalled": one.recalled, "text": one.text} for one in found]

    def _begun(self, arm: Arm, row: Example) -> tuple[str, str]:
        """The chat up to the middle of the text, as the model reads it, and the rest of the text."""
        half = halved(row, self.side)
        turns = [message.model_dump() for message in arm.prompt.messages(row.input)]
        asks = self.side == "answer"
        chat = str(arm.tokenizer.apply_chat_template(turns, add_generation_prompt=asks, tokenize=False))
        if asks:
            return chat + half.given, half.rest
        at = chat.rfind(half.given)  # the last one: a solved example may have the same words
        return (chat[:at] if at >= 0 else "") + half.given, half.rest

    def judge(self, base: list[Any], tuned: list[Any], predictions: Sequence[Prediction]) -> Part:
        if self._too_few:
            return self._part("Nothing.", Gate(name=GATE, level="unknown", told=self._why))
        count = len(self.seen)
        by_base, by_tuned = ([float(0 < one["tokens"] == one["recalled"]) for one in said] for said in (base, tuned))
        whole = measure(by_base[:count], by_tuned[:count], by_base[count:], by_tuned[count:])
        shares = [[one["recalled"] / max(1, one["tokens"]) for one in said] for said in (base, tuned)]
        part = measure(shares[0][:count], shares[1][:count], shares[0][count:], shares[1][count:])
        hits = [i for i in range(count) if by_tuned[i] and not by_base[i]]
        asked = (
            f"Both models were given the first half of the {self.side} of {count} training rows and of "
            f"{len(self.unseen)} rows that none has seen, to go on with."
        )
        cases = tuple(self._case(i, base[i], tuned[i]) for i in hits[:_CASES])
        return self._part(asked, self._gate(whole, by_base, by_tuned, len(hits)), self._figures(whole, part), cases)

    def _gate(self, gap: Gap, base: list[float], tuned: list[float], hits: int) -> Gate:
        count, many = len(self.seen), len(self.unseen)
        told = f"It goes on word for word in {sum(tuned[:count]):.0f} of {count} training rows "
        told += f"(the base in {sum(base[:count]):.0f}) and in {sum(tuned[count:]):.0f} of {many} unseen rows "
        told += f"(the base in {sum(base[count:]):.0f}), a difference of {gap.told}."
        level = gap.level
        if level == "passed":
            why = "That is within chance, or the base says it too." if hits else "It knows none of them by heart."
            return Gate(name=GATE, level=level, told=f"{told} {why}")
        told += " It knows rows by heart: what stands in them can come out again, names and numbers included."
        plan = self.subject.plan
        return Gate(name=GATE, level=level, told=told, remedies=against_overfitting(plan, len(self.subject.train)))

    def _figures(self, whole: Gap, part: Gap) -> tuple[Figure, ...]:
        note = f"{whole.seen} training rows less {whole.unseen} unseen ones"
        named = (("Said word for word", whole), ("Share of the rest that comes as it was", part))
        return tuple(
            Figure(name=name, base=gap.base, tuned=gap.tuned, change=gap.excess, less_is_better=True, note=note)
            for name, gap in named
        )

    def _case(self, index: int, base: dict[str, Any], tuned: dict[str, Any]) -> Case:
        half = halved(self.seen[index], self.side)
        return Case(
            title=f"Training row {half.row}",
            input=half.given,
            expected=half.rest.strip(),
            base=f"{base['text']} ...".strip(),
            tuned=tuned["text"].strip() + ("" if tuned["text"].strip() == half.rest.strip() else " ..."),
            note="The base says something else from the dots on.",
        )

    @property
    def _why(self) -> str:
        if not self.subject.plan.strategy.trains:
            return "This run trained nothing, so that it is not known what was seen in training."
        return (
            f"{len(self.seen)} training rows and {len(self.unseen)} unseen ones have {_LONG} characters or more to go "
            f"on with; {FEWEST} of each are needed. To say a short answer again is no sign of memory."
        )

    def _part(self, asked: str, gate: Gate, figures: tuple[Figure, ...] = (), cases: tuple[Case, ...] = ()) -> Part:
        limits = "Other ways to ask may bring out what these do not. It shows what comes out, not what was learned."
        if self.side == "input" and figures:
            limits = (
                f"Answers are too short to show anything, so that inputs were gone on with, of which the training "
                f"learns nothing by itself. {limits}"
            )
        return self.part(
            asked=asked,
            gates=(gate,),
            figures=figures,
            cases=cases,
            limits=limits,
        )


def _text(row: Example, side: Side) -> str:
    return (row.output if side == "answer" else row.input).strip()


def _long(rows: Sequence[Example], side: Side) -> Iterator[Example]:
    """The rows whose text is long enough; of those with the same text the first."""
    known = set()
    for row in rows:
        text = _text(row, side)
        if len(text) >= _LONG and normal(text) not in known:
            known.add(normal(text))
            yield row


def halved(row: Example, side: Side) -> _Half:
    """A text in two, where a word ends; in the middle of its characters where it has no spaces."""
    text = _text(row, side)[:_READ]
    middle = len(text) // 2
    spaces = [i for i, letter in enumerate(text) if letter.isspace()]
    at = min(spaces, key=lambda i: abs(i - middle), default=middle)
    if not len(text) // 4 <= at <= len(text) * 3 // 4:
        at = middle
    return _Half(row.row, text[:at], text[at:])
