"""How long a machine takes: to begin, for a training step, for the dev rows, and for replies.

Owns the model of time and its figures that were measured. Refuses to know what for.

A step's seconds add up from four things that grow apart from each other: calls of the library, one layer after the
other, whatever there is to compute; what stands between the products and waits for memory, in proportion to the bytes
that autograd keeps; the products themselves; and the optimizer. The factors of a CPU are fitted to the steps of 12
plans (benchmarks/estimates.py: models of 15 to 300 million weights, 46 to 900 tokens a batch) on two cores of a Xeon in
bfloat16, 1,500 GFLOP/s and 56 GB/s, by non-negative least squares of relative errors, and meet these within 14 %;
whole runs of 16 plans, from start to report, are met within 8 % in the median and 20 % at most. In float32 products
come nearer to their speed, and the head's are no slower than others: that factor is from one figure, 104 tokens/s of
the embedded model at 122 GFLOP/s. Of a GPU only the calls are measured (docs/gpu-strategies.md: 13 steps of the
embedded model in about 4 s on an H100, where nothing else takes time); its other factors are guesses until a run was
measured there. `history` corrects all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainers.estimating.memory import BYTES, checkpoints, saved_bytes
from trainers.estimating.records import Machine
from trainers.estimating.workload import BaseFigures, Workload
from trainers.replay import AT_ONCE, TOKENS
from trainers.strategies import FullStrategy, LoraStrategy, MetaLoraStrategy


@dataclass(frozen=True)
class _Factors:
    """`layer` and `adapted` are seconds for a layer and for each of its adapted matrices, forward and backward; the
    others multiply what the measured speeds alone would take."""

    layer: float
    adapted: float
    between: float
    product: float
    head: float
    optimizer: float
    start: float  # seconds to start a worker and import the libraries
    reading: float  # seconds a weight, to load a model
    around: float  # seconds to build a trainer, and to keep what was best


_FACTORS = {
    "cpu": _Factors(0.0164, 0.0003, 127, 1.88, 8.6, 5.2, start=4.9, reading=4e-9, around=0.7),
    "cuda": _Factors(0.006, 0.0003, 10, 2.0, 3.0, 1.5, start=8.0, reading=2e-9, around=1.0),
}
_FLOAT32_PRODUCT = 1.15  # of a CPU, in place of `product` and `head`
_FORWARD = 1 / 3  # of a step's work (Kaplan et al. 2020, section 2.1)
_FIRST = 0.25  # of a step, that the first one takes longer
_BYTES_OPTIMIZED = 36  # that AdamW reads and writes for a weight in float32, and the clipping of gradients before it
# A whole model is written with AdamW's moments where it is the best so far, read again, and saved: bytes a weight.
_BYTES_KEPT, _DISK_BYTES_A_SECOND = 24, 1e9
# Measured on the same machine: a layer's call where nothing is learned, as a share of its training; what stands between
# the products then; and how often as long an adapted matrix takes for rows that are bound to adapters by name.
_CALL, _PASSING, _BOUND = 0.18, 0.7, 3.3
_VLLM_CALL = {"cpu": 0.002, "cuda": 0.0001}  # seconds a layer; that of a GPU is a guess, with its graphs compiled
_VLLM_ROW = {"cpu": 8e-11, "cuda": 1e-13}  # seconds for a row and a weight
_QUESTION = 40  # tokens of a general question, with what a chat puts around it
_SCORED = 2000  # `examine`'s limit; each label goes on from a copy of its row's keys and values


def loading_seconds(work: Workload, machine: Machine) -> float:
    """Starting the worker and reading the model."""
    how = _FACTORS[machine.device]
    return how.start + (how.reading * work.base.parameters if work.trains else 0.0)


def training_seconds(work: Workload, machine: Machine) -> float:
    """All training steps."""
    if not work.trains:
        return 0.0
    return (work.steps + _FIRST) * step_seconds(work, machine)


def step_seconds(work: Workload, machine: Machine) -> float:
    """One optimizer step, its accumulated batches in it."""
    how, base = _FACTORS[machine.device], work.base
    learned = base.parameters if work.whole else work.adapter_parameters
    moving = _moving(work)
    passes = _FORWARD * (1 + _references(work) + checkpoints(work, machine)) + 2 * _FORWARD * moving
    batch = passes * (_calls(work, machine) + _between(work, machine)) + _products(work, machine) + _head(work, machine)
    optimizer = how.optimizer * learned * _BYTES_OPTIMIZED / _memory_speed(machine)
    return work.accumulation * batch + optimizer


def _moving(work: Workload) -> float:
    """The share of the layers that the backward pass goes through, over all steps."""
    gradual = isinstance(work.strategy, FullStrategy) and work.strategy.unfreezing
    return 1 - gradual.over / 2 if gradual else 1.0


def _references(work: Workload) -> float:
    """Forward passes without gradient beside that of the model: a whole one asks its reference once, before."""
    if work.objective == "sft":
        return 0.0
    return 1 / max(1.0, work.epochs) if work.whole else 1.0


def _memory_speed(machine: Machine) -> float:
    return machine.gb_per_second * 1e9


def _speed(machine: Machine) -> float:
    return machine.gflops * 1e9


def _calls(work: Workload, machine: Machine) -> float:
    how = _FACTORS[machine.device]
    adapts = isinstance(work.strategy, LoraStrategy | MetaLoraStrategy)
    return work.base.layers * (how.layer + (how.adapted * len(work.base.matrices) if adapts else 0.0))


def batch_tokens(work: Workload) -> float:
    """Tokens of a batch, padding and a soft prompt's own included."""
    return work.batch * work.passes * (work.lengths.padded + work.virtual)


