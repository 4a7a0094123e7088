"""Loading base models and tokenizers with the right dtype on the right device. Imports torch.

Owns loading. Refuses to find models (`models`) or to choose the dtype (`hardware`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from prompts.errors import ModelError
from trainers.hardware import Compute

# What the libraries raise for a folder that is damaged, incomplete or of an unknown kind.
_UNREADABLE = (OSError, ValueError, KeyError, ImportError, SafetensorError)


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, padding at the left as generation needs it. Raises `ModelError`."""
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except _UNREADABLE as error:
        raise _unreadable("tokenizer", folder, error) from error
    if not tokenizer.chat_template:
        raise ModelError(f"{folder.name} has no chat template.", hint="Choose an instruct or chat model.")
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(
    folder: Path, compute: Compute, *, training: bool = False, trust_remote_code: bool = False
) -> PreTrainedModel:
    """The causal language model of a folder. Raises `ModelError` with the reason where it cannot be loaded.

    Training where only float16 is fast keeps float32 weights: gradients underflow in pure float16.
    """
    dtype = "float32" if training and compute.dtype == "float16" else compute.dtype
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code, attn_implementation="sdpa"
        )
    except _UNREADABLE as error:
        raise _unreadable("model", folder, error) from error
    return model.to(compute.device)


def _unreadable(what: str, folder: Path, error: Exception) -> ModelError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return ModelError(f"The {what} in {folder} cannot be loaded: {reason}.", hint="Fetch the model again.")
