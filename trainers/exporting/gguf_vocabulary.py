"""A tokenizer in GGUF's terms: tokens, kinds, merges, how text is cut before the merges, special tokens.

Owns the translation of byte-level BPE from tokenizer.json, which Llama 3, SmolLM and Qwen have. Never imports torch.
Refuses every other tokenizer: llama.cpp's own converter knows them. The names of pre-tokenizers are llama.cpp's
(`llama_vocab`, and the table in its convert_hf_to_gguf.py); they are told here by what tokenizer.json says, not by a
hash of a text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompts.errors import RunError

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
# How text is cut, as a list of steps, and llama.cpp's name for that.
_PRE: dict[tuple[str, ...], str] = {
    ("bytes with regex",): "gpt-2",
    ("digits one by one", "bytes with regex"): "smollm",
    (_LLAMA3, "bytes"): "llama-bpe",
    (_QWEN2, "bytes"): "qwen2",
}


@dataclass(frozen=True)
class Vocabulary:
    """`kinds` are gguf.TokenType's numbers. Ids that the model has and the tokenizer lacks are padded as unused."""

    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    merges: tuple[str, ...]
    pre: str
    special: dict[str, int]
    adds_begin: bool


def vocabulary_of(folder: Path, tokenizer: Any, size: int) -> Vocabulary:
    """The vocabulary of a tokenizer that was loaded from `folder`, for a model with `size` token ids.

    Raises `RunError` where it is no byte-level BPE of a known cut.
    """
    from gguf import TokenType

    raw = json.loads(tokenizer.backend_tokenizer.to_str())
    pre = _pre_of(raw, folder)
    kinds_of = {token["id"]: TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
                for token in raw["added_tokens"]}  # fmt: skip
    by_id = {id: token for token, id in tokenizer.get_vocab().items()}
    if max(by_id) >= size:
        raise _refused(folder, f"the tokenizer has ids up to {max(by_id)}, but the model {size} rows")
    tokens = tuple(by_id.get(id, f"[PAD{id}]") for id in range(size))
    kinds = tuple(int(kinds_of.get(id, TokenType.NORMAL) if id in by_id else TokenType.UNUSED) for id in range(size))
    merges = tuple(one if isinstance(one, str) else " ".join(one) for one in raw["model"]["merges"])
    named = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "unk", "pad")}
    special = {name: id for name, id in named.items() if id is not None}
    begins = tokenizer("x")["input_ids"][:1]
    return Vocabulary(tokens, kinds, merges, pre, special, begins == [special.get("bos")])


def _pre_of(raw: dict[str, Any], folder: Path) -> str:
    model = raw["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise _refused(
            folder, f"its tokenizer is {model['type']}{' on SentencePiece' * bool(model.get('byte_fallback'))}"
        )
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise _refused(folder, "its tokenizer marks the ends of words")
    if raw["normalizer"] and raw["normalizer"]["type"] != "NFC":
        raise _refused(folder, "its tokenizer rewrites text first")
    cut = raw["pre_tokenizer"] or {}
    steps = tuple(_step(one) for one in (cut.get("pretokenizers") or [cut]))
    if steps not in _PRE:
        raise _refused(folder, "its tokenizer cuts text in a way that we do not know by llama.cpp's name")
    return _PRE[steps]


def _step(one: dict[str, Any]) -> str:
    kind = one.get("type")
    if kind == "ByteLevel" and not one["add_prefix_space"]:
        return "bytes with regex" if one["use_regex"] else "bytes"
    if kind == "Digits" and one["individual_digits"]:
        return "digits one by one"
    if kind == "Split" and one["behavior"] == "Isolated" and not one["invert"]:
        return str(one["pattern"].get("Regex", kind))
    return str(kind)


def _refused(folder: Path, why: str) -> RunError:
    return no_gguf(f"{why} ({folder.name})")


def no_gguf(why: str) -> RunError:
    """The refusal of what only llama.cpp's own converter can write, with its command."""
    return RunError(
        f"This model cannot be written as GGUF here: {why}.",
        hint="Export it as `merged`, then, in a copy of https://github.com/ggml-org/llama.cpp: python "
        "convert_hf_to_gguf.py FOLDER --outtype f16. Or set TUNEWRIGHT_LLAMA_CPP to that copy, and it is called here.",
    )