def _between(work: Workload, machine: Machine) -> float:
    base = work.base
    kept = batch_tokens(work) * saved_bytes(work, machine.dtype) * base.layers
    if getattr(work.strategy, "use_dora", False):
        kept += 8 * base.body  # each matrix is added up and measured whole, forward and backward
    return _FACTORS[machine.device].between * kept / _memory_speed(machine)


def _products(work: Workload, machine: Machine) -> float:
    """Twice the weights for each token forward, as much for what flows back, and again for weights that move."""
    back = 2 * _moving(work) * (2 if work.whole else 1)
    forward = 2 * (1 + _references(work) + checkpoints(work, machine))
    adapters = 6 * work.adapter_parameters if not work.whole and not work.virtual else 0
    operations = batch_tokens(work) * ((forward + back) * work.base.body + adapters + _attention(work))
    return _product(machine) * operations / _speed(machine)


def _product(machine: Machine) -> float:
    return _FLOAT32_PRODUCT if _in_float32(machine) else _FACTORS[machine.device].product


def _in_float32(machine: Machine) -> bool:
    return machine.device == "cpu" and machine.dtype == "float32"


def _attention(work: Workload) -> float:
    """Operations a token for attending to all of its row, forward and backward."""
    return 3 * 4 * work.base.layers * work.base.width * (work.lengths.mean + work.virtual)


def _head(work: Workload, machine: Machine) -> float:
    positions = work.batch * work.passes * min(work.answer_tokens, work.lengths.padded)
    factor = _FLOAT32_PRODUCT if _in_float32(machine) else _FACTORS[machine.device].head
    return factor * 6 * positions * work.base.head / _speed(machine)


