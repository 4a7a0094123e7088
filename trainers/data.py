"""From a person's file to seeded splits of examples.

Owns reading CSV, JSONL and JSON arrays, the mapping of columns to input and output, and the splits. Refuses to judge
the data (that is `profile`) or to render prompts. Every error names the file, the row and the field.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from prompts.errors import DataError

_INPUT_NAMES = "input text ticket message question prompt instruction email review sentence document query utterance mr"
_OUTPUT_NAMES = "output label category intent team class target answer completion response summary translation ref"
_HINT = "Give a CSV file with a header row, or a JSONL file with one object a line."
# csv refuses fields over 131,072 characters by default; a document may be longer.
csv.field_size_limit(10_000_000)


class Table(BaseModel):
    """Rows as strings under named columns, in file order."""

    model_config = ConfigDict(frozen=True)

    path: Path
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]


class Mapping(BaseModel):
    """Which column is the model's input, and which one the answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str
    output: str


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


def read_table(path: Path) -> Table:
    """Read a CSV (any common delimiter), JSONL or JSON array file. Raises `DataError` with file and row."""
    if not path.is_file():
        raise DataError(f"There is no file {path}.", hint="Check the path.")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.", hint="Check its permissions.") from error
    if not raw.strip():
        raise DataError(f"{path.name} is empty.", hint=_HINT)
    text = _decode(raw, path)
    readers = {"{": _read_jsonl, "[": _read_json_array}
    return table_of(readers.get(text.lstrip()[:1], _read_csv)(text, path), path)


def table_of(rows: Sequence[dict[str, str]], path: Path | str) -> Table:
    """A table of rows that are here already; `path` is the name that an error gives."""
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return Table(path=Path(path), columns=columns, rows=tuple(rows))


def _decode(raw: bytes, path: Path) -> str:
    if b"\x00" in raw[:4096] and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path.name} is neither CSV nor JSONL: it is a binary file.", hint=_HINT)
    for encoding in ("utf-16",) if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path.name} is not text in UTF-8, UTF-16 or Windows-1252.", hint="Save it as UTF-8.")


def _read_jsonl(text: str, path: Path) -> list[dict[str, str]]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path.name}, line {number} is not valid JSON: {error}.", hint=_HINT) from error
        if not isinstance(value, dict):
            raise DataError(f"{path.name}, line {number} is not a JSON object.", hint=_HINT)
        rows.append(_as_row(value))
    return rows


def _read_json_array(text: str, path: Path) -> list[dict[str, str]]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path.name} is not valid JSON: {error}.", hint=_HINT) from error
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise DataError(f"{path.name}, item {number} is not a JSON object.", hint=_HINT)
    if not values:
        raise DataError(f"{path.name} is an empty list.", hint=_HINT)
    return [_as_row(value) for value in values]


def _as_row(value: dict[str, Any]) -> dict[str, str]:
    return {key.strip(): _as_text(item) for key, item in value.items()}


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _read_csv(text: str, path: Path) -> list[dict[str, str]]:
    text = text.lstrip("\r\n")
    header_line = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text, maxsplit=1)[0])
    delimiter = max(",;\t|", key=header_line.count)
    if delimiter not in header_line:
        raise DataError(
            f"{path.name} is neither CSV nor JSONL: its first line has no comma, semicolon, tab or bar.", hint=_HINT
        )
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        _require_good_header(header, path)
        rows: list[dict[str, str]] = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                fields = f"{len(cells)} field{'s' if len(cells) != 1 else ''}"
                raise DataError(
                    f"{path.name}, row {len(rows) + 1} (line {reader.line_num}) has {fields}, "
                    f"but the header has {len(header)}.",
                    hint="Put a field that holds the delimiter in double quotes.",
                )
            rows.append(dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path.name}, line {reader.line_num} is not valid CSV: {error}.", hint=_HINT) from error
    if not rows:
        raise DataError(f"{path.name} has a header but no rows.", hint="Add at least one row below the header.")
    return rows


def _require_good_header(header: list[str], path: Path) -> None:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None or "" in header:
        what = f"names {twice!r} twice" if twice else "has a column without a name"
        raise DataError(f"The header of {path.name} {what}.", hint="Give every column a name of its own.")


def guess_mapping(table: Table) -> Mapping:
    """Guess which column is the input and which the answer: by name, else by length and variety.

    Raises `DataError` where there are fewer than two columns.
    """
    if len(table.columns) < 2:
        raise DataError(
            f"{table.path.name} has one column ({table.columns[0]}), but an input and an answer are needed.",
            hint="Add a column with the expected answers.",
        )
    output = _named(table.columns, _OUTPUT_NAMES) or min(table.columns, key=lambda c: _variety(table, c))
    others = [column for column in table.columns if column != output]
    named = _named(others, _INPUT_NAMES)
    return Mapping(input=named or max(others, key=lambda c: _length(table, c)), output=output)


def _named(columns: Sequence[str], names: str) -> str | None:
    by_name = {column.casefold(): column for column in columns}
    return next((by_name[name] for name in names.split() if name in by_name), None)


def _variety(table: Table, column: str) -> float:
    """How many different values a column has; endless for one that never varies, which answers nothing."""
    distinct = len({row.get(column, "") for row in table.rows})
    return distinct if distinct > 1 else float("inf")


def _length(table: Table, column: str) -> int:
    return sum(len(row.get(column, "")) for row in table.rows)


def read_examples(table: Table, mapping: Mapping) -> list[Example]:
    """The table's rows as examples; rows without an input or an answer are left out (`profile` counts them).

    Raises `DataError` where a mapped column is missing or no row is usable.
    """
    for role, column in mapping.model_dump().items():
        if column not in table.columns:
            raise DataError(
                f"{table.path.name} has no column {column!r} for the {role}.",
                hint=f"Its columns are: {', '.join(table.columns)}.",
            )
    examples = [
        Example(row=number, input=row[mapping.input], output=row[mapping.output].strip())
        for number, row in enumerate(table.rows, start=1)
        if row.get(mapping.input, "").strip() and row.get(mapping.output, "").strip()
    ]
    if not examples:
        raise DataError(
            f"{table.path.name} has no row with both {mapping.input!r} and {mapping.output!r} filled.",
            hint="Choose other columns, or fill them.",
        )
    return examples


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
