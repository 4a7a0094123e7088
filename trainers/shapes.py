"""What a model or adapter is made of, read from its files' headers without torch.

Owns names and shapes of tensors and the few figures of a configuration that plans are checked against. Refuses to load
weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path
from typing import Any

from prompts.errors import ModelError

# Not consolidated.safetensors, which in Mistral's repositories holds the same weights once more.
WEIGHTS = "model*.safetensors"
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def header(path: Path) -> dict[str, Any]:
    """A safetensors file's own table of tensors. Raises `ModelError` where the file is damaged or only half there.

    Read once as long as the file stays as it is: an advice asks a base's shape some twenty times.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise ModelError(f"{path} is damaged: {error}.", hint="Train or copy it again.") from error
    return _header(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _header(path: Path, size: int, changed: int) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            found = dict(json.loads(file.read(length)))
        tensors = {name: entry for name, entry in found.items() if name != "__metadata__"}
        needed = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (OSError, ValueError, OverflowError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged: {error}.", hint="Train or copy it again.") from error
    if size < needed:
        told = f"{path} is only half there: {size:,} of {needed:,} bytes."
        raise ModelError(told, hint="Train or copy it again.")
    return tensors


def tensor_shapes(folder: Path, pattern: str = "*.safetensors") -> dict[str, list[int]]:
    """Name to shape of every floating-point tensor in a folder's safetensors files. Raises `ModelError`."""
    return {
        name: entry["shape"]
        for path in sorted(folder.glob(pattern))
        for name, entry in header(path).items()
        if entry["dtype"] in ("F64", "F32", "F16", "BF16")
    }


@dataclass(frozen=True)
class BaseShape:
    """A base model's layers and widths. `folder` holds config.json and safetensors."""

    folder: Path

    @cached_property
    def tensors(self) -> dict[str, list[int]]:
        return tensor_shapes(self.folder, WEIGHTS)

    @property
    def parameters(self) -> int:
        """How many weights there are, of whatever type."""
        files = sorted(self.folder.glob(WEIGHTS))
        return sum(prod(entry["shape"]) for path in files for entry in header(path).values())

    @cached_property
    def config(self) -> dict[str, Any]:
        """The language part of config.json; empty where it cannot be read."""
        try:
            config = json.loads((self.folder / "config.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return dict(config.get("text_config", config))

    @cached_property
    def modules(self) -> dict[str, tuple[int, int]]:
        """Every weight matrix within the layers, by its last name ("q_proj"), as (out, in); the narrowest of a name."""
        found: dict[str, tuple[int, int]] = {}
        for name, shape in self.tensors.items():
            if _LAYER.search(name) and name.endswith(".weight") and len(shape) == 2:
                last = name.removesuffix(".weight").rsplit(".", 1)[-1]
                known = found.get(last)
                if known is None or min(shape) < min(known):
                    found[last] = (shape[0], shape[1])
        return found

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return 1 + max((int(found[1]) for name in self.tensors if (found := _LAYER.search(name))), default=-1)

    def missing(self, modules: Sequence[str]) -> list[str]:
        """Those of these module names that no layer has."""
        names = [name.removesuffix(".weight") for name in self.tensors if name.endswith(".weight")]
        return [wanted for wanted in modules if not any(n == wanted or n.endswith(f".{wanted}") for n in names)]
