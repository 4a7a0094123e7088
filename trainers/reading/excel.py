"""Excel workbooks (.xlsx), the first visible sheet that has rows.

Owns turning cells into text. Nothing is run: a formula counts as the value that was stored when the file was saved,
and a row with a formula that has none is set aside. Refuses the old .xls.
"""

from __future__ import annotations

import datetime
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prompts.errors import DataError
from trainers.reading.sink import Sink
from trainers.reading.zips import parts_of

_AGAIN = "Open it in a spreadsheet and save it again, or export it as CSV."
_MOST_UNPACKED = 4 << 30


def is_workbook(path: Path) -> bool:
    """A ZIP archive with a workbook in it; the first bytes are those of any ZIP archive."""
    return any(part.filename == "xl/workbook.xml" for part in parts_of(path))


def read(path: Path, sink: Sink) -> None:
    """Read a workbook. Raises `DataError`."""
    from openpyxl import load_workbook

    _require_sane(path, sink)
    try:
        # As streams: given a path, openpyxl goes by the suffix.
        with warnings.catch_warnings(), path.open("rb") as first, path.open("rb") as second:
            warnings.simplefilter("ignore")  # about parts that a table does not need
            values = load_workbook(first, read_only=True, data_only=True)
            formulas = load_workbook(second, read_only=True, data_only=False)
            try:
                _read_first_sheet(values, formulas, sink)
            finally:
                values.close()
                formulas.close()
    except DataError:
        raise
    except Exception as error:  # openpyxl raises whatever its parsers do on a damaged file
        raise sink.refuse(f"cannot be read as an Excel file: {type(error).__name__}: {error}.", _AGAIN) from error


def _require_sane(path: Path, sink: Sink) -> None:
    parts = parts_of(path)
    if not parts:
        raise sink.refuse("is a damaged or cut Excel file.", _AGAIN)
    if sum(part.file_size for part in parts) > _MOST_UNPACKED:
        raise sink.refuse("would unpack to more than 4 GiB.", "Export the table as CSV or Parquet.")


def _read_first_sheet(values: Any, formulas: Any, sink: Sink) -> None:
    visible = [sheet for sheet in values.worksheets if sheet.sheet_state == "visible"]
    for sheet in visible:
        rows = _rows(sheet, formulas[sheet.title])
        first = next(rows, None)
        if first is None:
            continue
        if len(values.sheetnames) > 1:
            sink.note(f"Read from the sheet {sheet.title!r}, the first with rows of {len(values.sheetnames)}.")
        _read_rows(first, rows, sink)
        return
    raise sink.refuse("has no sheet with rows.", "Fill the first sheet: a header, and rows below it.")


def _rows(sheet: Any, with_formulas: Any) -> Iterator[tuple[int, Sequence[Any], Sequence[Any]]]:
    """Row number, values and formulas of every row with something in it."""
    for one in (sheet, with_formulas):
        one.reset_dimensions()  # what the file says of its size may be wrong
    pairs = zip(sheet.iter_rows(), with_formulas.iter_rows(), strict=True)
    for number, (cells, asked) in enumerate(pairs, start=1):
        if any(cell.value is not None for cell in (*cells, *asked)):
            yield number, cells, asked


def _read_rows(first: tuple[int, Sequence[Any], Sequence[Any]], rows: Any, sink: Sink) -> None:
    header = [_text(cell.value).strip() for cell in first[1]]
    while header and not header[-1]:
        header.pop()
    sink.start(header)
    for number, cells, asked in rows:
        texts = [_text(cell.value) for cell in cells]
        raw = json.dumps(texts, ensure_ascii=False)
        if not any(text.strip() for text in texts) and not any(cell.value is not None for cell in asked):
            continue
        if reason := _unreadable(cells, asked, header):
            sink.set_aside(number, reason, raw)
        else:
            sink.add([*texts, *[""] * len(header)][: len(header)], number, raw)


def _unreadable(cells: Sequence[Any], asked: Sequence[Any], header: Sequence[str]) -> str:
    """Why a row cannot be read, or nothing."""
    for index, (cell, formula) in enumerate(zip(cells, asked, strict=False)):
        place = f"cell {formula.coordinate}" if hasattr(formula, "coordinate") else f"column {index + 1}"
        if index >= len(header) and cell.value is not None:
            return f"has a value in {place}, where the header has no name"
        if getattr(cell, "data_type", "") == "e":
            return f"holds the error {cell.value} in {place}"
        if cell.value is None and getattr(formula, "data_type", "") == "f":
            return f"holds a formula without a stored value in {place}"
    return ""


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
