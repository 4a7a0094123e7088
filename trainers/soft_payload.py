"""A soft prompt as vLLM takes it with a request: base64 of what torch saves. Imports torch; a process of its own.

Run as `python -m trainers.soft_payload ADAPTER`, which prints it. Owns that format
(https://docs.vllm.ai/en/stable/features/prompt_embeds.html); refuses to send it anywhere.
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import torch
from safetensors import safe_open


def payload(adapter: Path) -> str:
    """The virtual tokens of a saved soft prompt, a float tensor of shape (tokens, width)."""
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as weights:
        soft = weights.get_tensor("prompt_embeddings").clone()
    saved = io.BytesIO()
    torch.save(soft, saved)
    return base64.b64encode(saved.getvalue()).decode("ascii")


if __name__ == "__main__":
    sys.stdout.write(payload(Path(sys.argv[1])))
