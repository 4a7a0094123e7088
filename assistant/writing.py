"""Having a chat model write new rows in the background: a trial first, then batches, with progress and a way to stop.

Owns one such job's life. Refuses to store rows and to choose the model: whoever starts it does, shows the person what
came of it, and asks whether the rows may leave this machine where the model is elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from math import ceil

from assistant.background import Background, Stopped
from prompts.chat_model import ChatModel, Reply, Sampling, complete
from prompts.errors import DataError
from prompts.spec import TaskSpec
from prompts.versions import Demonstration
from prompts.writing import RowRequest, read_rows, request_rows
from trainers.data import Example
from trainers.synthetic import Judge, Trial, Written, good_enough, judge_by, told_reasons, unreadable

_AT_ONCE = 4  # calls in flight; those of one round do not see each other's rows, and so repeat them
_TRIAL_ROWS, _ROWS = 3, 5  # rows a call; few in the trial's, so that it has four labels in its 12 rows
_TRIES = 3  # calls for each that would do if every row were kept
_TEMPERATURE, _TOP_P = 0.9, 0.95  # greedy, a model writes the same rows again


@dataclass
class Writing(Background):
    """A job as it goes on. `rows` are all that were judged, kept and refused; `trial` is there once it is over.

    Where `trial` is not good and nobody insisted, it is all that was done.
    """

    wanted: int
    most_calls: int
    rows: list[Written] = field(default_factory=list)
    trial: Trial | None = None
    calls: int = 0
    seconds_left: float | None = None

    @property
    def kept(self) -> list[Written]:
        return [row for row in self.rows if row.kept]

    @property
    def progress(self) -> str:
        """Such as "23 of 40 rows kept, 11 refused: 6 copies, 5 unreadable"."""
        refused = len(self.rows) - len(self.kept)
        why = f", {refused} refused: {told_reasons(self.rows)}" if refused else ""
        return f"{len(self.kept)} of {self.wanted} rows kept{why}"


def write_rows(
    spec: TaskSpec,
    train: Sequence[Example],
    inputs: Sequence[str],
    wanted: Mapping[str, int],
    connect: Callable[[Callable[[str], None]], ChatModel],
    *,
    seed: int = 0,
    trial: Trial | None = None,
    insist: bool = False,
    most_calls: int | None = None,
) -> Writing:
    """Start writing in a thread. `wanted` says how many rows each label gets, in order; {"": n} for free answers.

    Only `train` rows are shown to the model; new ones are held against the `inputs` of every split. A `trial` made
    before is not made again. A model that fails it goes on only where the person should `insist`. `connect` may block
    while an engine starts; it gets a function to report with. The same arguments ask the model the same, as long as it
    replies the same. Raises `DataError` where nothing is wanted, or there is no row to show.
    """
    wanted = {label: count for label, count in wanted.items() if count > 0}
    if not wanted:
        raise DataError("No new rows are wanted.", hint="Say how many.")
    bare = [label for label in wanted if not any(row.output == label or not label for row in train)]
    if bare:
        what = f"of the label {bare[0]!r} " if bare[0] else ""
        raise DataError(f"There is no training row {what}to show to the model.", hint="Write one or two yourself.")
    total = sum(wanted.values())
    trial_calls = 0 if trial else _AT_ONCE
    job = Writing(wanted=total, most_calls=most_calls or trial_calls + _TRIES * ceil(total / _ROWS), trial=trial)

    def work() -> None:
        try:
            model = connect(job.tell)
            job.tell("Reading the rows that are there")
            _Desk(job, spec, train, wanted, model, seed, inputs).work(insist)
        finally:
            job.seconds_left = None

    job.start(work, "Writing", "The rows", when_stopped=lambda: f"Stopped. {job.progress}.")
    return job


class _Desk:
    """Where one job's rows are asked for and judged."""

    def __init__(
        self,
        job: Writing,
        spec: TaskSpec,
        train: Sequence[Example],
        wanted: Mapping[str, int],
        model: ChatModel,
        seed: int,
        inputs: Sequence[str],
    ) -> None:
        self._job, self._spec, self._wanted, self._model, self._seed = job, spec, wanted, model, seed
        pairs = [(row.output, Demonstration(input=row.input, output=row.output)) for row in train]
        self._shown = {label: [row for output, row in pairs if not label or output == label] for label in wanted}
        labels = () if "" in wanted else tuple(sorted({*spec.labels, *(output for output, _ in pairs)}))
        self._judge: Judge = judge_by(train, inputs, labels, language=spec.input_language, seed=seed)
        self._kept: Counter[str] = Counter()
        self._begun = time.monotonic()

    def work(self, insist: bool) -> None:
        job = self._job
        if job.trial is None:
            self._round(_TRIAL_ROWS)
            job.trial = good_enough(job.rows)
        if not (job.trial.good or insist):
            job.message = job.trial.text
            return
        while self._missing() and job.calls < job.most_calls:
            self._round(_ROWS)
        spent = f"; the {job.most_calls} calls that this may take are spent" if self._missing() else ""
        job.message = f"{job.progress}{spent}."

    def _missing(self) -> dict[str, int]:
        """How many rows each label still lacks, in the order in which they are wanted."""
        return {label: count - self._kept[label] for label, count in self._wanted.items() if count > self._kept[label]}

    def _round(self, rows: int) -> None:
        """A few calls at once. Raises what ended it; the replies that came before that are judged all the same."""
        job = self._job
        calls = min(_AT_ONCE, job.most_calls - job.calls)
        requests = [
            self._request(label, count, f"{self._seed}-{job.calls + n}")
            for n, (label, count) in enumerate(share_out(self._missing(), calls, rows))
        ]
        job.calls += len(requests)
        replies, error = asyncio.run(_ask(self._model, requests, lambda: job.stopped))
        for request, reply in zip(requests, replies, strict=True):
            if reply:
                self._take(request, reply)
        if job.stopped:
            raise Stopped
        if error:
            raise error
        self._reckon()
        job.tell(job.progress)

    def _request(self, label: str, count: int, seed: str) -> RowRequest:
        taken = [row.input for row in self._job.kept if not label or row.output == label]
        return request_rows(
            self._spec, self._shown[label], count, label=label, labels=self._judge.labels, taken=taken, seed=seed
        )

    def _take(self, request: RowRequest, reply: Reply) -> None:
        rows = read_rows(reply.text, request.label, cut=reply.finish_reason == "length")[: request.count]
        judged = self._judge.judge(request, rows, [row.input for row in self._job.kept])
        self._job.rows += [*judged, *unreadable(request, rows, reply.text)]
        self._kept[request.label] += sum(row.kept for row in judged)

    def _reckon(self) -> None:
        """Seconds left, by the pace so far: until enough are kept, or the calls are spent."""
        job, kept, missing = self._job, self._kept.total(), sum(self._missing().values())
        spent = time.monotonic() - self._begun
        by_calls = spent / job.calls * (job.most_calls - job.calls)
        job.seconds_left = min(by_calls, spent / kept * missing) if kept else by_calls


