"""Which base models are on this machine already, looked up in files alone: advice never asks the network.

Owns that look. Refuses to fetch and to convert (that is `trainers.models`).
"""

from __future__ import annotations

import re
from pathlib import Path

from prompts.errors import ModelError
from trainers.models import EMBEDDED, LocalModel, catalogue
from trainers.paths import Paths
from trainers.shapes import WEIGHTS

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_CONVERTED = "SmolLM2-135M-Instruct*"


def is_away(ref: str) -> bool:
    """Whether a model is one of the hub's that is not on this machine."""
    return ref != EMBEDDED and not Path(ref).expanduser().exists() and bool(_HUB_ID.fullmatch(ref)) and not _hub(ref)


def bases_here(paths: Paths) -> tuple[LocalModel, ...]:
    """The models of the catalogue that are on this machine, smallest first."""
    found = (_embedded(paths) if entry.ref == EMBEDDED else _hub(entry.ref) for entry in catalogue())
    return tuple(base for base in found if base)


def _embedded(paths: Paths) -> LocalModel | None:
    """The embedded model, where it is converted already."""
    for folder in sorted(paths.models.glob(_CONVERTED)):
        base = LocalModel(ref=EMBEDDED, kind="embedded", name="SmolLM2-135M-Instruct", folder=folder)
        if (folder / "tunewright.json").is_file() and _is_readable(base):
            return base
    return None


def _hub(ref: str) -> LocalModel | None:
    """A model of the hub out of its cache on this machine."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(ref, "config.json")
    if not isinstance(config, str):
        return None
    base = LocalModel(ref=ref, kind="hub", name=ref.split("/")[-1], folder=Path(config).parent)
    return base if any(base.folder.glob(WEIGHTS)) and _is_readable(base) else None


def _is_readable(base: LocalModel) -> bool:
    try:
        return base.parameters > 0
    except ModelError:  # half there
        return False
