"""Small tasks to learn learning from: a pool of labelled rows, and the episodes drawn from it. Imports no torch.

Owns what a task of the pool and an episode are, and seeded N-way K-shot sampling (Vinyals et al. 2016,
https://arxiv.org/abs/1606.04080). Refuses to know weights and steps (`meta`).

A pool is other people's labelled files, or the person's own labels: then an episode is a random subset of them, and the
labels that are held out never stand in one.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from prompts.chat_model import Message
from prompts.errors import DataError
from prompts.versions import Demonstration, PromptVersion
from trainers.data import Example, normal, read_examples
from trainers.reading import read_table
from trainers.strategies.meta import PoolTask

Row = tuple[str, str]  # an input and its label
Shot = tuple[Sequence[Message], str]  # the chat that asks for an answer, and the answer
_FEWEST = 2  # labels: with one there is nothing to tell apart


@dataclass(frozen=True)
class Task:
    """A pool task: its rows' labels are told apart from each other, never from another task's."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Episode:
    """One small task: `support` is learnt from, `query` asked afterwards; no input stands in both."""

    task: str
    labels: tuple[str, ...]
    support: tuple[Row, ...]
    query: tuple[Row, ...]
    prompt: PromptVersion

    def shots(self) -> list[Shot]:
        """The support rows as they are learnt from."""
        return [(self.prompt.messages(given), label) for given, label in self.support]

    def asked(self) -> list[Shot]:
        """The query rows, likewise."""
        return [(self.prompt.messages(given), label) for given, label in self.query]


def instruction(labels: Sequence[str]) -> PromptVersion:
    """A prompt that names the labels: an episode's rows would not say what else they could have been."""
    return PromptVersion(system=f"Classify the message. Answer with one of these labels: {', '.join(labels)}.")


def read_pool(tasks: Sequence[PoolTask]) -> list[Task]:
    """The tasks' files as rows. Raises `DataError` where one cannot be read or has no labelled row."""
    return [
        Task(task.told, tuple((row.input, row.output) for row in read_examples(read_table(task.path), task.columns)))
        for task in tasks
    ]


def own_task(examples: Sequence[Example], held_out: Collection[str] = (), name: str = "your own labels") -> Task:
    """The person's own rows as a task, without the labels that are held out.

    Raises `DataError` where a held-out label is not there, or where fewer than two labels are left.
    """
    labels = {example.output for example in examples if example.output}
    if unknown := sorted(set(held_out) - labels):
        raise DataError(
            f"There is no label {unknown[0]!r} to hold out.", hint=f"The labels are: {', '.join(sorted(labels))}."
        )
    left = labels - set(held_out)
    if len(left) < _FEWEST:
        raise DataError(
            f"A pool of {name} needs at least {_FEWEST} labels, but {len(left)} of {len(labels)} are left "
            f"with {len(set(held_out))} held out.",
            hint="Hold out fewer labels, or name labelled files as the pool.",
        )
    return Task(name, tuple((row.input, row.output) for row in examples if row.output in left))


def sample_episodes(
    tasks: Sequence[Task],
    *,
    ways: int,
    shots: int,
    queries: int,
    count: int,
    seed: int,
    prompt: Callable[[Sequence[str]], PromptVersion] = instruction,
) -> list[Episode]:
    """`count` episodes, each of one task: `ways` labels with `shots` support and `queries` query rows a label.

    Every task is as likely as another. An episode depends on the seed and its own number alone. Raises `DataError`
    where there is no task, or one has too few labels with enough rows.
    """
    if not tasks:
        raise DataError("The pool holds no task to learn from.", hint="Name labelled files, or use your own labels.")
    usable = [(task.name, _usable(task, ways, shots, queries)) for task in tasks]
    episodes = []
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        name, rows = rng.choice(usable)
        labels = tuple(rng.sample(sorted(rows), ways))
        drawn = {label: rng.sample(rows[label], shots + queries) for label in labels}
        support = [(given, label) for label in labels for given in drawn[label][:shots]]
        query = [(given, label) for label in labels for given in drawn[label][shots:]]
        for part in (support, query):
            rng.shuffle(part)
        episodes.append(Episode(name, labels, tuple(support), tuple(query), prompt(labels)))
    return episodes


def _usable(task: Task, ways: int, shots: int, queries: int) -> dict[str, list[str]]:
    """The inputs by label, of labels with enough of them. The same input counts once, case and spacing aside."""
    needed = shots + queries
    seen: set[str] = set()
    inputs: dict[str, list[str]] = defaultdict(list)
    for given, label in task.rows:
        if (key := normal(given)) not in seen:
            seen.add(key)
            inputs[label].append(given)
    enough = {label: found for label, found in inputs.items() if len(found) >= needed}
    if len(enough) < ways:
        raise _too_small(task.name, len(inputs), len(enough), ways, needed)
    return enough


def _too_small(name: str, labels: int, enough: int, ways: int, needed: int) -> DataError:
    fewer = f"lower ways to at most {enough}, " if enough >= _FEWEST else ""
    return DataError(
        f"The pool task {name!r} has {labels} label{'s' if labels != 1 else ''}, {enough} of them with at least "
        f"{needed} different inputs, but an episode takes {ways} such labels.",
        hint=f"To use it, {fewer}lower shots, or add rows to it; or leave it out of the pool.",
    )


def in_context_rows(episode: Episode) -> list[Shot]:
    """The query rows with the support as earlier turns: plain SFT on them trains in-context learning itself
    (MetaICL, Min et al. 2022, https://arxiv.org/abs/2110.15943)."""
    shown = tuple(Demonstration(input=given, output=label) for given, label in episode.support)
    prompt = episode.prompt.model_copy(update={"demonstrations": shown})
    return [(prompt.messages(given), label) for given, label in episode.query]