def checking_seconds(work: Workload, machine: Machine) -> float:
    """Building the trainer, general rows among that, looking at the dev rows while it trains, and keeping what was
    best."""
    if not work.trains:
        return 0.0
    how = _FACTORS[machine.device]
    kept = _BYTES_KEPT * work.base.parameters / _DISK_BYTES_A_SECOND if work.whole else 0.0
    batches = -(-work.dev // work.batch) if work.strategy.by_trl else 0
    forward = _FORWARD * (_calls(work, machine) + _between(work, machine) + _products(work, machine))
    looks = work.evaluations * batches * (forward + _head(work, machine))
    return how.around + _rehearsing(work, machine) + kept + looks


def _rehearsing(work: Workload, machine: Machine) -> float:
    """The base's own answers to general questions, some at once, most of them as long as they may be."""
    batches = -(-work.general_rows // AT_ONCE)
    read = prompt_seconds(work.base, machine, min(AT_ONCE, work.general_rows) * _QUESTION)
    return batches * (read + TOKENS * token_seconds(work, machine))


# Replies


def reply_seconds(work: Workload, machine: Machine, *, rows: int = 0, shown: int = 0, tuned: bool = False) -> float:
    """One short reply among `rows` of a batch (as many as the plan's where that is 0); `shown` are tokens of solved
    examples, read once for all; `tuned` tells that the adapter answers."""
    rows = max(1, min(work.eval_batch, rows or work.eval_batch))
    asked = max(1.0, work.lengths.mean - work.answer_tokens)
    tokens = rows * asked + shown + (rows * work.virtual if tuned else 0)
    each = token_seconds(work, machine) + (_adapted(work, machine) if tuned else 0.0)
    return (read_seconds(work, machine, tokens) + work.max_new_tokens * each) / rows


def read_seconds(work: Workload, machine: Machine, tokens: float) -> float:
    """Reading so many tokens in one pass, without learning from them."""
    return prompt_seconds(work.base, machine, tokens)


def prompt_seconds(base: BaseFigures, machine: Machine, tokens: float) -> float:
    """Reading so many tokens of prompts in one pass, their keys and values kept."""
    how = _FACTORS[machine.device]
    size = BYTES[machine.dtype]
    kept = tokens * base.layers * ((8 + 4 * size) * base.width + 3 * size * base.inner)
    between = _PASSING * how.between * kept / _memory_speed(machine)
    return _CALL * how.layer * base.layers + between + _product(machine) * 2 * tokens * base.body / _speed(machine)


def answer_token_seconds(
    base: BaseFigures, machine: Machine, *, rows: int, engine: Literal["vllm", "embedded"], adapts: bool
) -> float:
    """One more token of every row that an engine answers at once.

    vLLM's on a CPU is as `benchmarks/serving.py` found it with three adapters: 13.7, 39.1 and 78.7 tokens/s for 1, 8
    and 32 requests of the embedded model.
    """
    how, weights = _FACTORS[machine.device], base.parameters * BYTES[machine.dtype]
    if engine == "vllm":
        call = _VLLM_CALL[machine.device] * base.layers
        a_row = _VLLM_ROW[machine.device] * base.parameters
        return call + weights / _memory_speed(machine) + rows * a_row
    bound = _BOUND * how.adapted * len(base.matrices) * base.layers if adapts else 0.0
    a_row = prompt_seconds(base, machine, 1) - prompt_seconds(base, machine, 0)
    return _CALL * how.layer * base.layers + bound + weights / _memory_speed(machine) + rows * a_row


def token_seconds(work: Workload, machine: Machine) -> float:
    """One more token of every row of a batch: a call of each layer, and all weights read once."""
    base, how = work.base, _FACTORS[machine.device]
    return _CALL * how.layer * base.layers + base.parameters * BYTES[machine.dtype] / _memory_speed(machine)


def _adapted(work: Workload, machine: Machine) -> float:
    """What an adapter adds to each token: rows bound to adapters by name are taken apart in every matrix."""
    base, how = work.base, _FACTORS[machine.device]
    if not isinstance(work.strategy, LoraStrategy | MetaLoraStrategy):
        return 0.0
    seconds = _BOUND * how.adapted * len(base.matrices) * base.layers
    if getattr(work.strategy, "use_dora", False):
        seconds += how.between * 4 * base.body / _memory_speed(machine)
    return seconds


def testing_seconds(work: Workload, machine: Machine) -> float:
    """Both arms, and further prompts, answer the test rows and are asked how sure they are of each label."""
    if not work.test:
        return 0.0
    how, base, rows = _FACTORS[machine.device], work.base, work.test
    loads = how.reading * base.parameters * (2 if work.whole else 1)
    few_shot = work.shown_tokens if work.strategy.type == "few_shot" else 0
    one = reply_seconds(work, machine, rows=rows) + reply_seconds(work, machine, rows=rows, shown=few_shot, tuned=True)
    further = work.further_prompts * reply_seconds(work, machine, rows=rows, shown=work.shown_tokens)
    return loads + rows * (one + further) + 2 * _scoring(work, machine)


def _scoring(work: Workload, machine: Machine) -> float:
    scored = min(_SCORED, work.labels * work.test)
    copied = scored * work.lengths.mean * 2 * work.base.kv_width * work.base.layers * BYTES[machine.dtype]
    answers = read_seconds(work, machine, scored * work.answer_tokens) if scored else 0.0
    return _FACTORS[machine.device].between * copied / _memory_speed(machine) + answers


def examining_seconds(work: Workload, machine: Machine) -> float:
    """The probes' questions, half of them to each arm."""
    return work.replies / 2 * (reply_seconds(work, machine) + reply_seconds(work, machine, tuned=True))
