"""Situations for the advice's tests: invented data, machines and base models, of which only sizes count."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping as Named
from pathlib import Path
from typing import Any

from assistant.advice.situation import Situation
from assistant.project import DataSource, Project
from prompts.metrics import Score
from prompts.spec import TaskSpec
from prompts.templates import starting_prompt
from prompts.versions import Demonstration
from trainers.checks.finding import Finding
from trainers.data import Example, Mapping
from trainers.hardware import Compute, Gpu, Hardware
from trainers.models import LocalModel
from trainers.profile import DatasetProfile
from trainers.splits import Splits

CPU = Compute(device="cpu", dtype="float32", reason="a test", gflops=120)
CUDA = Compute(device="cuda", dtype="bfloat16", reason="a test", gflops=400_000)
SMALL = Hardware(cpu="CPU", cores=2, memory_gb=16)
COLUMNS = Mapping(input="text", output="label")
# Layers, width, inner width and vocabulary of models of these sizes.
SIZES = {
    "135M": (30, 576, 1536, 49_152),
    "1.7B": (24, 2048, 8192, 49_152),
    "4B": (36, 2560, 9728, 151_936),
    "7B": (32, 4096, 14_336, 32_768),
    "13B": (40, 5120, 13_824, 32_000),
    "70B": (80, 8192, 28_672, 128_256),
}


def card(memory_gb: float) -> Hardware:
    """A machine with a card of so much memory."""
    return Hardware(cpu="CPU", cores=16, memory_gb=128, gpus=(Gpu(name="A card", memory_gb=memory_gb),))


def base(folder: Path, size: str = "135M", *, ref: str = "") -> LocalModel:
    """A model folder that holds a configuration and the headers of weights, without the weights."""
    layers, width, inner, vocabulary = SIZES[size]
    place = folder / size
    place.mkdir(exist_ok=True)
    shapes = {"model.embed_tokens.weight": [vocabulary, width]}
    for layer in range(layers):
        own = {f"self_attn.{name}_proj": [width, width] for name in "qo"}
        own |= {f"self_attn.{name}_proj": [width // 3, width] for name in "kv"}
        own |= {"mlp.gate_proj": [inner, width], "mlp.up_proj": [inner, width], "mlp.down_proj": [width, inner]}
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in own.items()}
    tensors = {name: {"shape": shape, "dtype": "BF16", "data_offsets": [0, 0]} for name, shape in shapes.items()}
    header = json.dumps(tensors).encode()
    (place / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    config = {"hidden_size": width, "intermediate_size": inner, "num_attention_heads": width // 64}
    config |= {"num_key_value_heads": max(1, width // 192), "vocab_size": vocabulary, "max_position_embeddings": 8192}
    (place / "config.json").write_text(json.dumps(config))
    return LocalModel(ref=ref or str(place), kind="folder", name=f"made-up {size}", folder=place)


def labels(count: int, each: int) -> dict[str, int]:
    """So many labels with so many rows each."""
    return {f"label {n}": each for n in range(count)}


def free(rows: int) -> dict[str, int]:
    """So many rows with answers of their own."""
    return {f"answer {n}": 1 for n in range(rows)}


def rows_of(counts: Named[str, int], *, rejected: bool = False) -> list[Example]:
    """Rows with these answers, in random order."""
    outputs = [answer for answer, count in counts.items() for _ in range(count)]
    random.Random(0).shuffle(outputs)
    return [
        Example(row=n, input=f"Row {n}", output=output, rejected="worse" if rejected else "")
        for n, output in enumerate(outputs, start=1)
    ]


def divided(rows: list[Example]) -> Splits:
    """Six tenths to train, one to choose by, a quarter to test, the rest for the arena."""
    ends = [round(len(rows) * share) for share in (0.6, 0.7, 0.95, 1.0)]
    parts = [tuple(rows[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
    return Splits(*parts)


def situation(
    folder: Path,
    counts: Named[str, int] | None = None,
    *,
    size: str = "135M",
    compute: Compute = CPU,
    machine: Hardware | None = None,
    tokens: int = 60,
    answer_tokens: int = 3,
    score: Score | None = None,
    shown: int = 0,
    shape: str | None = None,
    error: str = "",
    spec: dict[str, Any] | None = None,
    **more: Any,
) -> Situation:
    """A project with rows of these answers, each `tokens` long. `shape` is "preference" or "thumbs"; `error` stands for
    what a check found; `spec` are facts of the task, `more` are fields of the situation."""
    counts = {"billing": 60, "returns": 60} if counts is None else counts
    labelled = any(count > 1 for count in counts.values())
    task = {"task": "classification" if labelled else "generation", "output_format": "label" if labelled else "text"}
    known = TaskSpec().updated("said", **{**task, **(spec or {})})
    prompt = starting_prompt(known)
    if shown:
        prompt = prompt.model_copy(update={"demonstrations": (Demonstration(input="in", output="out"),) * shown})
    examples = rows_of(counts, rejected=shape == "preference")
    columns = COLUMNS.model_copy(update={"shape": shape})
    finding = Finding(check="labels", severity="error", text=error)
    return Situation(
        project=Project(
            id="p",
            name="A project",
            created=0,
            spec=known,
            data=DataSource(path=folder / "rows.csv", name="rows.csv", columns=columns),
            prompt=prompt,
        ),
        machine=machine or (card(80) if compute.device == "cuda" else SMALL),
        compute=compute,
        base=base(folder, size),
        profile=DatasetProfile(
            rows=len(examples),
            usable=len(examples),
            labels=dict(counts) if labelled else {},
            token_lengths=(tokens,) * len(examples),
            answer_tokens=answer_tokens,
            findings=(finding,) if error else (),
        ),
        splits=divided(examples),
        score=score,
        **more,
    )
