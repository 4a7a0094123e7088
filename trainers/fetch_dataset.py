"""Loads a data set of the Hugging Face hub and writes one Parquet file a split.

Run as `python -m trainers.fetch_dataset SOURCE CONFIG FOLDER`, in a process of its own because `datasets` imports
torch; what is in the working folder it uses for scratch. Owns the loading and the writing; where data sets are kept is
`reading.hub`'s business. Every line that it prints is a JSON object: `say` for what is going on, and at last either
`revision`, or `message` and `hint`. No code of a data set is run: `datasets` knows data files alone since version 4.

Names stand for numbers that are labels, and what is no text (pictures, sound) is left out, noted in the file.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from prompts.errors import DataError
from trainers.reading import hub_errors
from trainers.reading.parquet import LEFT_OUT

_MOST_BYTES = 1 << 30
_BATCH = 2_000  # rows of a group in the file, and between two words about it
_TEXTUAL = (
    "Value", "ClassLabel", "List", "LargeList", "Translation", "TranslationVariableLanguages", "Json", "dict",
)  # fmt: skip
_ALIVE_SECONDS = 1.0


class _Voice:
    """Says what is going on, and says it again every second: a process that hears nothing cannot stop this one."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._last = "Starting …"
        self._said_at = 0.0
        threading.Thread(target=self._repeat, daemon=True).start()

    def say(self, text: str) -> None:
        self._last = text
        self.write(say=text)

    def write(self, **message: str) -> None:
        with self._lock:
            self._said_at = time.monotonic()
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()

    def _repeat(self) -> None:
        while True:
            time.sleep(_ALIVE_SECONDS / 4)
            if time.monotonic() - self._said_at >= _ALIVE_SECONDS:
                try:
                    self.write(say=self._last)
                except OSError:  # nobody is there any more who wants the data
                    os._exit(1)


Say = Callable[[str], None]


def fetch(source: str, config: str, folder: Path, say: Say) -> str:
    """Write the data set into `folder`, and give its revision. Raises `DataError` and the libraries' own errors."""
    import datasets

    _show_bars(say)
    name = f"{source}:{config}" if config else source
    say(f"Looking for {name} …")
    revision = "" if Path(source).is_absolute() else _revision(source)
    config = _choose(source, config)
    scratch = str(Path.cwd())
    builder = datasets.load_dataset_builder(source, config, cache_dir=scratch)
    _require_small(builder, name)
    # The figures in a data set's card are often old; that is no reason to refuse its data.
    loaded = datasets.load_dataset(source, config, cache_dir=scratch, verification_mode="no_checks")
    for split, rows in loaded.items():
        if len(rows):
            _write(rows, folder / f"{split}.parquet", name, say)
    if not any(loaded.values()):
        raise hub_errors.no_text(name, ())
    return revision or str(builder.hash)


def _revision(source: str) -> str:
    """Asked first and apart: it fails at once where there is no network, and says clearly what is wrong."""
    from huggingface_hub import HfApi

    return HfApi().dataset_info(source, timeout=20).sha or ""


def _choose(source: str, config: str) -> str:
    """The configuration that was named, or the only one."""
    import datasets

    known = datasets.get_dataset_config_names(source)
    if not config and len(known) > 1:
        raise hub_errors.several(source, known, datasets.get_dataset_default_config_name(source))
    if config and config not in known:
        raise hub_errors.no_config(source, config, known)
    return config or known[0]


def _require_small(builder: Any, name: str) -> None:
    """By what the data set says of itself, else by the sizes of its files."""
    said = max(builder.info.download_size or 0, builder.info.dataset_size or 0)
    size = said or _size_of_files(builder.config.data_files or {})
    if size > _MOST_BYTES:
        raise hub_errors.too_large(name, size, _MOST_BYTES)


def _size_of_files(files: Any) -> int:
    """Summed no further than needed: thousands of files would be asked for one by one."""
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]

    total = 0
    for path in (path for paths in files.values() for path in paths):
        system, place = url_to_fs(path)
        total += system.size(place) or 0
        if total > _MOST_BYTES:
            break
    return total


