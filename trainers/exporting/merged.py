"""A whole model, with the adapter added into the base's weights. Loads torch inside its functions.

Owns merging and what a model folder needs beside weights: the base's own tokenizer, chat template and generation
settings, byte for byte. Refuses soft prompts (`checking` says so).
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

from prompts.errors import RunError
from trainers.exporting.checking import Source, dtype_of
from trainers.hardware import Compute

_BESIDE = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "*.model",
    "chat_template*", "generation_config.json",
)  # fmt: skip


def merge(source: Source, served: Any) -> Any:
    """The served model as one model without adapter; it is used up. Raises `RunError` where its kind cannot be."""
    if not source.is_adapter:
        return served
    if "quantization_config" in json.loads((source.base.folder / "config.json").read_text("utf-8")):
        raise RunError(
            f"{source.base.name} is stored with packed weights, into which nothing can be added.",
            hint="Export the adapter, or train on the unpacked model.",
        )
    kind = served.peft_config[served.active_adapter].peft_type
    if not hasattr(served, "merge_and_unload"):
        raise RunError(f"An adapter of the kind {kind} cannot be merged.", hint="Export it as `adapter`.")
    try:
        with warnings.catch_warnings():
            # A head that was trained by itself is the embedding no longer; PEFT has it stored.
            warnings.filterwarnings("ignore", message=".*no longer tied")
            merged = served.merge_and_unload(safe_merge=True)
    except (AttributeError, NotImplementedError, ValueError) as error:
        told = f"An adapter of the kind {kind} cannot be merged: {error}."
        raise RunError(told, hint="Export it as `adapter`.") from error
    return merged


def write(source: Source, model: Any, folder: Path) -> str:
    """Save a merged model in the base's number type, and return that. A whole model is copied as the run saved it."""
    import torch

    if not source.is_adapter:
        shutil.copytree(source.artefact, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("README.md", ".*"))
        _copy(source.base.folder, folder, ("generation_config.json",))
        return dtype_of(folder)
    kept = dtype_of(source.base.folder)
    model.to(getattr(torch, kept)).save_pretrained(folder, safe_serialization=True)
    patterns = (*_BESIDE, "*.py") if source.plan.trust_remote_code else _BESIDE
    _copy(source.base.folder, folder, patterns)
    return kept


def _copy(origin: Path, folder: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for file in origin.glob(pattern):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)


def load(source: Source, folder: Path, compute: Compute) -> tuple[Any, Any]:
    """The exported model and its own tokenizer, read anew."""
    from trainers.modeling import load_base, load_tokenizer

    return load_base(folder, compute, **source.remote), load_tokenizer(folder, **source.remote)
