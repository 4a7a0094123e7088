"""A whole file through several arms in the background, all at the same time.

Owns the job's life and what is asked again. Refuses to know engines, screens and where answers are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import cast

from assistant.answers import Answer, Say, Shelf, row_of
from assistant.arena.asking import Arm, Pane, ask_all
from assistant.arena.table import BatchTable, Cell, tabulate
from assistant.background import Background, Stopped
from assistant.votes import ArmAnswer
from prompts.chat_model import Sampling
from prompts.errors import DataError, RunError
from prompts.metrics import METRICS
from trainers.data import Example

MOST_ARMS = 4
_AT_ONCE = 16  # answers in flight over all arms: what the embedded engine has in one batch
_PATIENCE = 300.0  # seconds without a token; on a slow machine a long prompt takes minutes
_GIVE_UP = 8  # silences in a row after which an arm is asked no more; each takes the patience's time
_LOOK_SECONDS = 0.1


@dataclass
class Batch(Background):
    """A file on its way. `done` and `failed` count answers, `total` is arms times different inputs.

    `seconds_left` is None until every arm's pace is known. `table` is there once it ended, however it ended.
    """

    total: int
    done: int = 0
    failed: int = 0
    seconds_left: float | None = None
    table: BatchTable | None = None

    @property
    def progress(self) -> str:
        """Such as "23 of 40 answers, 2 failed"."""
        return f"{self.done:,} of {self.total:,} answers{f', {self.failed:,} failed' if self.failed else ''}"


def run_batch(
    count: int,
    connect: Callable[[Say], Sequence[Arm]],
    rows: Sequence[Example],
    metric: str | None,
    sampling: Sampling,
    shelf: Shelf,
    *,
    at_once: int = _AT_ONCE,
    patience: float = _PATIENCE,
) -> Batch:
    """Ask `count` arms at the same time for an answer to every row, in a thread; `at_once` answers in flight in all.

    `connect` gives the arms; it may block while an engine starts, and is told how to say so.

    What the shelf has of an arm, under these settings, is not asked again, and each answer is kept as it comes. An
    answer that fails, or of which nothing is heard for `patience` seconds, is a cell with its error; it is not kept, so
    that the next batch asks again. `metric` is one of METRICS; rows without an expected answer have no score. Raises
    `DataError` where there is nothing to ask, `RunError` where the arms are none or too many; that two of them are the
    same is the job's error.
    """
    if not rows:
        raise DataError("There is no row to answer.", hint="Give a file with at least one row.")
    if metric and metric not in METRICS:
        raise DataError(f"There is no metric {metric!r}.", hint=f"There are: {', '.join(METRICS)}.")
    if not 1 <= count <= MOST_ARMS:
        raise RunError(f"{count} models cannot be compared.", hint=f"Choose 1 to {MOST_ARMS}.")
    job = Batch(total=count * len({row.input for row in rows}))

    def work() -> None:
        arms = connect(job.tell)
        if len({arm.key for arm in arms}) < len(arms):
            raise RunError("Two of the sides are the same model with the same prompt.", hint="Leave one of them out.")
        _Work(job, arms, rows, metric or "", sampling, shelf, at_once, patience).do()

    job.start(work, "The batch", "The table", when_stopped=lambda: f"Stopped. {job.progress}; they are kept.")
    return job


@dataclass
class _Work:
    """One batch's questions and what came of them: for each arm, cells by input."""

    _job: Batch
    _arms: Sequence[Arm]
    _rows: Sequence[Example]
    _metric: str
    _sampling: Sampling
    _shelf: Shelf
    _at_once: int
    _patience: float

    def __post_init__(self) -> None:
        self._inputs = list(dict.fromkeys(row.input for row in self._rows))
        self._cells: list[dict[str, Cell]] = [{} for _ in self._arms]
        self._asked = [0] * len(self._arms)
        self._silent = [0] * len(self._arms)  # how many answers in a row did not come

    def do(self) -> None:
        job = self._job
        try:
            for arm, cells in zip(self._arms, self._cells, strict=True):
                cells.update(self._known(arm))
            job.done = sum(map(len, self._cells))
            job.tell(job.progress)
            asyncio.run(self._ask())
        finally:
            job.seconds_left, job.message = None, "Putting the table together"
            job.table = tabulate(self._arms, self._rows, self._cells, self._metric, self._sampling)
            job.message = job.progress

    def _known(self, arm: Arm) -> dict[str, Cell]:
        found = self._shelf.answers(self._key(arm))
        rows = ((text, found.get(row_of(text))) for text in self._inputs)
        return {text: Cell(_remembered(arm, text, answer)) for text, answer in rows if answer}

    def _key(self, arm: Arm) -> str:
        return f"{arm.key}|{self._sampling.model_dump_json()}"

    async def _ask(self) -> None:
        """Every arm has its own share of what is in flight: one that hangs must not take all of it."""
        self._begun = time.monotonic()
        left = [deque(text for text in self._inputs if text not in cells) for cells in self._cells]
        each = max(1, self._at_once // len(self._arms))
        tasks = [asyncio.create_task(self._ask_one(n, left[n])) for _ in range(each) for n in range(len(self._arms))]
        waiting = set(tasks)
        try:
            while waiting and not self._job.stopped:
                done, waiting = await asyncio.wait(waiting, timeout=_LOOK_SECONDS, return_when="FIRST_EXCEPTION")
                for task in done:
                    task.result()  # what cannot be kept ends it
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if waiting:
            raise Stopped

    async def _ask_one(self, index: int, left: deque[str]) -> None:
        arm = self._arms[index]
        while left:
            text = left.popleft()
            if self._silent[index] >= _GIVE_UP:
                error = f"Not asked: {arm.title} had said nothing {self._silent[index]} times in a row."
                pane = Pane(arm, error=error)
            else:
                pane = await self._answer(index, text)
            self._take(index, text, pane)

    async def _answer(self, index: int, text: str) -> Pane:
        """The last that was heard. A stop cancels it, and so ends the stream."""
        pane = Pane(self._arms[index])
        panes = cast("AsyncGenerator[list[Pane], None]", ask_all([pane.arm], text, self._sampling))
        try:
            async with aclosing(panes):
                while not pane.done:
                    async with asyncio.timeout(self._patience):
                        [pane] = await anext(panes)
        except TimeoutError:
            self._silent[index] += 1
            return replace(pane, error=f"{pane.arm.title} said nothing for {self._patience:.0f} s.")
        self._silent[index] = 0
        return pane

    def _take(self, index: int, text: str, pane: Pane) -> None:
        job, arm = self._job, self._arms[index]
        answer = pane.answer().model_copy(update={"model": pane.model or arm.model.name})
        if not pane.error:
            self._shelf.keep_answer(self._key(arm), row_of(text), _to_keep(answer))
        self._cells[index][text] = Cell(answer, pane.error)
        self._asked[index] += 1
        job.done, job.failed = job.done + 1, job.failed + bool(pane.error)
        job.seconds_left, job.message = self._seconds_left(), job.progress

    def _seconds_left(self) -> float | None:
        """Until the slowest arm is done, each going on at its pace so far."""
        spent = time.monotonic() - self._begun
        counts = [
            (asked, len(self._inputs) - len(cells)) for asked, cells in zip(self._asked, self._cells, strict=True)
        ]
        if any(left and not asked for asked, left in counts):
            return None
        return max(spent / asked * left if left else 0.0 for asked, left in counts)


def _remembered(arm: Arm, text: str, answer: Answer) -> ArmAnswer:
    return ArmAnswer(
        title=arm.title,
        parent=arm.parent,
        digest=arm.digest,
        prompt_id=arm.prompt.id,
        messages=tuple(arm.prompt.messages(text)),
        **{**answer.model_dump(exclude={"cut"}), "model": answer.model or arm.model.name},
    )


def _to_keep(answer: ArmAnswer) -> Answer:
    kept = answer.model_dump(include=set(Answer.model_fields))
    return Answer(**kept, cut=answer.finish_reason == "length")
