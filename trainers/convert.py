"""Converts a GGUF file to a folder with float32 safetensors and a tokenizer, checksums kept.

Run as `python -m trainers.convert SOURCE TARGET [SHA256]`, in a process of its own because it imports torch.
Owns the conversion only; where models are kept is `models`' business.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def convert(source: Path, target: Path, expected_sha256: str = "") -> None:
    """Write `target` whole or not at all. Raises ValueError where the source's checksum is not the expected one.

    The route is transformers' own: GgufConfig(dequantize=True) leaves no quantizer behind.
    """
    checksum = _sha256(source)
    if expected_sha256 and checksum != expected_sha256:
        raise ValueError(f"its SHA-256 is {checksum[:12]}…, not the expected {expected_sha256[:12]}…")

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    draft = target.with_name(f"{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    model.save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    weights = sorted(draft.glob("*.safetensors"))
    record = {
        "source": source.name,
        "source_sha256": checksum,
        "sizes": {path.name: path.stat().st_size for path in weights},
        "sha256": {path.name: _sha256(path) for path in weights},
    }
    (draft / "tunewright.json").write_text(json.dumps(record, indent=1))
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
