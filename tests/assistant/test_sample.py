"""The sample data is what it says it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import assistant.samples
from assistant.samples import SAMPLE_FACTS, sample_file
from prompts.spec import TaskSpec
from trainers.data import Example, Mapping, guess_mapping, labels_of, normal, read_examples
from trainers.reading import read_table
from trainers.splits import Shares, split

COLUMNS = Mapping(input="ticket", output="team")


@pytest.fixture(scope="module")
def rows() -> list[Example]:
    with sample_file() as path:
        assert guess_mapping(read_table(path)) == COLUMNS
        return read_examples(read_table(path), COLUMNS)


@pytest.fixture(scope="module")
def readme() -> str:
    return (Path(assistant.samples.__file__).parent / "README.md").read_text("utf-8")


def table(readme: str, header: str) -> list[list[str]]:
    """The cells of the README's table that begins with this header."""
    body = readme.split(f"{header}\n")[1].split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def test_there_are_enough_rows_none_twice_and_none_empty(rows: list[Example]) -> None:
    with sample_file() as path:
        assert len(rows) == len(read_table(path)) >= 240
    assert len({normal(row.input) for row in rows}) == len(rows)


def test_the_rows_are_varied(rows: list[Example]) -> None:
    lengths = [len(row.input.split()) for row in rows]
    assert max(lengths) > 4 * min(lengths)
    assert len({word for row in rows for word in normal(row.input).split()}) > 1000
    openings = [" ".join(normal(row.input).split()[:4]) for row in rows]
    assert max(openings.count(opening) for opening in openings) <= 3, "not filled in from a template"


def test_the_labels_and_their_counts_are_those_in_the_readme(rows: list[Example], readme: str) -> None:
    outputs = [row.output for row in rows]
    told = {label: int(count) for label, count, _ in table(readme, "| team | rows | meaning |")}
    assert {label: outputs.count(label) for label in set(outputs)} == told
    assert len(told) == 6
    assert min(told.values()) >= 30
    assert f"holds {len(rows)} short support tickets" in readme


def test_what_is_said_of_the_task_fits_the_data(rows: list[Example]) -> None:
    spec = TaskSpec().updated("said", **SAMPLE_FACTS)
    assert spec.labels == labels_of(rows)
    assert all(label in spec.description for label in spec.labels)


def test_the_noise_rows_are_named_truthfully(rows: list[Example], readme: str) -> None:
    outputs = {row.row: row.output for row in rows}
    wrong = table(readme, "| row | in the file | should be |")
    ambiguous = table(readme, "| row | in the file | also defensible |")
    assert (len(wrong), len(ambiguous)) == (6, 9)
    for row, said, other in [*wrong, *ambiguous]:
        assert outputs[int(row)] == said
        assert other in outputs.values() and other != said


def test_the_near_duplicates_are_near_and_carry_one_label(rows: list[Example], readme: str) -> None:
    texts = {row.row: (set(re.findall(r"\w+", row.input.casefold())), row.output) for row in rows}
    pairs = table(readme, "| rows | team |")
    assert len(pairs) == 3
    for numbers, label in pairs:
        (first, team), (second, same) = (texts[int(number)] for number in numbers.split(" and "))
        assert team == same == label
        assert len(first & second) / min(len(first), len(second)) > 0.4


def test_every_label_is_in_every_split_that_is_scored(rows: list[Example]) -> None:
    parts = split(rows, Shares(), 0)
    for part in (parts.train, parts.dev, parts.test):
        assert labels_of(part) == labels_of(rows)
