"""A model as one GGUF file, for llama.cpp and Ollama. Loads torch inside its functions.

Owns the file's figures and tensors, through the `gguf` library's own writer, names and quantization
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), and reading it back by Transformers' loader. Writes the
Llama architecture, and Qwen 2 and 3, which are laid out alike; for others it calls llama.cpp's own converter where
TUNEWRIGHT_LLAMA_CPP names the folder of one, or says how. The vocabulary is `gguf_vocabulary`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from prompts.errors import RunError
from trainers.exporting import merged
from trainers.exporting.checking import Source
from trainers.exporting.gguf_vocabulary import Vocabulary, no_gguf, vocabulary_of
from trainers.exporting.records import Quantization
from trainers.hardware import Compute

FILE = "model.gguf"
_CONVERTER = "convert_hf_to_gguf.py"
_ARCHITECTURES = ("llama", "qwen2", "qwen3")
_QUANTIZED_WIDTH = 32  # values that share a scale in q8_0


def converter() -> Path | None:
    """llama.cpp's own converter, where the person has it."""
    folder = os.environ.get("TUNEWRIGHT_LLAMA_CPP", "")
    found = Path(folder).expanduser() / _CONVERTER
    if not folder:
        return None
    if not found.is_file():
        raise RunError(f"TUNEWRIGHT_LLAMA_CPP: there is no {found}.", hint="Name the folder of a copy of llama.cpp.")
    return found


def check(config: Any, tokenizer: Any, folder: Path) -> None:
    """Raise `RunError` where a model of this configuration cannot be written here, nor a converter called."""
    if converter():
        return
    if config.model_type not in _ARCHITECTURES:
        raise no_gguf(f"its architecture is {config.model_type}, and we write {', '.join(_ARCHITECTURES)}")
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        raise no_gguf(f"its positions are scaled ({rope['rope_type']})")
    if config.hidden_act != "silu" or getattr(config, "use_sliding_window", False):
        raise no_gguf("its layers are of an unusual kind")
    vocabulary_of(folder, tokenizer, config.vocab_size)


def write(source: Source, model: Any, tokenizer: Any, folder: Path, quantization: Quantization) -> None:
    """Write `folder`/model.gguf. `model` is a whole model, as `merged.merge` gives it."""
    if found := converter():
        _convert(source, model, folder, quantization, found)
        return
    vocabulary = vocabulary_of(source.base.folder, tokenizer, model.config.vocab_size)
    write_file(model, vocabulary, tokenizer.chat_template, folder / FILE, quantization, source.run.name)


def _convert(source: Source, model: Any, folder: Path, quantization: Quantization, converter: Path) -> None:
    """By llama.cpp's own converter, from a merged model beside the file, which is removed again."""
    import shutil

    draft = folder / ".merged"
    merged.write(source, model, draft)
    order = [sys.executable, str(converter), str(draft), "--outfile", str(folder / FILE), "--outtype", quantization]
    done = subprocess.run(order, capture_output=True, text=True, check=False)
    shutil.rmtree(draft)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RunError(f"llama.cpp's converter refused the model: {last}.", hint=f"It is {converter}.")


def write_file(
    model: Any, vocabulary: Vocabulary, template: str, path: Path, quantization: Quantization, name: str
) -> None:
    """The GGUF file of a Llama, Qwen 2 or Qwen 3 model."""
    from gguf import MODEL_ARCH_NAMES, GGUFWriter, LlamaFileType

    config = model.config
    writer = GGUFWriter(path, config.model_type)
    arch = next(arch for arch, named in MODEL_ARCH_NAMES.items() if named == config.model_type)
    types = {"f32": LlamaFileType.ALL_F32, "f16": LlamaFileType.MOSTLY_F16, "q8_0": LlamaFileType.MOSTLY_Q8_0}
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(types[quantization])
    writer.add_quantization_version(2)  # ggml's present one
    _figures(writer, config)
    _vocabulary(writer, vocabulary, template)
    _tensors(writer, model, arch, quantization)


def _figures(writer: Any, config: Any) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _vocabulary(writer: Any, vocabulary: Vocabulary, template: str) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.kinds))
    writer.add_token_merges(list(vocabulary.merges))
    for name, id in vocabulary.special.items():
        getattr(writer, f"add_{name}_token_id")(id)
    writer.add_add_bos_token(vocabulary.adds_begin)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(template)


def _tensors(writer: Any, model: Any, arch: Any, quantization: Quantization) -> None:
    """Write the file: all names and sizes first, then one tensor after the other, so that no second model is held.

    Matrices as asked for, vectors in float32, as llama.cpp has it.
    """
    import numpy as np
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, get_tensor_name_map, quantize

    names, config = get_tensor_name_map(arch, model.config.num_hidden_layers), model.config
    planned = []
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        named = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if named is None:
            raise no_gguf(f"GGUF has no name for its tensor {name}")
        kind = GGMLQuantizationType[_kind_of(tensor, quantization)]
        block, width = GGML_QUANT_SIZES[kind]
        writer.add_tensor_info(named, tensor.shape, np.float32, tensor.numel() // block * width, raw_dtype=kind)
        planned.append((name, tensor, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, tensor, kind in planned:
        values = _laid_out(name, tensor.detach().float().cpu(), config).contiguous().numpy()
        writer.write_tensor_data(quantize(values, kind))
    writer.close()


def _kind_of(tensor: Any, quantization: Quantization) -> str:
    """The type that a tensor is stored in, by ggml's name."""
    if tensor.ndim == 1:
        return "F32"
    return "F16" if quantization == "q8_0" and tensor.shape[-1] % _QUANTIZED_WIDTH else quantization.upper()


def _laid_out(name: str, tensor: Any, config: Any) -> Any:
    """A head's rotated dimensions side by side, as ggml's Llama has them; Transformers has all first halves first."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = heads.get(name.split(".")[-2])
    if count is None or config.model_type != "llama":
        return tensor
    return tensor.reshape(count, 2, -1, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


def load(folder: Path, compute: Compute) -> tuple[Any, Any]:
    """Model and tokenizer as Transformers reads them from the file, its weights unpacked."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": str(folder), "gguf_file": FILE}
    model: Any = AutoModelForCausalLM.from_pretrained(
        **where,
        dtype=getattr(torch, compute.dtype),
        attn_implementation="sdpa",
        quantization_config=GgufConfig(dequantize=True),
    )
    return model.to(compute.device), AutoTokenizer.from_pretrained(**where)
