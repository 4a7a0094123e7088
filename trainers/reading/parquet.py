"""Parquet files. Owns turning typed columns into text; what is nested becomes JSON text.

A file may say in its metadata, under `LEFT_OUT`, which columns it had to leave out of what it was made from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from trainers.reading.sink import Sink

LEFT_OUT = b"tunewright.left_out"
_BATCH = 1024
_HINT = "Write it again with pyarrow or pandas, or export it as CSV or JSONL."


def looks(head: bytes) -> bool:
    return head.startswith(b"PAR1")


def read(path: Path, sink: Sink) -> None:
    """Read a Parquet file. Raises `DataError`."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            binary = [field.name for field in file.schema_arrow if _is_binary(field.type)]
            names = [name for name in file.schema_arrow.names if name not in binary]
            if binary:
                sink.note(f"Left out columns that hold bytes rather than text: {', '.join(binary)}.")
            if left_out := (file.schema_arrow.metadata or {}).get(LEFT_OUT):
                sink.note(f"Columns that hold no text are not in it: {left_out.decode('utf-8', 'replace')}.")
            if not names:
                raise sink.refuse("has no column with text.", "Give a column that goes in, and one with the answer.")
            sink.start([name.strip() for name in names])
            for batch in file.iter_batches(_BATCH, columns=names):
                _add(batch, sink)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise sink.refuse(f"cannot be read as Parquet: {reason}.", _HINT) from error


def _is_binary(kind: Any) -> bool:
    nested = [kind.field(index).type for index in range(kind.num_fields)] if pa.types.is_nested(kind) else []
    plain = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return plain or any(map(_is_binary, nested))


def _add(batch: Any, sink: Sink) -> None:
    for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
        texts = [cell if isinstance(cell, str) else _text(cell) for cell in cells]
        sink.add(texts, 0, "\t".join(texts))


def _text(value: Any) -> str:
    if value is None or value != value:  # NaN is how pandas writes what is missing
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return str(json.loads(text)) if text.startswith('"') else text
