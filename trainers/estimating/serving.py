"""What answering takes on a machine: memory with the engine's reserve, time alone and among many, energy and money.

Owns the arithmetic and what was measured of the engines. Refuses to place engines (that is the assistant's `placing`,
whose rules of memory are the same) and to start any.
"""

from __future__ import annotations

from typing import Literal

from trainers.estimating.memory import BYTES
from trainers.estimating.records import Machine, Memory, ServingEstimate
from trainers.estimating.speed import answer_token_seconds, prompt_seconds
from trainers.estimating.workload import adapter_parameters, figures_of
from trainers.models import LocalModel
from trainers.strategies import AnyStrategy

Engine = Literal["vllm", "embedded"]
# What the processes take beside weights and cache, measured with SmolLM2-135M on a CPU (`benchmarks/serving.py`); a
# GPU holds no more of them than its context.
_PROCESS_GB: dict[Engine, float] = {"vllm": 2.6, "embedded": 1.2}
_CONTEXT_GB = 0.6
_WEIGHTS = 1.1  # what an engine holds for each byte of the weights
_AT_ONCE: dict[Engine, int] = {"vllm": 32, "embedded": 8}  # answers under way where many are asked
_ROOM = 0.92
_GB = 2**30


def serving(
    base: LocalModel,
    strategy: AnyStrategy,
    machine: Machine,
    *,
    prompt_tokens: int,
    answer_tokens: int,
    engine: Engine,
) -> ServingEstimate:
    """What answers of so many tokens take, each to a prompt of so many. `prompt_tokens` count what a prompt shows; a
    soft prompt's own tokens are added. A thousand answers are counted as they come where many are asked at once."""
    figures, size, many = figures_of(base), BYTES[machine.dtype], _AT_ONCE[engine]
    virtual = int(getattr(strategy, "num_virtual_tokens", 0))
    asked = prompt_tokens + virtual
    learned = adapter_parameters(strategy, figures) if strategy.form == "adapter" else 0
    memory = Memory(
        weights=_WEIGHTS * figures.parameters * size / _GB,
        adapter=4 * learned / _GB,
        cache=_cache_gb(
            2 * figures.layers * figures.kv_width * size * (asked + answer_tokens) * many / _GB, machine, engine
        ),
        runtime=_PROCESS_GB[engine] if machine.device == "cpu" else _CONTEXT_GB,
    )
    adapts = learned > 0 and not virtual

    def seconds(rows: int) -> float:
        step = answer_token_seconds(figures, machine, rows=rows, engine=engine, adapts=adapts)
        return prompt_seconds(figures, machine, rows * asked) + answer_tokens * step

    hours = 1000 / many * seconds(many) / 3600
    return ServingEstimate(
        machine=machine.name,
        memory=memory,
        fits=memory.total <= _ROOM * machine.memory_gb,
        seconds_per_answer=seconds(1),
        answers_per_minute=60 * many / seconds(many),
        watt_hours=None if machine.watts is None else machine.watts * hours,
        money=None if machine.per_hour is None else machine.per_hour * hours,
    )


def _cache_gb(needed: float, machine: Machine, engine: Engine) -> float:
    """vLLM reserves its cache when it starts: on a CPU an eighth of the memory, 1 to 4 GB; on a GPU at least what is
    needed here."""
    if engine == "vllm" and machine.device == "cpu":
        return max(needed, float(max(1, min(4, int(machine.memory_gb / 8)))))
    return needed
