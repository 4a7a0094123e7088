"""What a model says to the rows that a try asks: the metric's score of each, and how sure it was of the right answer.

Owns the choice of how to ask, and what the untouched base said before. Refuses to load models, and to judge. Imports
torch.

Where a prompt holds answers to few labels, their tokens' log-probabilities tell what would be said, on keys and values
that all rows share, and nothing is generated. Not the likeliest label counts but the one that greedy decoding ends in,
as it will be served: on 24 rows of Banking77 the embedded model's answers were these in all cases, and the likeliest
label in 18 (of 4 labels) and 9 (of 8). A prompt that leaves answers free is answered freely; where only the exact
answer counts, no longer than the longest right one, since what is longer is wrong already.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from prompts.errors import EngineError
from prompts.metrics import COMPANIONS, METRICS
from prompts.versions import PromptVersion
from trainers.data import Example
from trainers.evaluation.arm import Arm
from trainers.memory import ran_out
from trainers.scoring import Scored, greedy, score_all

Say = Callable[[float], None]
_AT_ONCE = 16  # rows between two looks at whether somebody asked to stop
_MOST_LABELS = (
    12  # 24 rows took 2.6 s of the embedded model's CPU time by 4 labels, 9 by 12 and 22 by 24; generated 9 to 11
)
_AT_ONCE_SCORED, _FEWEST_AT_ONCE = 128, 8  # answers in a batch where memory is short
_MORE_TOKENS = 2  # of an answer than the longest right one: its end, and one by which it shows to be longer


@dataclass(frozen=True)
class Said:
    """What was said to one row: its score in [0, 1], and the right answer's mean log-probability a token, in nats."""

    score: float
    certainty: float | None  # None where the right answer could not be asked for


@dataclass
class Memory:
    """What was said by (prompt, row) before, kept in a file where one is named. For the untouched base alone."""

    path: Path | None = None
    _known: dict[str, Said] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.path and self.path.is_file():
            for line in self.path.read_text("utf-8").split("\n")[:-1]:  # what follows the last newline was cut off
                key, score, certainty = json.loads(line)
                self._known[key] = Said(score, certainty)

    def of(self, key: str) -> Said | None:
        return self._known.get(key)

    def keep(self, found: dict[str, Said]) -> None:
        self._known |= found
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps([key, said.score, said.certainty]) + "\n" for key, said in found.items())


def ask(arm: Arm, rows: Sequence[Example], labels: Sequence[str], say: Say, memory: Memory | None = None) -> list[Said]:
    """Each row's score and certainty, in order, with the arm's prompt and metric; `labels` are all that there are.

    `say` is told the share that is done, and may raise. Raises a `TunewrightError` where nothing can be asked.
    """
    keys = [_key(arm, row, labels) for row in rows]
    known = {key: said for key in keys if memory and (said := memory.of(key))}
    missing = [(key, row) for key, row in zip(keys, rows, strict=True) if key not in known]
    for start in range(0, len(missing), _AT_ONCE):
        say(start / len(missing))
        part = missing[start : start + _AT_ONCE]
        found = dict(zip((key for key, _ in part), _asked(arm, [row for _, row in part], labels), strict=True))
        known |= found
        if memory:
            memory.keep(found)
    return [known[key] for key in keys]


def _key(arm: Arm, row: Example, labels: Sequence[str]) -> str:
    content = [arm.prompt.id, row.input, row.output, arm.how.metric, arm.how.max_new_tokens, list(labels)]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:16]


def _asked(arm: Arm, rows: Sequence[Example], labels: Sequence[str]) -> list[Said]:
    choices = choices_of(arm.prompt, arm.how.metric, labels)
    return _by_labels(arm, rows, choices) if choices else _by_answers(arm, rows)


def choices_of(prompt: PromptVersion, metric: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels that are scored in place of generating; none where a prompt leaves its answers free, where the metric
    is not about labels, or where there are so many that generating costs less."""
    held = prompt.allowed.choices if prompt.allowed else ()
    fits = metric in COMPANIONS["label"] and 2 <= len(held) <= _MOST_LABELS
    return held if fits and set(labels) <= set(held) else ()


def _by_labels(arm: Arm, rows: Sequence[Example], choices: Sequence[str]) -> list[Said]:
    row_score = METRICS[arm.how.metric].row
    return [
        Said(
            row_score(greedy(scored), row.output) if scored else 0.0,
            next((one.mean for one in scored if one.answer.strip() == row.output.strip()), None),
        )
        for row, scored in zip(rows, _scored(arm, rows, [list(choices)] * len(rows)), strict=True)
    ]


def _by_answers(arm: Arm, rows: Sequence[Example]) -> list[Said]:
    row_score = METRICS[arm.how.metric].row
    certain = _scored(arm, rows, [[row.output] for row in rows])
    told = _short(arm, rows).answer([row.input for row in rows])
    return [
        Said(
            0.0 if answer.failed else row_score(answer.text, row.output),
            scored[0].mean if scored else None,
        )
        for row, answer, scored in zip(rows, told, certain, strict=True)
    ]


def _short(arm: Arm, rows: Sequence[Example]) -> Arm:
    """The arm, with as many tokens an answer as could still be right where only the exact answer is."""
    if METRICS[arm.how.metric].row is not METRICS["exact match"].row:
        return arm
    counts = [len(arm.tokenizer(row.output, add_special_tokens=False)["input_ids"]) for row in rows]
    how = arm.how.model_copy(update={"max_new_tokens": min(arm.how.max_new_tokens, max(counts) + _MORE_TOKENS)})
    return replace(arm, how=how)


def _scored(arm: Arm, rows: Sequence[Example], candidates: Sequence[Sequence[str]]) -> list[list[Scored]]:
    """The candidates' log-probabilities by row, in smaller batches where memory runs out; nothing for a row that the
    model has no room for."""
    chats = [arm.prompt.messages(row.input) for row in rows]
    at_once = _AT_ONCE_SCORED
    while True:
        try:
            return score_all(arm.model, arm.tokenizer, chats, candidates, at_once=at_once)
        except EngineError:
            if len(rows) == 1:
                return [[]]
            return [_scored(arm, [row], [given])[0] for row, given in zip(rows, candidates, strict=True)]
        except Exception as error:
            if not ran_out(error) or at_once <= _FEWEST_AT_ONCE:
                raise
            at_once //= 4
