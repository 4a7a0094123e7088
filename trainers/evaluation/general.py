"""What the base could do and the tuned model no longer can: short general tasks, and further ones of the person's own.

Owns asking the battery (`checkable`) and the person's files (`own_tasks`) without the task's own prompt, and what
counts as a loss. Refuses to check single answers. Never imports torch.

A loss is a paired difference that is no chance after Holm's correction over the kinds of task that were tested, and at
least 5 points. Where the base solves so few that losing all of them could still be chance, nothing is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from prompts.chat_model import Message, Sampling
from prompts.metrics import Comparison, Score, compare, holm, summarize
from prompts.metrics.answers import json_value
from trainers.data import labels_of
from trainers.evaluation.checkable import battery
from trainers.evaluation.own_tasks import OwnTask, own_tasks
from trainers.evaluation.probe import OnProgress, Probe
from trainers.evaluation.records import Case, Figure, Gate, Group, Level, Part, Prediction
from trainers.evaluation.transfer import against_forgetting
from trainers.plan import EvaluationPlan

if TYPE_CHECKING:
    from trainers.evaluation.arm import Answer, Arm

ALPHA = 0.05
_POINTS = 0.05  # the smallest loss that counts
_MUCH = 1 / 3  # of what the base could do: from here on a loss fails
_FEWEST = 6  # solved by the base: losing 5 of 5 has p = 0.06 in a paired two-sided test, 6 of 6 has 0.03
_SOME, _MOST_LABELS = 0.2, 0.5  # shares of general questions answered with the task's own answers
_ANSWERED = 0.5  # from so many like answers on, a model says the same to everything
_MOST_CASES, _CASES_EACH = 16, 5
_SHORT, _LONG = 16, 40  # tokens of an answer
_BRIEF = ("arithmetic", "facts")
ALL = "general tasks"


@dataclass(frozen=True)
class _Found:
    """One kind of task: what was asked, what should have come, what both said, and the scores in [0, 1]."""

    name: str
    ids: list[str]
    asked: list[str]
    wanted: list[str]
    said: tuple[list[str], list[str]]
    scores: tuple[list[float], list[float]]
    own: bool = False

    @cached_property
    def change(self) -> Comparison:
        return compare(*self.scores)

    @cached_property
    def solved(self) -> float:
        """How many the base solved; graded scores count for what they are."""
        return sum(self.scores[0])

    @property
    def tells(self) -> bool:
        """Whether the base can do enough for a loss to be seen."""
        return sum(score > 0 for score in self.scores[0]) >= _FEWEST

    def figure(self) -> Figure:
        base, tuned = (summarize(scores) for scores in self.scores)
        return Figure(name=self.name, base=base, tuned=tuned, change=self.change)

    def lost(self) -> list[Case]:
        """What the base solved and the tuned model does not, the clearest first."""
        drops = [b - t for b, t in zip(*self.scores, strict=True)]
        order = sorted((i for i, drop in enumerate(drops) if drop > 0.1), key=lambda i: -drops[i])
        return [
            Case(
                title=f"{self.name}: {self.ids[i]}",
                input=self.asked[i],
                expected=self.wanted[i],
                base=self.said[0][i],
                tuned=self.said[1][i],
                note="The base solved this.",
            )
            for i in order[:_CASES_EACH]
        ]


class GeneralProbe(Probe):
    """Short tasks of many kinds, that have nothing to do with what was trained."""

    name: ClassVar[str] = "general"
    title: ClassVar[str] = "General ability"
    group: ClassVar[Group] = "transfer"

    @cached_property
    def _own(self) -> tuple[OwnTask, ...]:
        return own_tasks(self.subject)

    @classmethod
    def replies(cls, how: EvaluationPlan) -> int:
        return 2 * len(battery())  # longer ones

    def ask(self, arm: Arm, on_progress: OnProgress) -> list[Any]:
        """[id, answer, why there is none] for each, the battery's in its order and then the files' rows in theirs."""
        items, own = battery(), self._own
        total, done = len(items) + sum(len(task.rows) for task in own), 0
        said: dict[str, Answer] = {}

        def told(of: int) -> OnProgress:
            return lambda fraction: on_progress((done + fraction * of) / total)

        for limit in (_SHORT, _LONG):
            part = [item for item in items if (item.category in _BRIEF) == (limit == _SHORT)]
            chats = [[Message(role="user", content=item.ask)] for item in part]
            answers = arm.reply(chats, Sampling(max_tokens=limit), on_progress=told(len(part)))
            said |= {item.id: answer for item, answer in zip(part, answers, strict=True)}
            done += len(part)
        found: list[Any] = [[item.id, said[item.id].text, said[item.id].failed] for item in items]
        for task in own:
            chats = [task.prompt.messages(row.input) for row in task.rows]
            answers = arm.reply(chats, task.prompt.sampling(task.max_tokens), on_progress=told(len(task.rows)))
            found += [[str(row.row), one.text, one.failed] for row, one in zip(task.rows, answers, strict=True)]
            done += len(task.rows)
        return found

    def judge(self, base: list[Any], tuned: list[Any], predictions: Sequence[Prediction]) -> Part:
        kinds = [*self._of_battery(base, tuned), *self._of_own(base, tuned)]
        general = [kind for kind in kinds if not kind.own]
        whole = _joined(general)
        lost = self._lost([whole, *(kind for kind in kinds if kind.own)], general)
        gates = [
            *(self._gate(kind, kind.name in lost) for kind in (whole, *(k for k in kinds if k.own))),
            *(self._gate(kind, True, named=whole.name in lost) for kind in general if kind.name in lost),
        ]
        untested = [f"{kind.name} ({kind.solved:.0f} of {len(kind.ids)})" for kind in general if not kind.tells]
        if untested and whole.tells:
            told = f"The base itself solves too few to tell whether anything was lost: {', '.join(untested)}."
            gates.append(Gate(name="some kinds of general task", level="unknown", told=told))
        gates.append(self._only_its_task(whole))
        if failed := [why for _, _, why in tuned if why]:
            told = f"{len(failed)} of {len(tuned)} questions got no answer, and count as wrong: {failed[0]}"
            gates.append(Gate(name="answers to general questions", level="warning", told=told))
        worst = sorted(kinds, key=lambda kind: (kind.name not in lost, kind.change.difference))
        return self.part(
            asked=f"Both models were asked {len(whole.ids)} short general tasks without the task's prompt; the "
            f"answers are checked by rule{self._told_own()}.",
            gates=tuple(gates),
            figures=(whole.figure(), *(kind.figure() for kind in kinds)),
            cases=tuple(case for kind in worst for case in kind.lost())[:_MOST_CASES],
            limits="Short tasks, most of them in English, checked by rules: long answers, style, and knowledge that is "
            "not asked for here may have changed unseen. A refusal is told by its usual English phrases alone.",
        )

    def _told_own(self) -> str:
        named = ", ".join(f"{task.name} ({len(task.rows)} rows, {task.metric})" for task in self._own)
        return f", and tasks of your own: {named}" if named else ""

    def _of_battery(self, base: list[Any], tuned: list[Any]) -> list[_Found]:
        answers = [{id: text for id, text, _ in said[: len(battery())]} for said in (base, tuned)]
        found = []
        for category in dict.fromkeys(item.category for item in battery()):
            items = [item for item in battery() if item.category == category]
            said = tuple([arm[item.id] for item in items] for arm in answers)
            scores = tuple([float(i.solved(text)) for i, text in zip(items, arm, strict=True)] for arm in said)
            wanted = [item.told for item in items]
            found.append(
                _Found(category, [i.id for i in items], [i.ask for i in items], wanted, _two(said), _two(scores))
            )
        return found

    def _of_own(self, base: list[Any], tuned: list[Any]) -> list[_Found]:
        found, start = [], len(battery())
        for task in self._own:
            rows = task.rows
            said = tuple([text for _, text, _ in arm[start : start + len(rows)]] for arm in (base, tuned))
            scores = tuple([task.row(t, r.output) for t, r in zip(arm, rows, strict=True)] for arm in said)
            ids, asked = [f"row {row.row}" for row in rows], [row.input for row in rows]
            wanted = [row.output for row in rows]
            found.append(_Found(task.name, ids, asked, wanted, _two(said), _two(scores), own=True))
            start += len(rows)
        return found

    @staticmethod
    def _lost(wholes: Sequence[_Found], kinds: Sequence[_Found]) -> set[str]:
        """The names of what got worse beyond chance: all of it and each file, and each kind, after Holm."""
        found: set[str] = set()
        for family in (wholes, kinds):
            tested = [one for one in family if one.tells]
            corrected = holm([one.change.p_value for one in tested])
            found |= {
                one.name
                for one, p_value in zip(tested, corrected, strict=True)
                if p_value < ALPHA and one.change.difference <= -_POINTS
            }
        return found

    def _gate(self, found: _Found, lost: bool, named: bool = False) -> Gate:
        """One kind's gate; its remedies are left out where they are `named` already."""
        kind = f"another task: {found.name}" if found.own else f"general tasks: {found.name}"
        title = ALL if found.name == ALL and not found.own else kind
        base, tuned = (summarize(scores) for scores in found.scores)
        if not found.tells:
            solved = f"{found.solved:.0f} of {len(found.ids)}"
            told = f"Unknown: the base itself solves {solved}, so that there is next to nothing to lose."
            return Gate(name=title, level="unknown", told=told)
        if not lost:
            return Gate(name=title, level="passed", told=_kept(found.change, base, tuned))
        level: Level = "failed" if -found.change.difference >= _MUCH * base.value else "warning"
        gone = sum(b > t for b, t in zip(*found.scores, strict=True))
        told = f"It lost what the base could do: {base} before, {tuned} now; {gone} answers became worse."
        remedies = () if named else against_forgetting(self.subject)
        return Gate(name=title, level=level, told=told, remedies=remedies)

    def _only_its_task(self, whole: _Found) -> Gate:
        """Whether it answers whatever it is asked as if that were its task, or with always the same."""
        name, n = "answers only its own task", len(whole.ids)
        if not whole.tells:
            told = "Unknown: the base has no answers to such questions either, whatever the tuned model says to them."
            return Gate(name=name, level="unknown", told=told)
        before, now = (sum(map(self._is_task_answer, said)) for said in whole.said)
        same, times = Counter(text.strip() for text in whole.said[1]).most_common(1)[0]
        same_before = Counter(text.strip() for text in whole.said[0]).most_common(1)[0][1]
        if now - before >= _SOME * n:
            level: Level = "failed" if now >= _MOST_LABELS * n else "warning"
            example = next(text for text in whole.said[1] if self._is_task_answer(text))
            told = (
                f"{now} of {n} general questions were answered as if they were the task, with answers such as "
                f"{example.strip()[:60]!r}; the base did so {before} times. It can do this one task and little else."
            )
        elif times >= _ANSWERED * n > same_before:
            level, shown = "failed", repr(same[:60]) if same else "nothing at all"
            told = f"It says the same to whatever it is asked: {shown}, {times} times of {n}."
        else:
            return Gate(name=name, level="passed", told=f"{now} of {n} general questions were answered like the task.")
        return Gate(name=name, level=level, told=told, remedies=against_forgetting(self.subject))

    @cached_property
    def _answers(self) -> tuple[frozenset[str], frozenset[str]]:
        """The task's labels, and the keys of its JSON answers."""
        spec, train = self.subject.spec, self.subject.train
        allowed = self.subject.plan.prompt.allowed
        labels = (*(spec.labels if spec else ()), *labels_of(train), *(allowed.choices if allowed else ()))
        values = [json_value(row.output) for row in train]
        keys = {key for value in values if value and isinstance(value[0], dict) for key in value[0]}
        return frozenset(_bare(label) for label in labels), frozenset(keys)

    def _is_task_answer(self, text: str) -> bool:
        labels, keys = self._answers
        if _bare(text) in labels:
            return True
        value = json_value(text) if keys else None
        return bool(value and isinstance(value[0], dict) and value[0] and value[0].keys() <= keys)


def _kept(change: Comparison, base: Score, tuned: Score) -> str:
    """No loss beyond chance, and how large one might still be."""
    told = f"No loss that could be told from chance: {base} before, {tuned} now."
    if change.low < -_POINTS:
        told += f" A loss of up to {-change.low * 100:.0f} points would not have been noticed."
    return told


def _joined(kinds: Sequence[_Found]) -> _Found:
    """All kinds as one."""
    first, *others = kinds
    whole = replace(first, name=ALL)
    for kind in others:
        whole = _Found(
            ALL,
            whole.ids + kind.ids,
            whole.asked + kind.asked,
            whole.wanted + kind.wanted,
            (whole.said[0] + kind.said[0], whole.said[1] + kind.said[1]),
            (whole.scores[0] + kind.scores[0], whole.scores[1] + kind.scores[1]),
        )
    return whole


def _two(pair: tuple[Any, ...]) -> tuple[Any, Any]:
    return pair[0], pair[1]


def _bare(text: str) -> str:
    return text.strip().strip(".\"'").casefold()
