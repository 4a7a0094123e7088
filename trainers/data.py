"""From a table to examples: which column goes in, and which one holds the answer.

Owns the mapping of columns to input and output. Refuses to read files (that is `reading`), to change rows (`edits`),
to divide them (`splits`), to judge them (`profile`) or to render prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from prompts.errors import DataError
from trainers.reading import ComposedKind, Table, detect_shape, given_split, pair, rejected, split_column

_INPUT_NAMES = "input text ticket message question prompt instruction email review sentence document query utterance mr"
_OUTPUT_NAMES = "output label category intent team class target answer completion response summary translation ref"
_LOOKED_AT = 1_000  # rows by which a mapping is guessed


class Mapping(BaseModel):
    """Which column is the model's input, and which one the answer.

    Where `shape` is set, input and answer are composed as that shape has it, from these columns and those beside them.
    `output` is empty where there are no answers yet; `split` names the column that says which rows are for the test.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str
    output: str
    shape: ComposedKind | None = None
    split: str | None = None

    @property
    def told(self) -> str:
        """The mapping in words, for a person."""
        if not self.output:
            return f"`{self.input}` goes in, and there are no answers yet"
        if self.shape is None:
            return f"`{self.input}` goes in, `{self.output}` is the answer"
        return f"read as {self.shape}: what goes in comes from `{self.input}`, the answer from `{self.output}`"


Origin = Literal["file", "typed", "written"]


@dataclass(frozen=True, slots=True)
class Example:
    """One input with its expected answer. `row` counts from 1 below the header of its file, blank lines aside.

    `origin` is "typed" for a row that the person wrote in the chat, "written" for a synthetic one; both have numbers
    above those of the file. `place` is the split that the data itself names, or empty. `rejected` is an answer that
    somebody liked less than `output`, or disliked where there is no `output`. No pydantic model: there may be a million
    of them.
    """

    row: int
    input: str
    output: str
    origin: Origin = "file"
    place: str = ""
    rejected: str = ""


def guess_mapping(table: Table) -> Mapping:
    """Guess which column is the input and which the answer: by shape, by name, else by length and variety.

    One column alone is taken for inputs that nobody has answered yet.
    """
    split = split_column(table)
    shape = detect_shape(table)
    if shape is not None:
        return Mapping(input=shape.input, output=shape.output, shape=shape.composed, split=split)
    columns = [column for column in table.columns if column != split]
    if len(columns) == 1:
        return Mapping(input=columns[0], output="", split=split)
    rows = table.head(_LOOKED_AT)
    output = _named(columns, _OUTPUT_NAMES) or min(columns, key=lambda c: _variety(rows, c))
    others = [column for column in columns if column != output]
    named = _named(others, _INPUT_NAMES)
    return Mapping(input=named or max(others, key=lambda c: _length(rows, c)), output=output, split=split)


def _named(columns: Sequence[str], names: str) -> str | None:
    by_name = {column.casefold(): column for column in columns}
    return next((by_name[name] for name in names.split() if name in by_name), None)


def _variety(rows: Sequence[dict[str, str]], column: str) -> float:
    """How many different values a column has; endless for one that never varies, which answers nothing."""
    distinct = len({row.get(column, "") for row in rows})
    return distinct if distinct > 1 else float("inf")


def _length(rows: Sequence[dict[str, str]], column: str) -> int:
    return sum(len(row.get(column, "")) for row in rows)


def read_rows(table: Table, mapping: Mapping) -> Iterator[Example]:
    """Every row that has an input, those without an answer included. Raises `DataError` for a column that is not there.

    Rows without an input are left out (`profile` counts them).
    """
    for role, column in (("input", mapping.input), ("output", mapping.output), ("split", mapping.split)):
        if column and column not in table.columns:
            raise DataError(
                f"{table.path.name} has no column {column!r} for the {role}.",
                hint=f"Its columns are: {', '.join(table.columns)}.",
            )
    return _rows(table, mapping)


def _rows(table: Table, mapping: Mapping) -> Iterator[Example]:
    for number, row in table.numbered():
        given, answer = _pair(table, mapping, row)
        if given.strip():
            place = given_split(row.get(mapping.split, "")) if mapping.split else ""
            worse = rejected(mapping.shape, table.columns, row, mapping.input, mapping.output) if mapping.shape else ""
            yield Example(row=number, input=given, output=answer.strip(), place=place, rejected=worse.strip())


def read_examples(table: Table, mapping: Mapping) -> list[Example]:
    """The table's rows as examples; rows without an input or an answer are left out (`profile` counts them).

    Raises `DataError` where a mapped column is missing or no row is usable.
    """
    examples = [example for example in read_rows(table, mapping) if example.output]
    if not examples:
        raise no_example(table, mapping)
    return examples


def no_example(table: Table, mapping: Mapping) -> DataError:
    """The error for a table without one usable row; the caller raises it."""
    wanted = f"both {mapping.input!r} and {mapping.output!r}" if mapping.output else f"{mapping.input!r}"
    return DataError(f"{table.path.name} has no row with {wanted} filled.", hint="Choose other columns, or fill them.")


def _pair(table: Table, mapping: Mapping, row: dict[str, str]) -> tuple[str, str]:
    if mapping.shape is None:
        return row.get(mapping.input, ""), row.get(mapping.output, "")
    return pair(mapping.shape, table.columns, row, mapping.input, mapping.output)


def labels_of(examples: Sequence[Example], *, said: bool = False) -> tuple[str, ...]:
    """The distinct answers, sorted, where there are few enough of them to be labels; otherwise nothing.

    Where somebody `said` that answers are labels, two rows of each in the mean are enough: a few rows of many labels do
    not show it by themselves.
    """
    distinct = {example.output for example in examples}
    few = len(distinct) <= max(2, len(examples) // (2 if said else 3))
    short = all(len(label) <= 60 and "\n" not in label for label in distinct)
    return tuple(sorted(distinct)) if few and short and not any(x.startswith("{") for x in distinct) else ()


def normal(text: str) -> str:
    """Text without case and spacing, to tell whether two inputs are the same."""
    return " ".join(text.casefold().split())
