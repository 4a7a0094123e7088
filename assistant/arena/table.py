"""The table of a batch: a row an input, a cell an arm, figures under each, and what can be downloaded of it.

Owns scores, sorting and the two file formats. Refuses to ask anybody.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from assistant.arena.asking import Arm
from assistant.arena.differences import disagreement
from assistant.votes import ArmAnswer
from prompts.chat_model import GREEDY, Sampling
from prompts.errors import DataError
from prompts.metrics import METRICS, Score
from trainers.data import Example

# What makes a spreadsheet run a cell as a formula, as OWASP lists it.
_RUNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_Value = str | int | float | None


@dataclass(frozen=True)
class Cell:
    """One arm's answer to one row. `error` says why it failed; what came before that is no answer and scores 0.

    `score` is in [0, 1], None where nothing was expected or nobody asked for a metric.
    """

    answer: ArmAnswer
    error: str = ""
    score: float | None = None


@dataclass(frozen=True)
class BatchRow:
    """One input with a cell for each arm, in the order of the arms. `number` is the row's in its file.

    `disagreement` is of the answers that came, in [0, 1].
    """

    number: int
    input: str
    expected: str
    cells: tuple[Cell, ...]
    disagreement: float


_Read = Callable[[BatchRow], _Value]


@dataclass(frozen=True)
class ArmSummary:
    """One arm over all rows: its score with the 95 % interval, mean tokens of the answers that came, failed rows."""

    title: str
    key: str
    score: Score | None
    tokens: float
    failures: int


@dataclass(frozen=True)
class BatchTable:
    """The rows that every arm has answered or failed at. `missing` are those that were not asked before a stop.

    `metric` is empty where nothing was scored. Titles differ from each other, so that they can name columns.
    """

    arms: tuple[ArmSummary, ...]
    rows: tuple[BatchRow, ...]
    metric: str = ""
    sampling: Sampling = GREEDY
    missing: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """What it can be sorted by, and what the CSV has."""
        return tuple(self._columns())

    def sorted_by(self, column: str, *, descending: bool = False) -> BatchTable:
        """The same with its rows in another order, those without a value last. Raises `DataError`."""
        value = self._columns().get(column)
        if value is None:
            raise DataError(f"There is no column {column!r}.", hint=f"There are: {', '.join(self.columns)}.")
        there = [row for row in self.rows if value(row) is not None]
        rest = [row for row in self.rows if value(row) is None]
        return replace(self, rows=(*sorted(there, key=lambda row: _by(value(row)), reverse=descending), *rest))

    def to_csv(self) -> str:
        """The rows as CSV. A text that a spreadsheet would run as a formula has a `'` before it."""
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(map(_csv_cell, self.columns))
        for row in self.rows:
            writer.writerow([_csv_cell(value(row)) for value in self._columns().values()])
        return _encodable(out.getvalue())

    def to_jsonl(self) -> str:
        """A JSON object a row with all that is known of each answer but the chat that was sent."""
        return "".join(f"{_encodable(json.dumps(self._row(row), ensure_ascii=False))}\n" for row in self.rows)

    def _row(self, row: BatchRow) -> dict[str, object]:
        answers = [
            {
                "arm": arm.title,
                **cell.answer.model_dump(exclude={"title", "messages"}),
                **({"score": cell.score} if self.metric else {}),
                "error": cell.error,
            }
            for arm, cell in zip(self.arms, row.cells, strict=True)
        ]
        kept = {"row": row.number, "input": row.input, "expected": row.expected}
        return {**kept, "disagreement": row.disagreement, "answers": answers}

    def _columns(self) -> dict[str, _Read]:
        columns: dict[str, _Read] = {
            "row": lambda row: row.number,
            "input": lambda row: row.input,
            "expected": lambda row: row.expected,
            "disagreement": lambda row: row.disagreement,
        }
        for index, arm in enumerate(self.arms):
            columns |= _columns_of(index, arm.title, scored=bool(self.metric))
        return columns


def _columns_of(index: int, title: str, *, scored: bool) -> dict[str, _Read]:
    columns: dict[str, _Read] = {title: lambda row: row.cells[index].answer.text}
    if scored:
        columns[f"{title} score"] = lambda row: row.cells[index].score
    columns[f"{title} tokens"] = lambda row: row.cells[index].answer.tokens
    columns[f"{title} error"] = lambda row: row.cells[index].error
    return columns


def tabulate(
    arms: Sequence[Arm],
    rows: Sequence[Example],
    cells: Sequence[Mapping[str, Cell]],
    metric: str = "",
    sampling: Sampling = GREEDY,
) -> BatchTable:
    """The table of the rows for which every arm has a cell; `cells` has them for each arm by input."""
    complete = [row for row in rows if all(row.input in of_arm for of_arm in cells)]
    metric = metric if any(row.output for row in complete) else ""
    columns = [[of_arm[row.input] for row in complete] for of_arm in cells]
    scored = [_scored(column, complete, metric) for column in columns]
    titles = _different([arm.title or arm.model.name for arm in arms])
    return BatchTable(
        arms=tuple(
            _summary(title, arm.key, column, score)
            for title, arm, (column, score) in zip(titles, arms, scored, strict=True)
        ),
        rows=tuple(_row(row, [column[index] for column, _ in scored]) for index, row in enumerate(complete)),
        metric=metric,
        sampling=sampling,
        missing=len(rows) - len(complete),
    )


def _scored(cells: Sequence[Cell], rows: Sequence[Example], metric: str) -> tuple[list[Cell], Score | None]:
    """The cells with scores, and the figure over those of rows with an expected answer."""
    if not metric:
        return list(cells), None
    texts, expected = ["" if cell.error else cell.answer.text for cell in cells], [row.output for row in rows]
    there = [index for index, wanted in enumerate(expected) if wanted]
    found = list(cells)
    for n in there:
        found[n] = replace(cells[n], score=0.0 if cells[n].error else METRICS[metric].row(texts[n], expected[n]))
    return found, METRICS[metric].score([texts[n] for n in there], [expected[n] for n in there])


def _summary(title: str, key: str, cells: Sequence[Cell], score: Score | None) -> ArmSummary:
    came = [cell.answer.tokens for cell in cells if not cell.error]
    return ArmSummary(title, key, score, sum(came) / len(came) if came else 0.0, len(cells) - len(came))


def _row(row: Example, cells: Sequence[Cell]) -> BatchRow:
    apart = disagreement([cell.answer.text for cell in cells if not cell.error])
    return BatchRow(row.row, row.input, row.output, tuple(cells), apart)


def _different(titles: Sequence[str]) -> list[str]:
    """Titles that can name columns beside the fixed ones: one that is taken gets a number."""
    taken, found = {"row", "input", "expected", "disagreement"}, []
    for title in titles:
        name = next(name for n in range(1, 99) if (name := f"{title} ({n})" if n > 1 else title) not in taken)
        taken |= {name, *(f"{name} {what}" for what in ("score", "tokens", "error"))}
        found.append(name)
    return found


def _by(value: _Value) -> str | float:
    return value.casefold() if isinstance(value, str) else value or 0.0


def _csv_cell(value: _Value) -> _Value:
    """Figures to four places. One `'` more where a text runs, or begins with such marks, so that it can be undone."""
    if isinstance(value, float):
        return round(value, 4)
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(_RUNS) else value


def _encodable(text: str) -> str:
    """Half a surrogate pair, which no file can hold, as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()