def _write(rows: Any, path: Path, name: str, say: Say) -> None:
    """One split, labels by their names, and without the columns that hold no text."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Features

    left_out = {column: type(kind).__name__ for column, kind in rows.features.items() if not _is_textual(kind)}
    told = [f"{column} ({kind})" for column, kind in left_out.items()]
    kept = Features({column: kind for column, kind in rows.features.items() if column not in left_out})
    if not kept:
        raise hub_errors.no_text(name, told)
    schema = Features({column: _named(kind) for column, kind in kept.items()}).arrow_schema
    schema = schema.with_metadata({LEFT_OUT: ", ".join(told).encode()} if told else None)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for done, batch in _batches(rows.select_columns(list(kept)).with_format("arrow")):
            columns = [_column(batch.column(column), kind, schema.field(column).type) for column, kind in kept.items()]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            say(f"Writing {path.stem}: {done:,} of {len(rows):,} rows ({100 * done // len(rows)} %)")


def _batches(rows: Any) -> Iterator[tuple[int, Any]]:
    done = 0
    for batch in rows.iter(_BATCH):
        done += batch.num_rows
        yield done, batch


def _column(cells: Any, kind: Any, target: Any) -> Any:
    """Cells as they are stored, unless labels stand in them."""
    import pyarrow as pa

    if _named(kind) == kind:
        return cells if cells.type == target else cells.cast(target)
    return pa.chunked_array([pa.array([_with_names(cell, kind) for cell in cells.to_pylist()], type=target)])


def _is_textual(kind: Any) -> bool:
    """Whether text, numbers, or lists and records of them are all there is."""
    return type(kind).__name__ in _TEXTUAL and all(map(_is_textual, _inner(kind)))


def _inner(kind: Any) -> Sequence[Any]:
    if isinstance(kind, dict):
        return list(kind.values())
    return [kind.feature] if type(kind).__name__ in ("List", "LargeList") else []


def _named(kind: Any) -> Any:
    """The same kind with text where labels are."""
    from datasets import ClassLabel, LargeList, List, Value

    if isinstance(kind, ClassLabel):
        return Value("string")
    if isinstance(kind, dict):
        return {name: _named(inner) for name, inner in kind.items()}
    if isinstance(kind, List):
        return List(_named(kind.feature), length=kind.length)
    return LargeList(_named(kind.feature)) if isinstance(kind, LargeList) else kind


def _with_names(value: Any, kind: Any) -> Any:
    """A value with its labels' names. A number without one (-1 where a test set hides its answers) is nothing."""
    if value is None:
        return None
    if isinstance(kind, dict):
        return {name: _with_names(value[name], inner) for name, inner in kind.items()}
    if inner := _inner(kind):
        return [_with_names(one, inner[0]) for one in value]
    if type(kind).__name__ != "ClassLabel":
        return value
    return kind.names[value] if kind.names and 0 <= value < len(kind.names) else None


def _show_bars(say: Say) -> None:
    """Progress bars are said instead of drawn: those of both libraries draw themselves by this one method."""
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    def display(bar: Any, *_: Any, **__: Any) -> None:
        part = f"{100 * bar.n // bar.total} %" if bar.total else f"{bar.n:,} {bar.unit.strip()}"
        what = bar.desc.rstrip(": ").rpartition("/")[2] or "Reading"  # of a file's address, its name
        say(f"{'Downloading ' if bar.unit == 'B' else ''}{what}: {part}")

    tqdm.display = display


def _similar(source: str) -> list[str]:
    """Data sets of the same owner, or with this name: what a slip of the pen may have meant."""
    from huggingface_hub import HfApi

    owner, _, name = source.partition("/")
    try:
        found = [*HfApi().list_datasets(author=owner, limit=200), *HfApi().list_datasets(search=name, limit=20)]
    except Exception:  # a help for spelling; without it the error is told all the same
        return []
    return [one.id for one in found]


def main(source: str, config: str, folder: Path) -> int:
    """Fetch, and print how it went."""
    voice = _Voice(sys.stdout)
    sys.stdout = sys.stderr  # what a library prints is no message
    name = f"{source}:{config}" if config else source
    try:
        voice.write(revision=fetch(source, config, folder, voice.say))
        return 0
    except Exception as error:
        missing = type(error).__name__ == "RepositoryNotFoundError"
        told: DataError = hub_errors.explain(error, name, _similar(source) if missing else ())
        voice.write(message=told.message, hint=told.hint)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
