"""A data set of the Hugging Face hub, brought once to a local folder with one Parquet file a split.

Owns what a reference to a data set looks like and the folder in which those brought here are kept. Refuses to load
anything itself: `datasets` imports torch, so that a child process does it (`trainers.fetch_dataset`); no code of a
data set is ever run. What can go wrong on the way is told by `hub_errors`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from prompts.errors import DataError
from trainers.paths import PYTHON, write_atomically
from trainers.reading import store
from trainers.reading.formats import SUFFIXES
from trainers.reading.hub_errors import explain

Say = Callable[[str], None]

_NAME = r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?"
_ID = re.compile(rf"({_NAME}/{_NAME})(?::([^<>:/\\|?*\s]+))?", re.ASCII)
_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
# Hidden, so that a folder read as a table does not take it for one.
_RECORD = ".tunewright.json"
_REVISION = 12  # characters of a commit's hash that a folder's name keeps
_SCRATCH = ".scratch"


@dataclass(frozen=True)
class Source:
    """A data set: its id on the hub, or a local folder laid out like one, and the configuration that was named."""

    name: str
    config: str = ""

    @property
    def told(self) -> str:
        return f"{self.name}:{self.config}" if self.config else self.name

    @property
    def stem(self) -> str:
        """What its folder is called, but for the revision. No id holds `--`, so that none is taken for another."""
        name = Path(self.name).name if self.is_local else self.name.replace("/", "--")
        return f"{name}--{self.config}" if self.config else name

    @property
    def is_local(self) -> bool:
        return Path(self.name).is_absolute()


def is_dataset_id(text: str) -> bool:
    """Whether a text names a data set: `owner/name`, `owner/name:config`, or its address on the hub.

    By its looks alone. What ends like the name of a table (`data/train.csv`) is a path.
    """
    return _parse(text) is not None


def _parse(text: str) -> Source | None:
    text = text.strip()
    if "://" in text or text.startswith(_HOSTS):
        return _parse_address(text)
    match = _ID.fullmatch(text)
    if not match or any(two in match[1] for two in ("--", "..")) or match[1].lower().endswith(SUFFIXES):
        return None
    return Source(match[1], match[2] or "")


def _parse_address(text: str) -> Source | None:
    """An address of a data set or of a page of it; the viewer's names the configuration."""
    address = urlsplit(text if "://" in text else f"https://{text}")
    parts = [unquote(part) for part in address.path.split("/") if part]
    if address.scheme not in ("http", "https") or address.hostname not in _HOSTS or parts[:1] != ["datasets"]:
        return None
    config = parts[4] if len(parts) > 4 and parts[3] == "viewer" else ""
    return _parse("/".join(parts[1:3]) + (f":{config}" if config and config != "default" else ""))


def fetch_dataset(ref: str, cache: Path, say: Say = lambda text: None) -> Path:
    """Bring a data set to a local folder with a Parquet file a split, for `read_table`. Raises `DataError`.

    Once: what is in `cache` already is given at once, without asking the hub. `say` gets what is going on, at least
    every second; where it raises, the fetching ends and nothing is left behind. `ref` may also be a local folder that
    is laid out like a data set of the hub, again with `:config` behind it.
    """
    source = _source(ref)
    revision = store.place_for(Path(source.name), cache).name[:_REVISION] if source.is_local else ""
    if found := _find(source, cache, revision):
        return found
    with _explained(source):
        cache.mkdir(parents=True, exist_ok=True)
    return _fetch(source, cache, revision, say)


@contextmanager
def _explained(source: Source) -> Iterator[None]:
    """Not around what calls `say`: what it raises goes through as it is."""
    try:
        yield
    except OSError as error:
        raise explain(error, source.told) from error


