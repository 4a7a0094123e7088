"""Training and generating on an NVIDIA GPU, in each dtype. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from prompts.chat_model import Message, Sampling
from tests.trainers.runs import Started
from tests.trainers.test_constrain import CHOICES, LONG, SCHEMA
from tests.trainers.test_generate import TEXTS, asked, with_adapter
from trainers.building import build_trainer
from trainers.generate import BASE, Request, generate
from trainers.hardware import Compute, Dtype, detect
from trainers.jobs import create_run
from trainers.modeling import load_base, load_tokenizer
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.prefixes import Prefixes
from trainers.strategies.lora import LoraStrategy

pytestmark = [pytest.mark.alone, pytest.mark.skipif(not detect().gpus, reason="there is no GPU here")]
DEVICE: Any = "cuda"
DTYPES: list[Dtype] = ["bfloat16", "float16", "float32"]


def on_gpu(dtype: Dtype) -> Compute:
    return Compute(device=DEVICE, dtype=dtype, reason=f"{dtype}: for the test", gflops=1)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


def tuned_in(folder: Path, dtype: Dtype) -> Any:
    """A random adapter on the base, each in the dtype that it has when it serves."""
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    return get_peft_model(load_base(folder, on_gpu(dtype)), config, adapter_name="tuned").eval()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_base_row_beside_a_tuned_one_is_the_bases_to_the_last_bit(
    tiny_model: Path, tokenizer: Any, dtype: Dtype
) -> None:
    model, pristine = tuned_in(tiny_model, dtype), load_base(tiny_model, on_gpu(dtype))
    ids = tokenizer(["the support ticket"] * 2, return_tensors="pt").to(DEVICE)
    with torch.inference_mode():
        base, tuned = model(**ids, adapter_names=[BASE, "tuned"]).logits
        untouched = pristine(**ids).logits[0]
    assert untouched.dtype == getattr(torch, dtype)
    assert torch.equal(base, untouched)
    assert not torch.allclose(tuned, untouched, atol=0.1)


def test_in_float32_the_gpu_answers_as_the_cpu_does(tiny_model: Path, tokenizer: Any) -> None:
    """Free, held and with a common start; base and tuned."""
    rows = [asked(text, adapter) for text in TEXTS for adapter in (BASE, "tuned")]
    again = [asked(text, adapter) for text in TEXTS for adapter in (BASE, "tuned")]
    generate(with_adapter(tiny_model), tokenizer, rows)
    generate(with_adapter(tiny_model).to(DEVICE), tokenizer, again)
    assert [row.text for row in again] == [row.text for row in rows]
    for adapter in (BASE, "tuned"):
        common = [_common(text, adapter) for text in TEXTS]
        generate(with_adapter(tiny_model), tokenizer, common)
        shared, prefixes = [_common(text, adapter) for text in TEXTS], Prefixes()
        generate(with_adapter(tiny_model).to(DEVICE), tokenizer, shared, prefixes=prefixes)
        assert len(prefixes) == 1
        assert [row.text for row in shared] == [row.text for row in common]


def _common(text: str, adapter: str) -> Request:
    turns = [Message(role="system", content=LONG), Message(role="user", content=text)]
    return Request(turns, Sampling(max_tokens=12), adapter)


@pytest.mark.parametrize("dtype", DTYPES)
def test_answers_are_held_streamed_and_drawn(tiny_model: Path, tokenizer: Any, dtype: Dtype) -> None:
    pieces: list[str] = []
    turns = [Message(role="user", content="hi")]
    rows = [
        Request(turns, Sampling(max_tokens=24, allowed=CHOICES), "tuned"),
        Request(turns, Sampling(max_tokens=24, allowed=CHOICES, temperature=1.0)),
        Request(turns, Sampling(max_tokens=24, allowed=SCHEMA), "tuned"),
        Request(turns, Sampling(max_tokens=24, temperature=1.5, top_p=0.9), on_text=pieces.append),
    ]
    generate(tuned_in(tiny_model, dtype), tokenizer, rows)
    assert {rows[0].text, rows[1].text} <= set(CHOICES.choices)
    assert rows[2].text.startswith('{"team": ')
    assert "".join(pieces) == rows[3].text and len(pieces) > 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("strategy", [LoraStrategy(), LoraStrategy(r=2, use_dora=True)])
def test_only_the_adapter_moves_and_the_loss_falls(
    tiny_plan: Callable[..., TrainingPlan], paths: Paths, dtype: Dtype, strategy: LoraStrategy
) -> None:
    plan = tiny_plan(epochs=2).model_copy(update={"strategy": strategy})
    folder, compute = Path(plan.base_model), on_gpu(dtype)
    model = load_base(folder, compute, training=True)
    assert model.dtype == (torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    trainer = build_trainer(plan, create_run(plan, paths), model, load_tokenizer(folder), compute, [])
    before = {name: weights.detach().clone() for name, weights in trainer.model.named_parameters()}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if "lora_" in name}
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_a_run_says_where_it_trained_and_how_much_memory_it_took(trained: Started) -> None:
    now, report = trained.run.written_status(), trained.run.report()
    assert now.state == "done", trained.run.log_tail()
    assert report is not None and 0 < report.peak_memory_gb < 5
    assert report.tuned.value > 0.9 > report.base.value
