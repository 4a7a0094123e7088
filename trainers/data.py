"""From a table to seeded splits of examples.

Owns the mapping of columns to input and output, and the splits. Refuses to read files (that is `reading`), to judge
the data (that is `profile`) or to render prompts.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator

from prompts.errors import DataError
from trainers.reading import ComposedKind, Table, detect_shape, pair, read_table

_INPUT_NAMES = "input text ticket message question prompt instruction email review sentence document query utterance mr"
_OUTPUT_NAMES = "output label category intent team class target answer completion response summary translation ref"
_LOOKED_AT = 1_000  # rows by which a mapping is guessed


class Mapping(BaseModel):
    """Which column is the model's input, and which one the answer.

    Where `shape` is set, input and answer are composed as that shape has it, from these columns and those beside them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str
    output: str
    shape: ComposedKind | None = None

    @property
    def told(self) -> str:
        """The mapping in words, for a person."""
        if self.shape is None:
            return f"`{self.input}` goes in, `{self.output}` is the answer"
        return f"read as {self.shape}: what goes in comes from `{self.input}`, the answer from `{self.output}`"


class Example(BaseModel):
    """One input with its expected answer. `row` counts from 1 below the header of its file, blank lines aside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int
    input: str
    output: str


class Shares(BaseModel):
    """How the examples are divided. The test split is for the final report alone, `arena` for side-by-side trials."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = 0.60
    dev: float = 0.10
    test: float = 0.25
    arena: float = 0.05

    @model_validator(mode="after")
    def _sum_to_one(self) -> Shares:
        values = self.model_dump().values()
        if min(values) < 0 or abs(sum(values) - 1) > 1e-6 or self.train == 0:
            raise ValueError("the shares must be at least 0, sum to 1, and leave something to train on")
        return self


class Splits(BaseModel):
    """Seeded, stratified, disjoint: an input never stands in two of them."""

    model_config = ConfigDict(frozen=True)

    train: tuple[Example, ...]
    dev: tuple[Example, ...] = ()
    test: tuple[Example, ...] = ()
    arena: tuple[Example, ...] = ()


def guess_mapping(table: Table) -> Mapping:
    """Guess which column is the input and which the answer: by shape, by name, else by length and variety.

    Raises `DataError` where there are fewer than two columns, unless the one holds conversations or preferences.
    """
    shape = detect_shape(table)
    if shape is not None:
        return Mapping(input=shape.input, output=shape.output, shape=shape.composed)
    if len(table.columns) < 2:
        raise DataError(
            f"{table.path.name} has one column ({', '.join(table.columns)}), but an input and an answer are needed.",
            hint="Add a column with the expected answers.",
        )
    rows = table.head(_LOOKED_AT)
    output = _named(table.columns, _OUTPUT_NAMES) or min(table.columns, key=lambda c: _variety(rows, c))
    others = [column for column in table.columns if column != output]
    named = _named(others, _INPUT_NAMES)
    return Mapping(input=named or max(others, key=lambda c: _length(rows, c)), output=output)


def _named(columns: Sequence[str], names: str) -> str | None:
    by_name = {column.casefold(): column for column in columns}
    return next((by_name[name] for name in names.split() if name in by_name), None)


def _variety(rows: Sequence[dict[str, str]], column: str) -> float:
    """How many different values a column has; endless for one that never varies, which answers nothing."""
    distinct = len({row.get(column, "") for row in rows})
    return distinct if distinct > 1 else float("inf")


def _length(rows: Sequence[dict[str, str]], column: str) -> int:
    return sum(len(row.get(column, "")) for row in rows)


def read_examples(table: Table, mapping: Mapping) -> list[Example]:
    """The table's rows as examples; rows without an input or an answer are left out (`profile` counts them).

    Raises `DataError` where a mapped column is missing or no row is usable.
    """
    for role, column in (("input", mapping.input), ("output", mapping.output)):
        if column not in table.columns:
            raise DataError(
                f"{table.path.name} has no column {column!r} for the {role}.",
                hint=f"Its columns are: {', '.join(table.columns)}.",
            )
    examples = []
    for number, row in table.numbered():
        given, answer = _pair(table, mapping, row)
        if given.strip() and answer.strip():
            examples.append(Example(row=number, input=given, output=answer.strip()))
    if not examples:
        raise DataError(
            f"{table.path.name} has no row with both {mapping.input!r} and {mapping.output!r} filled.",
            hint="Choose other columns, or fill them.",
        )
    return examples


def _pair(table: Table, mapping: Mapping, row: dict[str, str]) -> tuple[str, str]:
    if mapping.shape is None:
        return row.get(mapping.input, ""), row.get(mapping.output, "")
    return pair(mapping.shape, table.columns, row, mapping.input, mapping.output)


def load_examples(path: Path, mapping: Mapping) -> list[Example]:
    """Read a file's examples in one step. Raises `DataError`."""
    return read_examples(read_table(path), mapping)


def labels_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """The distinct answers, sorted, where there are few enough of them to be labels; otherwise nothing."""
    distinct = {example.output for example in examples}
    few = len(distinct) <= max(2, len(examples) // 3)
    short = all(len(label) <= 60 and "\n" not in label for label in distinct)
    return tuple(sorted(distinct)) if few and short and not any(x.startswith("{") for x in distinct) else ()


def normal(text: str) -> str:
    """Text without case and spacing, to tell whether two inputs are the same."""
    return " ".join(text.casefold().split())


def split(examples: Sequence[Example], shares: Shares, seed: int) -> Splits:
    """Divide examples by `shares`, each label alike; rows with the same input stay together.

    Deterministic for the same examples, shares and seed. `train` is in random order, so a prefix is a fair sample.
    """
    rng = random.Random(seed)
    groups: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        groups[normal(example.input)].append(example)
    strata: dict[str, list[list[Example]]] = defaultdict(list)
    labels = labels_of(examples)
    for group in groups.values():
        strata[group[0].output if labels else ""].append(group)

    wanted = {name: share for name, share in shares.model_dump().items() if share > 0}
    parts: dict[str, list[Example]] = {name: [] for name in wanted}
    placed = 0
    for label in sorted(strata):
        members = strata[label]
        rng.shuffle(members)
        for group in members:
            placed += len(group)
            # The split that is furthest behind its share takes the group, so shares hold within and across labels.
            behind = max(wanted, key=lambda name: wanted[name] * placed - len(parts[name]))
            parts[behind].extend(group)
    for part in parts.values():
        rng.shuffle(part)
    return Splits(**{name: tuple(part) for name, part in parts.items()})