def _source(ref: str) -> Source:
    for name, config in ((ref.strip(), ""), ref.strip().rsplit(":", 1) if ":" in ref else ("", "")):
        if name and not is_dataset_id(name) and Path(name).expanduser().is_dir():
            return Source(str(Path(name).expanduser().resolve()), config)
    source = _parse(ref)
    if source is None:
        raise DataError(
            f"{ref.strip()!r} names no data set of the hub.",
            hint="Write owner/name, owner/name:config, or its address at https://huggingface.co/datasets.",
        )
    return source


def _find(source: Source, cache: Path, revision: str) -> Path | None:
    """The newest one of this data set that is here whole."""
    start = f"{source.stem}--"
    folders = [path for path in cache.glob("*") if path.name.startswith(start) and "--" not in path.name[len(start) :]]
    whole = [path for path in folders if path.name.endswith(revision) and _is_whole(path, source)]
    return max(whole, key=lambda path: (path / _RECORD).stat().st_mtime, default=None)


def _is_whole(folder: Path, source: Source) -> bool:
    """Whether it was finished, is this very data set, and every file still has the size it was written with."""
    try:
        record = json.loads((folder / _RECORD).read_text("utf-8"))
        same = (record["name"], record["config"]) == (source.name, source.config)
        return same and all((folder / name).stat().st_size == size for name, size in record["sizes"].items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _fetch(source: Source, cache: Path, revision: str, say: Say) -> Path:
    from filelock import FileLock, Timeout

    lock = FileLock(cache / f".{source.stem}.lock")
    while not lock.is_locked:  # two processes may ask for the same data set at once
        try:
            lock.acquire(timeout=1)
        except Timeout:
            say(f"{source.told} is being fetched already.")
    draft = cache / f".{source.stem}.draft"
    try:
        if found := _find(source, cache, revision):
            return found
        shutil.rmtree(draft, ignore_errors=True)  # of a process that died
        with _explained(source):
            (draft / _SCRATCH).mkdir(parents=True)
        known = _run_child(source, draft, say)
        with _explained(source):
            return _keep(source, draft, cache / f"{source.stem}--{revision or known[:_REVISION]}")
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        lock.release()


def _keep(source: Source, draft: Path, target: Path) -> Path:
    """The draft takes its place, with the record that makes it whole."""
    shutil.rmtree(draft / _SCRATCH)
    sizes = {path.name: path.stat().st_size for path in draft.iterdir()}
    record = {"name": source.name, "config": source.config, "sizes": sizes}
    write_atomically(draft / _RECORD, json.dumps(record, indent=1))
    shutil.rmtree(target, ignore_errors=True)  # what stands there is damaged
    draft.rename(target)
    return target


def _run_child(source: Source, draft: Path, say: Say) -> str:
    """Fetch into the draft, and give the revision. Raises `DataError`; whatever `say` raises ends the child."""
    # There no folder of the person's is called owner/name, which `datasets` would prefer to the hub's.
    command = [*PYTHON, "trainers.fetch_dataset", source.name, source.config, str(draft)]
    env = {**os.environ, "TQDM_POSITION": "-1"}  # the hub's own way to ask for progress where there is no terminal
    end: dict[str, Any] = {}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            cwd=draft / _SCRATCH, env=env, text=True, encoding="utf-8", errors="replace",
        ) as child,
    ):  # fmt: skip
        try:
            for line in child.stdout or ():
                message = _message(line)
                if "say" in message:
                    say(message["say"])
                else:
                    end = message or end
        except BaseException:
            child.kill()
            raise
        child.wait()
        if "revision" in end:
            return str(end["revision"])
        if "message" in end:
            raise DataError(end["message"], hint=end["hint"])
        errors.seek(0)
        told = errors.read().decode("utf-8", "replace").strip().splitlines() or [f"it ended with {child.returncode}"]
    raise DataError(f"{source.told} could not be fetched: {told[-1]}.", hint="Try again, or give a file.")


def _message(line: str) -> dict[str, Any]:
    """What the child says; nothing for what a library wrote in between."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