def share_out(missing: Mapping[str, int], calls: int, rows: int) -> list[tuple[str, int]]:
    """Up to `calls` calls as (label, rows to ask for), each label in turn, `rows` at most in each."""
    return list(_shares(dict(missing), calls, rows))


def _shares(missing: dict[str, int], calls: int, rows: int) -> Iterator[tuple[str, int]]:
    for label in cycle(tuple(missing)):
        if not calls or not any(missing.values()):
            return
        if count := min(rows, missing[label]):
            missing[label] -= count
            calls -= 1
            yield label, count


async def _ask(
    model: ChatModel, requests: Sequence[RowRequest], stopped: Callable[[], bool]
) -> tuple[list[Reply | None], BaseException | None]:
    """The replies that came, in order, and the first error. A stop or an error gives up those still under way."""
    tasks = [asyncio.create_task(complete(model, request.messages, _sampling(request))) for request in requests]
    waiting: set[asyncio.Task[Reply]] = set(tasks)
    while waiting and not stopped():
        done, waiting = await asyncio.wait(waiting, timeout=0.2, return_when=asyncio.FIRST_EXCEPTION)
        if any(task.exception() for task in done):
            break
    for task in waiting:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [it for it in results if isinstance(it, BaseException) and not isinstance(it, asyncio.CancelledError)]
    return [it if isinstance(it, Reply) else None for it in results], errors[0] if errors else None


def _sampling(request: RowRequest) -> Sampling:
    return Sampling(max_tokens=request.tokens, temperature=_TEMPERATURE, top_p=_TOP_P)
