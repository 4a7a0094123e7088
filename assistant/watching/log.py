"""The log of requests in a run's folder: what is kept of each, for how long, and how it is deleted.

    RUN_DIR/watch/
      settings.json             whether requests are logged (off by default), masked (on by default), and how many MB
      requests-2026-11.jsonl    one request a line; a full file goes on in requests-2026-11-00002.jsonl
      looks.json, labelled.json what was found out (`looks`, `labelled`)

Owns these files. Nothing of them is sent anywhere. Refuses to know HTTP (`recorder`) and to judge.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prompts.errors import RunError
from trainers.checks.personal import found_in, masked
from trainers.paths import write_atomically
from trainers.status import RunFolder

_LONGEST = 20_000  # characters that are kept of an input or an answer
_EDGE = 2_000  # no piece of personal data is longer, so that none is cut in two where a text is
_FILES = re.compile(r"requests-\d{4}-\d{2}(?:-(\d{5}))?\.jsonl")
_PARTS = 4  # files in which a full log stands: the oldest goes when a new one is begun
_ONE_AT_A_TIME = threading.Lock()


class WatchSettings(BaseModel):
    """Whether a run's requests are logged, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    log: bool = False
    mask: bool = Field(True, description="Put a placeholder in the place of personal data that has a form")
    most_mb: float = Field(64, gt=0, le=100_000, description="The oldest requests are dropped beyond this")


class Logged(BaseModel):
    """One request. `time` is when the answer had ended, in UTC; `seconds` how long it took.

    `input` is what stood in the prompt's template; with `whole_turn` it is the person's whole turn, since that does not
    look like this run's prompt. `prompt_id` is empty where it was asked with another prompt than the run's. `error`
    says what went wrong, also that an answer was cut off.
    """

    model_config = ConfigDict(frozen=True)

    time: datetime
    model: str
    prompt_id: str = ""
    input: str
    whole_turn: bool = False
    output: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    error: str = ""
    masked: bool = False


class RequestLog:
    """A run's log. Any number of threads and processes may append and read at once."""

    def __init__(self, run: RunFolder) -> None:
        self.folder = run.path / "watch"

    def settings(self) -> WatchSettings:
        """The run's own; a file that nobody can read counts as the defaults, so that nothing is logged."""
        try:
            return WatchSettings.model_validate_json((self.folder / "settings.json").read_bytes())
        except (OSError, ValidationError):
            return WatchSettings()

    def write_settings(self, settings: WatchSettings) -> None:
        write_atomically(self.folder / "settings.json", settings.model_dump_json(indent=1))

    def append(self, request: Logged, settings: WatchSettings) -> None:
        """Keep a request, whole and on the disk when this returns. Raises OSError where that cannot be done."""
        kept = _fit_to_keep(request, settings.mask)
        with _ONE_AT_A_TIME:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self._file(request.time, settings.most_mb * 1e6 / _PARTS)
            _append_line(file, kept.model_dump_json().encode())
            _drop_oldest(self.files(), settings.most_mb * 1e6)

    def _file(self, time: datetime, most_bytes: float) -> Path:
        """The month's newest file, or the next one where that is full."""
        month = f"requests-{time.astimezone(UTC):%Y-%m}"
        newest = next((file for file in reversed(self.files()) if file.name.startswith(month)), None)
        if newest is None:
            return self.folder / f"{month}.jsonl"
        if newest.stat().st_size < most_bytes:
            return newest
        named = _FILES.fullmatch(newest.name)
        number = int(named[1] or 1) if named else 1
        return self.folder / f"{month}-{number + 1:05}.jsonl"

    def files(self) -> list[Path]:
        """The files of requests, the oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted((f for f in self.folder.iterdir() if _FILES.fullmatch(f.name)), key=lambda file: file.stem)

    def requests(self) -> Iterator[Logged]:
        """All of them, the oldest first; a line that was cut off, as where the power went, is left out."""
        for file in self.files():
            with suppress(FileNotFoundError), file.open("rb") as lines:
                yield from (request for line in lines if (request := _read(line)))

    def per_day(self) -> dict[str, tuple[int, int]]:
        """For each day (UTC, as 2026-11-27) the number of requests and how many of them failed."""
        found: dict[str, tuple[int, int]] = {}
        for name, size, changed in self.stamp():
            days = _days(self.folder / name, size, changed) if _FILES.fullmatch(name) else {}
            for day, (count, failed) in days.items():
                before = found.get(day, (0, 0))
                found[day] = (before[0] + count, before[1] + failed)
        return found

    def size(self) -> int:
        """Bytes of the requests."""
        return sum(size for name, size, _ in self.stamp() if _FILES.fullmatch(name))

    def stamp(self) -> list[tuple[str, int, int]]:
        """Name, size and time of change of each file, settings and findings included: what differs when any does."""
        found = []
        for file in sorted(self.folder.glob("[!.]*")):
            with suppress(FileNotFoundError):  # the oldest may go at any time
                stat = file.stat()
                found.append((file.name, stat.st_size, stat.st_mtime_ns))
        return found

    def delete(self) -> int:
        """Delete the requests and what was found out from them; the settings stay. Returns how many requests it was.

        Raises `RunError` where a file cannot be deleted.
        """
        with _ONE_AT_A_TIME:
            count = sum(count for count, _ in self.per_day().values())
            for file in [*self.files(), self.folder / "looks.json", self.folder / "labelled.json"]:
                try:
                    file.unlink(missing_ok=True)
                except OSError as error:
                    raise RunError(
                        f"{file} cannot be deleted: {error.strerror}.", hint="Delete it by hand, or mend its rights."
                    ) from error
        return count


def _fit_to_keep(request: Logged, mask: bool) -> Logged:
    texts = {name: _short(getattr(request, name), mask) for name in ("input", "output", "error")}
    return request.model_copy(update={**texts, "masked": mask})


def _short(text: str, mask: bool) -> str:
    if len(text) <= _LONGEST:
        return masked(text) if mask else text
    end = _LONGEST - _EDGE
    for span in found_in(text[:_LONGEST]) if mask else ():
        if span.start < end < span.end:
            end = span.start
    return _short(text[:end], mask) + " …"


def _append_line(file: Path, line: bytes) -> None:
    """In one write, which POSIX keeps together. Where the last line was cut off, a new one is begun."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        torn = os.fstat(handle).st_size > 0 and os.lseek(handle, -1, os.SEEK_END) >= 0 and os.read(handle, 1) != b"\n"
        whole = (b"\n" if torn else b"") + line + b"\n"
        if os.write(handle, whole) != len(whole):
            raise OSError("the disk is full")
        os.fsync(handle)
    finally:
        os.close(handle)


def _drop_oldest(files: Sequence[Path], most_bytes: float) -> None:
    """The last one stays, whatever its size."""
    sizes = {file: file.stat().st_size for file in files}
    for file in files[:-1]:
        if sum(sizes.values()) <= most_bytes:
            return
        file.unlink(missing_ok=True)
        del sizes[file]


def _read(line: bytes) -> Logged | None:
    try:
        return Logged.model_validate_json(line)
    except ValidationError:
        return None


@lru_cache(maxsize=64)
def _days(file: Path, size: int, changed: int) -> dict[str, tuple[int, int]]:
    """Of one file as it was then: months that are over are read once."""
    found: dict[str, tuple[int, int]] = {}
    with suppress(FileNotFoundError), file.open("rb") as lines:
        for request in filter(None, map(_read, lines)):
            day = request.time.astimezone(UTC).date().isoformat()
            count, failed = found.get(day, (0, 0))
            found[day] = (count + 1, failed + bool(request.error))
    return found
