"""Converted tables on disk, so that a large file is converted once and its rows are mapped afterwards.

Owns the cache folder: one folder a table with Arrow files, the set-aside rows and a record of both. Refuses to know
formats. Everything here can be made again from the file it came from.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from trainers.paths import write_atomically
from trainers.reading.table import SetAside, Table

_VERSION = 2  # counts up whenever the same file would be read otherwise
_UNUSED_DAYS = 30
_SAMPLE = 65_536


class _About(BaseModel):
    """What is known of a converted table. Written last, so that a folder without it is not finished."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[str, ...]
    parts: int
    aside_rows: tuple[int, ...]
    notes: tuple[str, ...]


def place_for(path: Path, root: Path) -> Path:
    """Where the converted table of this file or folder is kept. Another content means another place.

    The content is known by suffix, size, time of change, and its first and last 64 KiB; so a copy is known again.
    """
    known = hashlib.sha256(str(_VERSION).encode())
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        state = file.stat()
        name = file.relative_to(path).as_posix() if path.is_dir() else file.suffix.lower()
        known.update(str((name, state.st_size, state.st_mtime_ns)).encode())
        with file.open("rb") as stream:
            known.update(stream.read(_SAMPLE))
            stream.seek(max(0, state.st_size - _SAMPLE))
            known.update(stream.read(_SAMPLE))
    return root / known.hexdigest()[:24]


def load(path: Path, place: Path) -> Table | None:
    """The table that was converted before, or None."""
    try:
        about = _About.model_validate_json((place / "about.json").read_bytes())
        batches = [batch for part in range(about.parts) for batch in _batches(place / f"{part}.arrow")]
        os.utime(place)
    except (OSError, ValidationError, pa.ArrowException):
        return None

    def aside() -> Iterator[SetAside]:
        with (place / "aside.jsonl").open("rb") as lines:
            yield from map(SetAside.model_validate, map(json.loads, lines))

    return Table(
        path=path, columns=about.columns, batches=batches,
        aside_rows=about.aside_rows, load_aside=aside, notes=about.notes,
    )  # fmt: skip


def _batches(file: Path) -> list[Any]:
    reader = pa.ipc.open_file(pa.memory_map(str(file)))
    return [reader.get_batch(index) for index in range(reader.num_record_batches)]


class Draft:
    """A table on its way to disk. It takes its place as a whole, or not at all."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._folder = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
        self._writer: Any = None
        self._parts = 0
        self.begun = False

    def write(self, batches: Sequence[Any], aside: Sequence[SetAside]) -> None:
        """Append batches and set-aside rows. A batch with other columns begins another Arrow file."""
        if not self.begun:
            self.begun = True
            self._folder.mkdir(parents=True)
            (self._folder / "aside.jsonl").touch()
        for batch in batches:
            if self._writer is None or self._schema != batch.schema:
                self._open(batch.schema)
            self._writer.write_batch(batch)
        with (self._folder / "aside.jsonl").open("a", encoding="ascii") as out:
            out.writelines(json.dumps(dict(one)) + "\n" for one in aside)

    def _open(self, schema: Any) -> None:
        self._close()
        self._schema = schema
        self._writer = pa.ipc.new_file(str(self._folder / f"{self._parts}.arrow"), schema)
        self._parts += 1

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def first_aside(self) -> SetAside:
        with (self._folder / "aside.jsonl").open("rb") as lines:
            return SetAside.model_validate(json.loads(next(lines)))

    def finish(self, path: Path, columns: tuple[str, ...], aside_rows: Sequence[int], notes: tuple[str, ...]) -> Table:
        """Take the place, and open the table from it."""
        self._close()
        about = _About(columns=columns, parts=self._parts, aside_rows=tuple(aside_rows), notes=notes)
        write_atomically(self._folder / "about.json", about.model_dump_json())
        try:
            self._folder.rename(self._place)
        except OSError:
            if (table := load(path, self._place)) is not None:  # another process has converted the same file meanwhile
                self.drop()
                return table
            shutil.rmtree(self._place, ignore_errors=True)  # what stands there is damaged
            self._folder.rename(self._place)
        _forget_unused(self._place.parent)
        table = load(path, self._place)
        if table is None:
            raise OSError(f"the converted table at {self._place} cannot be read")
        return table

    def drop(self) -> None:
        """Leave nothing behind."""
        self._close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _forget_unused(root: Path) -> None:
    """Remove what nobody has opened for long, half-made drafts of a process that died included."""
    for folder in root.iterdir():
        try:
            if time.time() - folder.stat().st_mtime > _UNUSED_DAYS * 86_400:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # somebody else was faster
            continue
