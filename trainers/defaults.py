"""What a plan begins with: rank, rate, epochs and batches by strategy, size of the model, number of rows and memory.

Owns the figures and where each comes from; the sources stand as comments in the plan. Refuses to know a time budget
(that is the recommendation's) and to start anything. What was measured for this project says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Any

from trainers.objectives import AnyObjective, SftObjective
from trainers.plan import Optimization
from trainers.shapes import BaseShape
from trainers.strategies import AnyStrategy, LoraStrategy, Strategy

_THINKING = "Schulman et al. 2025, LoRA Without Regret, thinkingmachines.ai/blog/lora"
_QLORA = "Dettmers et al. 2023, arXiv 2305.14314"
_Sized = tuple[tuple[float, float, str], ...]  # weights up to, value, source

# Rates of LoRA by the base's size.
_LORA_RATES: _Sized = (
    (300e6, 2e-3, "measured here: best of those tried on SmolLM2-135M (benchmarks/journey.py)"),
    (2e9, 5e-4, f"ten times that of full tuning: {_THINKING}"),
    (20e9, 2e-4, f"up to 13B: {_QLORA}, table 9"),
    (float("inf"), 1e-4, f"33B and more: {_QLORA}, table 9"),
)
_FULL_RATES: _Sized = (
    (300e6, 2e-4, f"a tenth of LoRA's: {_THINKING}"),
    (2e9, 5e-5, f"a tenth of LoRA's: {_THINKING}"),
    (20e9, 2e-5, "Taori et al. 2023, Alpaca, github.com/tatsu-lab/stanford_alpaca"),
    (float("inf"), 1e-5, "Touvron et al. 2023, Llama 2, arXiv 2307.09288, halved for its size"),
)
_SOFT_RATES = {
    "prompt_tuning": (3e-2, "PEFT's guide to prompt tuning, huggingface.co/docs/peft; Lester et al. 2021 took 0.3"),
    "p_tuning": (1e-3, "PEFT's guide to P-tuning, huggingface.co/docs/peft"),
    "prefix_tuning": (1e-2, "PEFT's guide to prefix tuning, huggingface.co/docs/peft"),
}
# Preference objectives move a model that can answer already: a small share of the rate of examples.
_PREFERENCE = {
    "dpo": (
        1 / 40,
        "a fortieth of that for examples, as in the Zephyr recipes: Tunstall et al. 2023, arXiv 2310.16944",
    ),
    "kto": (1 / 40, "a fortieth of that for examples; 5e-7 to 5e-6 for 7B: Ethayarajh et al. 2024, arXiv 2402.01306"),
}
_OLORA = 0.1
_STEPS = 100  # fewer steps leave small data half learned: Mosbach et al. 2021, arXiv 2006.04884
_FEWEST, _MOST = 4, 32  # rows a step
_BYTES = 34  # of activations for each layer, token and unit of width: Korthikanti et al. 2022, arXiv 2205.05198


@dataclass(frozen=True)
class Situation:
    """What the figures depend on. `memory_gb` is the device's; `max_tokens` the longest row."""

    base: BaseShape
    rows: int
    max_tokens: int
    device: str
    memory_gb: float


@dataclass(frozen=True)
class Usual:
    """A strategy and its optimization, and why they are what they are, by the plan's dotted keys."""

    strategy: AnyStrategy
    training: Optimization
    comments: dict[str, str]


