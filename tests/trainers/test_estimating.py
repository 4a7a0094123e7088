"""What a plan is said to take: memory by parts, time by phases, on this machine and on others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prompts.errors import RunError
from trainers.data import Mapping
from trainers.energy import Rates
from trainers.estimating import machines, memory
from trainers.estimating.machines import known_machines, this_machine
from trainers.estimating.plain import plain
from trainers.estimating.records import Machine, Memory
from trainers.estimating.serving import serving
from trainers.estimating.speed import step_seconds
from trainers.estimating.training import estimate, fits, tokens_per_second
from trainers.estimating.workload import BaseFigures, Workload, figures_of, lengths_of, workload_of
from trainers.hardware import Compute, Gpu, Hardware
from trainers.models import LocalModel
from trainers.objectives import SftObjective
from trainers.paths import Paths
from trainers.plan import DataPlan, Optimization, TrainingPlan
from trainers.strategies import (
    AnyStrategy,
    FewShotStrategy,
    FullStrategy,
    LoraStrategy,
    MetaLoraStrategy,
    PrefixTuningStrategy,
    PromptStrategy,
    PromptTuningStrategy,
    QloraStrategy,
)
from trainers.strategies.full import Unfreezing

SMOL = BaseFigures(
    parameters=134_515_008, layers=30, width=576, inner=1536, heads=9, kv_width=192, vocabulary=49152,
    bytes_on_disk=538_090_408, limit=8192,
    matrices=((192, 576), (192, 576), (576, 576), (576, 576), (576, 1536), (1536, 576), (1536, 576)),
)  # fmt: skip
SEVEN_B = BaseFigures(
    parameters=7_248_023_552, layers=32, width=4096, inner=14336, heads=32, kv_width=1024, vocabulary=32768,
    bytes_on_disk=14_500_000_000, tied=False, limit=32768,
    matrices=((1024, 4096), (1024, 4096), (4096, 4096), (4096, 4096), (4096, 14336), (14336, 4096), (14336, 4096)),
)  # fmt: skip
XEON = Machine(name="xeon", device="cpu", dtype="bfloat16", memory_gb=24, gflops=1500, gb_per_second=56)
OLDER = XEON.model_copy(update={"name": "older", "dtype": "float32", "gflops": 122, "gb_per_second": 66})


def work(strategy: AnyStrategy | None = None, tokens: int = 60, batch: int = 4, **more: Any) -> Workload:
    usual: dict[str, Any] = {"base": SMOL, "rows": 16, "epochs": 1, "dev": 4, "test": 8, "answer_tokens": 6}
    lengths = lengths_of([int(tokens * 0.8), tokens], 512, batch)
    return Workload(
        strategy=strategy or LoraStrategy(), batch=batch, max_tokens=512, lengths=lengths, **{**usual, **more}
    )


def gb(held: Memory, part: str) -> float:
    return float(getattr(held, part))


@pytest.mark.parametrize(
    ("found", "measured"),
    [  # peaks that were measured while these trained on this project's machine, in GB (benchmarks/estimates.py)
        (work(tokens=57, batch=4), 1.55),
        (work(tokens=61, batch=16), 3.08),
        (work(tokens=429, batch=1), 1.90),
        (work(tokens=266, batch=4, answer_tokens=134), 3.61),
        (work(LoraStrategy(r=32), tokens=57, batch=1), 1.35),
        (work(LoraStrategy(use_dora=True), tokens=57, batch=4), 2.15),
        (work(FullStrategy(), tokens=57, batch=4), 3.06),
        (work(tokens=61, batch=4, answer_tokens=9, objective="dpo"), 1.74),
    ],
)
def test_memory_of_training_is_as_it_was_measured(found: Workload, measured: float) -> None:
    assert memory._training(found, XEON).total == pytest.approx(measured, rel=0.13)


@pytest.mark.parametrize(
    ("strategy", "measured"),
    [  # peaks on an H100 by PyTorch's own count, batches of 8 (docs/gpu-strategies.md)
        (LoraStrategy(), 0.39),
        (LoraStrategy(use_dora=True), 0.43),
        (PromptTuningStrategy(), 0.36),
        (PrefixTuningStrategy(), 0.67),
        (FullStrategy(), 2.23),
    ],
)
def test_memory_on_a_gpu_is_as_it_was_measured(strategy: AnyStrategy, measured: float) -> None:
    card = XEON.model_copy(update={"device": "cuda", "memory_gb": 80})
    held = memory._training(work(strategy, tokens=70, batch=8), card)
    assert held.total - held.runtime == pytest.approx(measured, rel=0.15)


def test_a_training_is_held_by_parts_that_can_be_counted() -> None:
    held = memory._training(work(FullStrategy()), OLDER)
    weights = 4 * SMOL.parameters / 2**30
    assert [gb(held, name) for name in ("weights", "gradients", "optimizer")] == [weights, weights, 2 * weights]
    assert held.adapter == 0
    lora = memory._training(work(LoraStrategy(r=8)), XEON)
    learned = 8 * 30 * sum(map(sum, SMOL.matrices))
    assert gb(lora, "weights") == pytest.approx(2 * SMOL.parameters / 2**30)
    assert gb(lora, "adapter") == gb(lora, "gradients") == pytest.approx(4 * learned / 2**30)
    assert next(iter(lora.parts)) == "runtime"
    assert sum(lora.parts.values()) == pytest.approx(lora.total)


@pytest.mark.parametrize(
    ("less", "more", "part"),
    [
        (work(tokens=60), work(tokens=240), "activations"),
        (work(batch=4), work(batch=16), "activations"),
        (work(LoraStrategy(dropout=0)), work(LoraStrategy()), "activations"),
        (work(PromptTuningStrategy()), work(LoraStrategy()), "activations"),
        (work(), work(objective="dpo"), "logits"),
        (work(LoraStrategy(r=8)), work(LoraStrategy(r=32)), "optimizer"),
        (work(answer_tokens=4), work(answer_tokens=60), "logits"),
        (work(objective="dpo"), work(objective="dpo", continues=True), "adapter"),
        (work(checkpointing=True), work(checkpointing=False), "activations"),
        (work(QloraStrategy()), work(LoraStrategy()), "weights"),
    ],
)
def test_what_takes_more_is_said_to_take_more(less: Workload, more: Workload, part: str) -> None:
    assert gb(memory._training(less, XEON), part) < gb(memory._training(more, XEON), part)


def test_a_prefix_cannot_be_checkpointed_and_a_gpu_does_it_by_itself() -> None:
    card = XEON.model_copy(update={"device": "cuda"})
    assert memory.checkpoints(work(), card) and not memory.checkpoints(work(), XEON)
    assert not memory.checkpoints(work(PrefixTuningStrategy(), checkpointing=True), card)


def test_without_training_nothing_is_trained_but_something_is_held() -> None:
    for strategy in (PromptStrategy(), FewShotStrategy()):
        held, spent = plain(work(strategy), XEON)
        assert spent.training == spent.checking == held.optimizer == held.gradients == held.adapter == 0
        assert held.weights > 0 and spent.testing > 0
        assert work(strategy).tokens == 0


def test_general_rows_take_the_time_in_which_the_base_answers_them() -> None:
    (_, without), (_, spent) = plain(work(), XEON), plain(work(general_rows=40), XEON)
    assert spent.checking - without.checking == pytest.approx(20.8, rel=0.25), "seconds, measured on two cores"
    assert spent.total - without.total == pytest.approx(spent.checking - without.checking)


@pytest.mark.parametrize(
    ("found", "measured"),
    [  # seconds a step, as measured on two cores
        (work(tokens=57, batch=4), 1.48),
        (work(tokens=51, batch=16), 3.62),
        (work(tokens=429, batch=1), 2.08),
        (work(LoraStrategy(r=32), tokens=57, batch=1), 0.72),
        (work(PromptTuningStrategy(), tokens=57, batch=4), 0.98),
        (work(FullStrategy(), tokens=57, batch=4), 1.75),
    ],
)
def test_a_step_takes_what_it_was_measured_to_take(found: Workload, measured: float) -> None:
    assert step_seconds(found, XEON) == pytest.approx(measured, rel=0.2)


def test_a_machine_without_a_matrix_unit_is_foretold_by_the_same_factors() -> None:
    """104 tokens/s were measured at 122 GFLOP/s in float32, where the head then took all positions."""
    found = work(tokens=80, batch=8, rows=800)
    assert tokens_per_second(found, OLDER) == pytest.approx(104, rel=0.3)
    assert tokens_per_second(found, XEON) > 1.5 * tokens_per_second(found, OLDER)


def test_time_grows_with_what_there_is_to_do() -> None:
    one = plain(work(), XEON)[1]
    assert plain(work(epochs=3), XEON)[1].training == pytest.approx(3 * one.training, rel=0.2)
    assert plain(work(test=80), XEON)[1].testing > 3 * one.testing
    assert plain(work(replies=1000), XEON)[1].examining > 100 > one.examining == 0
    assert plain(work(labels=12, test=80), XEON)[1].testing > plain(work(test=80), XEON)[1].testing
    assert plain(work(objective="dpo"), XEON)[1].training > 1.5 * one.training
    slow, gradual = FullStrategy(), FullStrategy(unfreezing=Unfreezing(layers=5))
    assert plain(work(gradual), XEON)[1].training < plain(work(slow), XEON)[1].training
    meta = MetaLoraStrategy(rounds=10, inner_steps=4, adaptation_steps=12)
    assert work(meta).steps == 52 and plain(work(meta), XEON)[1].training > 10


def test_rows_of_like_length_share_a_batch() -> None:
    lengths = [10] * 50 + [100] * 50
    together = lengths_of(lengths, 512, 10)
    assert (together.mean, together.longest) == (55, 100) and together.padded == 55
    assert lengths_of([10, 100] * 2, 512, 4).padded == 100, "a batch of all of them is as long as the longest"
    assert lengths_of([10, 1000], 64, 1).longest == 64, "longer rows are cut"
    assert lengths_of([], 64, 4).longest == 1
    assert lengths_of(lengths, 512, 8, packing=True).longest == 512


def test_a_workload_is_read_from_plan_and_files(tiny_model: Path) -> None:
    base = LocalModel(ref=str(tiny_model), kind="folder", name="tiny", folder=tiny_model)
    figures = figures_of(base)
    assert (figures.layers, figures.width, figures.inner, figures.kv_width) == (2, 128, 256, 128)
    assert not figures.tied and figures.body < figures.parameters
    assert len(figures.matrices) == 7 and figures.bytes_on_disk > 4 * figures.parameters
    plan = TrainingPlan(
        base_model=str(tiny_model),
        data=DataPlan(path=Path("x.csv"), columns=Mapping(input="a", output="b"), max_train_rows=20),
        objective=SftObjective(),
        training=Optimization(epochs=2, batch_size=4, gradient_accumulation=2),
    )
    found = workload_of(plan, base, [30, 40], train=50, dev=5, test=10, answer_tokens=3)
    assert (found.rows, found.steps, found.tokens) == (20, 6, 20 * 2 * 35)
    assert found.replies > 100 and found.further_prompts == 1 and found.texts
    assert Workload.model_validate_json(found.model_dump_json()) == found, "it is kept in files"


@pytest.mark.parametrize(
    ("strategy", "base", "smallest"),
    [
        (LoraStrategy(), SMOL, 8),
        (FullStrategy(), SMOL, 8),
        (LoraStrategy(), SEVEN_B, 24),
        (QloraStrategy(), SEVEN_B, 24),  # it trains in less, and is examined in 16 bits
        (FullStrategy(), SEVEN_B, 141),
    ],
)
def test_what_fits_on_which_card(strategy: AnyStrategy, base: BaseFigures, smallest: int) -> None:
    cards = [card for card in known_machines() if card.device == "cuda" and card.dtype == "bfloat16"]
    found = fits(work(strategy, tokens=200, batch=1, base=base), cards)
    assert min(one.memory_gb for one in found if one.fits) == smallest
    assert all(one.needed_gb > 0 for one in found)


def test_energy_and_money_are_said_only_where_somebody_said_what_they_cost() -> None:
    unknown = estimate(work(), XEON)
    assert unknown.watt_hours is None and unknown.money is None and unknown.fits
    known = estimate(work(), XEON.model_copy(update={"watts": 100, "per_hour": 2.0}))
    assert known.watt_hours == pytest.approx(100 * known.seconds.total / 3600)
    assert known.money == pytest.approx(2 * known.seconds.total / 3600)
    assert not estimate(work(FullStrategy(), base=SEVEN_B), XEON).fits


def test_this_machine_is_found_in_the_list(paths: Paths) -> None:
    compute = Compute(device="cuda", dtype="bfloat16", reason="", gflops=600_000, gb_per_second=2500)
    card = Hardware(cpu="x", cores=16, memory_gb=120, gpus=(Gpu(name="NVIDIA H100 80GB HBM3", memory_gb=79.6),))
    found = this_machine(card, compute)
    assert (found.watts, found.per_hour, found.memory_gb) == (700, None, 79.6), "renting is not owning"
    assert found.gb_per_second == 2500, "measured, not as its maker has it"
    assert this_machine(card, compute, Rates(cost_per_hour=3.5)).per_hour == 3.5
    other = card.model_copy(update={"gpus": (Gpu(name="NVIDIA GeForce RTX 4060 Ti", memory_gb=8),)})
    assert this_machine(other, compute).watts is None, "another card than the 4060"
    l40s = card.model_copy(update={"gpus": (Gpu(name="NVIDIA L40S", memory_gb=45),)})
    assert this_machine(l40s, compute).watts == 350, "and no L4"
    intel = Hardware(cpu="12th Gen Intel(R) Core(TM) i5-12400", cores=6, memory_gb=16)
    assert this_machine(intel, compute.model_copy(update={"device": "cpu"})).watts == 65
    on_cpu = compute.model_copy(update={"device": "cpu", "gb_per_second": None})
    assert this_machine(card, on_cpu).memory_gb == 120 and this_machine(card, on_cpu).watts is None


def test_the_list_can_be_added_to_and_says_where_it_is_wrong(paths: Paths) -> None:
    before = {machine.name: machine for machine in known_machines()}
    assert len(before) >= 12 and before["NVIDIA L4"].per_hour == 0.78
    own = paths.home / "machines.yaml"
    own.parent.mkdir(parents=True)
    entry = "{name: %s, device: cuda, dtype: bfloat16, memory_gb: 24, gflops: 1, gb_per_second: 1, per_hour: 0.5}"
    own.write_text(f"machines:\n- {entry % 'NVIDIA L4'}\n- {entry % 'Mine'}\n")
    after = {machine.name: machine for machine in known_machines()}
    assert after["NVIDIA L4"].per_hour == after["Mine"].per_hour == 0.5 and len(after) == len(before) + 1
    for text, told in (("machines:\n- {name: x}\n", "machine 1: device"), ("a: [", "cannot be read"), ("x", "read")):
        own.write_text(text)
        machines._known.cache_clear()  # the two files may be as old as each other
        with pytest.raises(RunError, match=told) as error:
            known_machines()
        assert error.value.hint
    own.unlink()
    assert {machine.name for machine in known_machines()} == set(before)


def test_serving_holds_what_the_engine_reserves(tiny_model: Path) -> None:
    base = LocalModel(ref="x", kind="folder", name="tiny", folder=tiny_model)
    dear = XEON.model_copy(update={"watts": 100, "per_hour": 2.0})

    def of(strategy: AnyStrategy, engine: Any, prompt: int = 60) -> Any:
        return serving(base, strategy, dear, prompt_tokens=prompt, answer_tokens=6, engine=engine)

    vllm, embedded = of(LoraStrategy(), "vllm"), of(LoraStrategy(), "embedded")
    assert vllm.memory.runtime == 2.6 and vllm.memory.cache == 3 and embedded.memory.cache < 0.1
    assert vllm.memory.adapter > 0 == of(FewShotStrategy(), "vllm").memory.adapter
    shown, plain = (of(FewShotStrategy(), "embedded", prompt) for prompt in (600, 60))
    assert shown.seconds_per_answer > plain.seconds_per_answer, "a longer prompt is paid for with each answer"
    assert embedded.answers_per_minute > 60 / embedded.seconds_per_answer, "together they are faster"
    assert vllm.money == pytest.approx(2 * 1000 / vllm.answers_per_minute / 60)
    assert vllm.watt_hours == pytest.approx(100 * 1000 / vllm.answers_per_minute / 60) and vllm.fits
