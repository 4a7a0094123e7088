"""The adapter as files that PEFT, Transformers and vLLM load, with the base's name in it. Loads torch in `load` alone.

Owns what is copied and what is not: the run's own artefact is never changed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from trainers.exporting.checking import Source
from trainers.hardware import Compute

# PEFT writes a card of blanks beside every adapter.
_BLANKS = "README.md"


def write(source: Source, folder: Path) -> None:
    """Copy the artefact, and name the base that it is for."""
    shutil.copytree(source.artefact, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(_BLANKS, ".*"))
    place = folder / "adapter_config.json"
    config = json.loads(place.read_text("utf-8"))
    config["base_model_name_or_path"] = source.base_id
    place.write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")


def load(source: Source, folder: Path, compute: Compute) -> Any:
    """The base, read anew, with the exported adapter on it."""
    from trainers.modeling import attach, load_base

    return attach(load_base(source.base.folder, compute, **source.remote), folder, "exported")