def usual(strategy: AnyStrategy, known: Situation, objective: AnyObjective | None = None) -> Usual:
    """The figures to begin with for a strategy. Fields that are set already in it stay as they are."""
    objective = objective or SftObjective()
    comments: dict[str, str] = {}
    strategy = _sized(strategy, known, comments)
    rate = _rate(strategy, known.base.parameters, objective, comments)
    epochs = 10.0 if strategy.virtual else 3.0
    comments["training.epochs"] = (
        "soft prompts learn slowly: Lester et al. 2021, arXiv 2104.08691" if strategy.virtual
        else "Taori et al. 2023, Alpaca; the epoch with the lowest dev loss is kept"
    )  # fmt: skip
    effective = _effective(known.rows, epochs)
    comments["training.batch_size"] = (
        f"{effective} rows a step: at least {_STEPS} steps (Mosbach et al. 2021, arXiv 2006.04884), and small steps "
        f"suit LoRA ({_THINKING})"
    )
    micro = _fitting(effective, known, strategy)
    if objective.type == "kto":
        micro = max(2, micro)  # it compares the rows of a batch with each other
    if micro < effective:
        comments["training.gradient_accumulation"] = f"so that a step still sees {effective} rows in this memory"
    decay = 0.01 if strategy.form == "model" else 0.0
    if decay:
        comments["training.weight_decay"] = "Loshchilov and Hutter 2019, arXiv 1711.05101"
    comments["training.warmup"] = "a tenth of the steps: Howard and Ruder 2018, arXiv 1801.06146"
    training = Optimization(
        epochs=epochs,
        learning_rate=rate,
        batch_size=micro,
        gradient_accumulation=effective // micro,
        max_tokens=known.max_tokens,
        weight_decay=decay,
    )
    return Usual(strategy, training, comments)


def _sized(strategy: AnyStrategy, known: Situation, comments: dict[str, str]) -> AnyStrategy:
    """Rank and scale by the number of rows, where the strategy leaves them open."""
    if not isinstance(strategy, LoraStrategy):
        return strategy
    comments["strategy.target_modules"] = f"all linear layers: {_QLORA}, section 4"
    change: dict[str, Any] = {}
    if "r" not in strategy.model_fields_set:
        small = known.rows < 1000 or known.device == "cpu"
        change["r"] = 8 if small else 16 if known.rows < 10_000 else 32
        comments["strategy.r"] = f"enough for {known.rows:,} rows: {_THINKING}"
    if "alpha" not in strategy.model_fields_set:
        change["alpha"] = 2.0 * change.get("r", strategy.r)
        comments["strategy.alpha"] = "twice the rank: Biderman et al. 2024, arXiv 2405.09673"
    narrowest = min((min(shape) for shape in known.base.modules.values()), default=change.get("r", strategy.r))
    if change.get("r", 0) > narrowest:  # of a tiny model
        change |= {"r": narrowest, "alpha": 2.0 * narrowest}
    return strategy.model_copy(update=change)


def _rate(strategy: Strategy, parameters: int, objective: AnyObjective, comments: dict[str, str]) -> float:
    kind = str(getattr(strategy, "type", ""))
    if kind in _SOFT_RATES:
        rate, source = _SOFT_RATES[kind]
    else:
        rates = _FULL_RATES if strategy.form == "model" else _LORA_RATES
        rate, source = next((value, source) for most, value, source in rates if parameters < most)
    if isinstance(strategy, LoraStrategy) and strategy.init == "olora":
        rate *= _OLORA
        source = (
            "a tenth of LoRA's: first values are orthonormal, far from 0 (14 % instead of 90 % at LoRA's own, here)"
        )
    if objective.type in _PREFERENCE:
        share, source = _PREFERENCE[objective.type]
        rate *= share
    comments["training.learning_rate"] = source
    return float(f"{rate:.2g}")


def _effective(rows: int, epochs: float) -> int:
    """Rows a step, a power of two."""
    wanted = max(1.0, rows * epochs / _STEPS)
    return int(min(_MOST, max(_FEWEST, 2 ** int(log2(wanted)))))


def _fitting(effective: int, known: Situation, strategy: Strategy) -> int:
    """The most rows at once that fit, of those that divide the step."""
    layers, width = max(1, known.base.layers), int(known.base.config.get("hidden_size", 1))
    held = (16 if strategy.form == "model" else 4) * known.base.parameters  # weights; gradients and AdamW's moments
    on_gpu = known.device != "cpu"  # where activations are computed twice, one layer's and each layer's input are kept
    per_token = width * (_BYTES + 2 * layers if on_gpu else _BYTES * layers * 2)
    free = max(0.0, 0.7 * known.memory_gb * 2**30 - held)
    most = max(1, int(free / (per_token * known.max_tokens)))
    return next(size for size in range(effective, 0, -1) if effective % size == 0 and (size <= most or size == 1))
