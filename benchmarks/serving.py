"""One vLLM with a base and three adapters against four of them, and the way through the page against vLLM alone.

    python -m benchmarks.serving [--part engines app ui] [--requests 1 8 32] [--tokens 32] [--pairs 30] [--size tiny]

`engines`: memory of all their processes, and tokens/s over 1, 8 and 32 requests that are under way at once, divided
evenly among base and adapters. The adapters are random ones of rank 8: what they answer is nonsense, what they cost is
not. `app` and `ui`: the same message to two models, sent straight to vLLM and by the app's own way of asking, or typed
into the page, in pairs that take turns; the page's times are taken in the browser, from the click to the first text and
to the last in both panes.

Prints as it goes; what was measured is kept under the cache folder by its settings, so that a run that was interrupted
goes on; `--again` forgets it. `--size` takes another base model, such as a larger one where a GPU is at hand.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from assistant.serving.engine import Engine
from assistant.serving.served import ServedModel
from assistant.serving.vllm import VllmUse, vllm_launch, vllm_version
from benchmarks.kept import Kept
from benchmarks.page import compare_asking, compare_paths
from prompts.versions import PromptVersion
from trainers.hardware import choose_compute, detect
from trainers.models import EMBEDDED, LocalModel, resolve
from trainers.paths import default_paths

ADAPTERS = 3
_PARTS = ("engines", "app", "ui")
_TEXTS = (
    "Write one sentence about the sea.",
    "Which team should look after a parcel that is late?",
    "Name three fruits.",
    "How do I reset my password?",
)


def random_adapters(base: LocalModel, folder: Path) -> list[Path]:
    """Adapters that change something, of the rank that a training here has."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    paths = [folder / f"adapter{number}" for number in range(ADAPTERS)]
    for number, path in enumerate(paths):
        torch.manual_seed(number)
        model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
        config = LoraConfig(r=8, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
        get_peft_model(model, config).save_pretrained(path)
    return paths


def launched(base: LocalModel, logs: Path, name: str) -> Engine:
    compute, machine = choose_compute(default_paths().cache), detect()
    context = int(base.shape.config.get("max_position_embeddings", 0))
    return Engine(vllm_launch(base, compute, machine, VllmUse(rank=8), context=context), logs / f"{name}.log")


async def answered(urls: Sequence[tuple[str, str]], count: int, tokens: int) -> float:
    """Tokens/s over `count` requests at once, divided evenly among (url, model)."""
    async with httpx.AsyncClient(trust_env=False, timeout=600) as client:

        async def one(number: int) -> int:
            url, model = urls[number % len(urls)]
            messages = [{"role": "user", "content": _TEXTS[number // len(urls) % len(_TEXTS)]}]
            body = {"model": model, "messages": messages, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
            answer = await client.post(f"{url}/chat/completions", json=body)
            answer.raise_for_status()
            return int(answer.json()["usage"]["completion_tokens"])

        began = time.monotonic()
        made = sum(await asyncio.gather(*(one(number) for number in range(count))))
        return made / (time.monotonic() - began)


def measure(engines: Sequence[Engine], urls: Sequence[tuple[str, str]], requests: Sequence[int], tokens: int) -> Any:
    """Memory once all have answered, and tokens/s: the median of three for each number of requests."""
    asyncio.run(answered(urls, 2 * len(urls), 4))  # what is compiled or paged in at first is nobody's speed
    speeds = {
        str(count): statistics.median(asyncio.run(answered(urls, count, tokens)) for _ in range(3))
        for count in requests
    }
    return {"memory": sum(engine.memory_gb() for engine in engines), "speeds": speeds}


def compare_engines(base: LocalModel, kept: Kept, requests: Sequence[int], tokens: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        adapters = random_adapters(base, Path(folder)) if not (kept.get("one") and kept.get("four")) else []
        served = [ServedModel(name=path.name, base=base, artefact=path, prompt=PromptVersion()) for path in adapters]
        if not kept.get("one"):
            with ExitStack() as ends:
                print("one engine: starting", flush=True)
                engine = launched(base, Path(folder), "one")
                ends.callback(engine.stop)
                engine.start()
                for model in served:
                    engine.load(model)
                urls = [(engine.url, base.name), *((engine.url, model.name) for model in served)]
                kept.put("one", measure([engine], urls, requests, tokens))
        told("one engine", kept.get("one"))
        if not kept.get("four"):
            with ExitStack() as ends:
                engines = []
                for number in range(ADAPTERS + 1):
                    print(f"engine {number + 1} of {ADAPTERS + 1}: starting", flush=True)
                    engine = launched(base, Path(folder), f"engine{number}")
                    ends.callback(engine.stop)
                    engine.start()
                    engines.append(engine)
                for engine, model in zip(engines[1:], served, strict=True):
                    engine.load(model)
                names = [base.name, *(model.name for model in served)]
                urls = [(engine.url, name) for engine, name in zip(engines, names, strict=True)]
                kept.put("four", measure(engines, urls, requests, tokens))
        told("four engines", kept.get("four"))
    one, four = kept.get("one"), kept.get("four")
    ratios = ", ".join(f"{n} at once {one['speeds'][n] / four['speeds'][n]:.2f}" for n in one["speeds"])
    print(f"one against four: memory {one['memory'] / four['memory']:.2f}, tokens/s {ratios}", flush=True)


def told(what: str, found: Any) -> None:
    speeds = ", ".join(f"{count} at once {speed:.1f}" for count, speed in found["speeds"].items())
    print(f"{what}: {found['memory']:.1f} GB, tokens/s {speeds}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument("--requests", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--size", default=EMBEDDED, help="the base model")
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args()
    paths = default_paths()
    base = resolve(asked.size, paths)
    settings = [base.name, vllm_version(), str(detect()), asked.requests, asked.tokens]
    name = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    file = paths.cache / "benchmarks" / f"serving-{name}.json"
    if asked.again:
        file.unlink(missing_ok=True)
    kept = Kept(file)
    print(f"{base.name} on {detect()}, vLLM {vllm_version()}", flush=True)
    if "engines" in asked.part:
        compare_engines(base, kept, asked.requests, asked.tokens)
    for part, way, compared in (("app", "by the app", compare_asking), ("ui", "in the page", compare_paths)):
        if part in asked.part:
            if not kept.get(part):
                kept.put(part, compared(asked.size, base.name, asked.pairs, asked.tokens))
            found = kept.get(part)
            print(
                f"{way}: first text {found['later'] * 1000:+.0f} ms, {found['ratio']:.3f} times the tokens/s of vLLM "
                f"alone, medians of {found['pairs']} pairs",
                flush=True,
            )


if __name__ == "__main__":
    main()
