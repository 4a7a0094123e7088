"""Loading base models, tokenizers and adapters with the right dtype on the right device. Imports torch.

Owns loading. Refuses to find models (`models`) or to choose the dtype (`hardware`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, PeftModelForCausalLM
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from prompts.errors import EngineError, ModelError
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
    folder: Path,
    compute: Compute,
    *,
    training: bool = False,
    whole: bool = False,
    trust_remote_code: bool = False,
    **options: Any,
) -> PreTrainedModel:
    """The causal language model of a folder. Raises `ModelError` with the reason where it cannot be loaded.

    Training where only float16 is fast keeps float32 weights: gradients underflow in pure float16. So does a training
    of the `whole` model in any type: in bfloat16 most of its steps would be rounded away. `options` go to the library.
    """
    dtype = "float32" if training and (whole or compute.dtype == "float16") else compute.dtype
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
            attn_implementation="sdpa",
            **options,
        )
    except _UNREADABLE as error:
        raise _unreadable("model", folder, error) from error
    return model if "quantization_config" in options else model.to(compute.device)


def attach(model: Any, path: Path, adapter: str) -> Any:
    """The model with one more adapter. Raises `EngineError` where the two do not belong together."""
    on_skeleton = model.device.type == "meta"
    if not isinstance(model, PeftModel):
        config = PeftConfig.from_pretrained(path, inference_mode=True)
        model = PeftModelForCausalLM(model, config, adapter_name=adapter, low_cpu_mem_usage=on_skeleton)
    result = model.load_adapter(path, adapter_name=adapter, low_cpu_mem_usage=on_skeleton)
    strangers = [*result.missing_keys, *result.unexpected_keys]
    # Other kinds share weights between layers or bring them in by a way of their own, so that names say nothing there.
    if strangers and model.peft_config[adapter].peft_type == "LORA":
        raise EngineError(
            f"The adapter in {path} was not trained on this base model: {strangers[0]} does not match.",
            hint="Use the base it was made for.",
        )
    return model.eval()


def _unreadable(what: str, folder: Path, error: Exception) -> ModelError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return ModelError(f"The {what} in {folder} cannot be loaded: {reason}.", hint="Fetch the model again.")
