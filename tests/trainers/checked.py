"""What the tests of the checks share: a subject from a few pairs, and one check's findings."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from trainers.checks import Check
from trainers.checks.finding import Finding
from trainers.checks.subject import Subject
from trainers.data import Example, Mapping
from trainers.dataset import Dataset, dataset_of
from trainers.reading import Table, table_of

COLUMNS = Mapping(input="t", output="l")


def table_of_pairs(pairs: Iterable[tuple[str, str]]) -> Table:
    return table_of([{"t": text, "l": label} for text, label in pairs], Path("d.csv"))


def data_of(pairs: Iterable[tuple[str, str]]) -> Dataset:
    return dataset_of(table_of_pairs(pairs), COLUMNS)


def subject_of(pairs: Iterable[tuple[str, str]], **more: object) -> Subject:
    return Subject.of(data_of(pairs), **more)


def found(check: Check, pairs: Iterable[tuple[str, str]], **more: object) -> list[Finding]:
    return list(check(subject_of(pairs, **more)))


def of_inputs(*inputs: str) -> list[tuple[str, str]]:
    """Rows whose answers do not matter."""
    return [(text, "ab"[i % 2]) for i, text in enumerate(inputs)]


_THINGS = (
    "kettle",
    "lamp",
    "phone",
    "headset",
    "printer",
    "keyboard",
    "toaster",
    "router",
    "camera",
    "watch",
    "speaker",
)
_OPENINGS = ("Hello,", "Hi there,", "Good morning,", "Please help:", "Question:", "Once more,")
_SAYINGS = {
    "delivery": ("my {} has not arrived yet", "where is the parcel with the {}", "the courier left the {} next door"),
    "billing": ("I was charged twice for the {}", "the invoice for the {} is wrong", "my card was debited for the {}"),
    "returns": ("I want to send the {} back", "how do I return the {} for a refund", "please exchange the {}"),
    "technical": ("the {} will not switch on", "an error appears on the {}", "the {} keeps crashing after the update"),
}


def made_up_tickets(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Tickets of four teams, each with words of its own."""
    rng = random.Random(seed)
    teams = list(_SAYINGS)
    return [
        (f"{rng.choice(_OPENINGS)} {rng.choice(_SAYINGS[team]).format(rng.choice(_THINGS))}, order {n}", team)
        for n in range(count)
        for team in [teams[n % len(teams)]]
    ]


def write_made_up_tickets(path: Path, count: int) -> Path:
    """The same as a CSV file of ticket and team."""
    lines = [f'"{text}",{team}' for text, team in made_up_tickets(count)]
    path.write_text("\n".join(["ticket,team", *lines]) + "\n", "utf-8")
    return path


def with_flips(pairs: list[tuple[str, str]], share: float, seed: int = 0) -> tuple[list[tuple[str, str]], set[int]]:
    """The pairs with a share of the labels wrong, and the numbers of these rows."""
    rng = random.Random(seed)
    labels = sorted({label for _, label in pairs})
    flipped = set(rng.sample(range(len(pairs)), int(len(pairs) * share)))
    wrong = [
        (text, rng.choice([other for other in labels if other != label]) if n in flipped else label)
        for n, (text, label) in enumerate(pairs)
    ]
    return wrong, {n + 1 for n in flipped}


def example(row: int, input: str, output: str = "a") -> Example:
    return Example(row=row, input=input, output=output)
