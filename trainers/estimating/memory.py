"""The most memory that following a plan holds, part by part: in loading, in training, or in the examination after it.

Owns the arithmetic, and its figures that were measured. Refuses to measure, and to know engines.

A process keeps what it once took from the system, so that the most counts, whenever it was. Activations are those that
autograd keeps for the backward pass, counted in the layers of a Llama (norm, attention, gated feed-forward) under
autocast as PyTorch runs them, operation by operation.

Held against the peaks of 16 plans on a CPU in bfloat16 (1.2 to 3.7 GB; models of 15 to 300 million weights, 46 to 1,064
tokens a batch; LoRA, DoRA, soft prompts, full tuning, DPO): off by 3 % in the median and 8 % at most
(benchmarks/estimates.py). On an H100 five
peaks of the embedded model, 0.36 to 2.23 GB by PyTorch's own count (docs/gpu-strategies.md), are met within 15 %.
"""

from __future__ import annotations

from trainers.estimating.records import Machine, Memory
from trainers.estimating.workload import Workload
from trainers.hardware import Dtype
from trainers.strategies import LoraStrategy, MetaLoraStrategy, QloraStrategy

_GB = 2**30
BYTES: dict[Dtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_FOUR_BITS = 0.55  # bytes a weight of QLoRA's, with its constants (Dettmers et al. 2023, section 3)
# Python, PyTorch, TRL and what else the worker imports, with a tokenizer; on a GPU the context, of which the driver
# takes 0.4 to 0.6 GB. Measured on a CPU: 0.64 GB before the first weight, and 0.2 more once a trainer has made a step.
_RUNTIME = {"cpu": 0.84, "cuda": 0.6}
_BARE = 0.64  # where nothing is trained
# What allocators hold beyond what is asked for, and what the backward pass needs for its own: the slope of measured
# peaks over counted activations is 1.44 on a CPU (SmolLM2-135M, 228 to 976 tokens). That of a GPU is a guess.
_SLACK = {"cpu": 1.44, "cuda": 1.2}
# The head goes over the vocabulary in parts of so many tokens, each as float32 scores, their exponentials, products and
# gradients (trl.kernels.chunked_logprob).
_HEAD_PART, _HEAD_COPIES = 32_768, 5
# Texts whose likelihood the examination asks for at once, the longest of its own (101 of SmolLM2's tokens), and the
# bytes of each token's scores over all words: as they come, in float32 twice, and as logarithms (1.1 GB measured).
_TEXTS_AT_ONCE, _TEXT_TOKENS, _SCORE_BYTES = 16, 101, 14


def memory(work: Workload, machine: Machine) -> Memory:
    """The most that is held while a plan is followed, in GB, as the parts of the phase in which that is."""
    phases = [_examining(work, machine)]
    if work.trains:
        phases += [_loading(work, machine), _training(work, machine)]
    return max(phases, key=lambda held: held.total)


def bytes_a_weight(work: Workload, machine: Machine) -> float:
    """Of the base while it trains, as `modeling.load_base` has it."""
    if isinstance(work.strategy, QloraStrategy):
        return _FOUR_BITS
    return 4 if work.whole or machine.dtype == "float16" else BYTES[machine.dtype]


def checkpoints(work: Workload, machine: Machine) -> bool:
    """Whether activations are computed twice, as `arguments.checkpoints_gradients` has it."""
    asked = machine.device != "cpu" if work.checkpointing is None else work.checkpointing
    return work.strategy.can_checkpoint and asked


def _loading(work: Workload, machine: Machine) -> Memory:
    """The weights, and beside them the file that they are read from."""
    file = work.base.bytes_on_disk if machine.device == "cpu" else 0
    weights = work.base.parameters * bytes_a_weight(work, machine)
    return Memory(weights=weights / _GB, cache=file / _GB, runtime=_runtime(machine, trains=False))


def _training(work: Workload, machine: Machine) -> Memory:
    base, size = work.base, bytes_a_weight(work, machine)
    learned = base.parameters if work.whole else work.adapter_parameters
    references = 2 if work.objective != "sft" and work.continues else 1  # a parent's adapter is kept beside its copy
    tokens = widest_batch(work)
    kept = tokens * saved_bytes(work, machine.dtype) * base.layers
    if checkpoints(work, machine):  # one layer's, and the input of each
        kept = tokens * (saved_bytes(work, machine.dtype) + 2 * base.width * base.layers)
    copies = float(BYTES[machine.dtype]) * base.body if work.whole and machine.dtype != "float32" else 0.0  # autocast's
    if getattr(work.strategy, "use_dora", False):  # the sum of each matrix and its adapter
        copies += 4 * base.body / (base.layers if checkpoints(work, machine) else 1)
    return Memory(
        weights=base.parameters * size / _GB,
        adapter=0.0 if work.whole else 4 * learned * references / _GB,
        gradients=4 * learned / _GB,
        optimizer=8 * learned / _GB,
        activations=(kept * _SLACK[machine.device] + copies) / _GB,
        logits=_head_bytes(work, machine) / _GB,
        runtime=_runtime(machine, trains=True),
    )


def _head_bytes(work: Workload, machine: Machine) -> float:
    """What scoring the answers takes: parts of the vocabulary at once, for the positions that carry loss alone. On a
    CPU each part of the head's weights is put into float32 for it."""
    positions = work.batch * work.passes * min(work.answer_tokens, work.lengths.longest)
    part = min(_HEAD_PART, work.base.vocabulary)
    weights = work.base.width if machine.device == "cpu" else 0
    return 4.0 * part * (_HEAD_COPIES * min(positions, 4096) + weights)


def _examining(work: Workload, machine: Machine) -> Memory:
    """A fresh base in the worker's process, read from its file; the batches of rows that answer; and, where texts are
    asked for, the scores of all their tokens over the whole vocabulary."""
    base, size = work.base, BYTES[machine.dtype]
    prompt = work.lengths.longest + work.shown_tokens + work.virtual
    rows = min(work.eval_batch, max(1, work.test))
    cache = 2 * base.layers * base.kv_width * size * rows * (prompt + work.max_new_tokens)
    passing = rows * prompt * (8 * base.width + 6 * base.inner) * size  # of the layer that is computed
    texts = _SCORE_BYTES * _TEXTS_AT_ONCE * _TEXT_TOKENS * base.vocabulary if work.texts else 0
    file = base.bytes_on_disk if machine.device == "cpu" else 0  # gone before the first question: the larger counts
    asked = cache + passing + texts
    return Memory(
        weights=base.parameters * size / _GB,
        adapter=0.0 if work.whole or not work.trains else 4 * work.adapter_parameters / _GB,
        activations=passing / _GB,
        logits=texts / _GB,
        cache=max(cache, file + cache - asked) / _GB,
        runtime=_runtime(machine, trains=work.trains),
    )


def _runtime(machine: Machine, *, trains: bool) -> float:
    return _BARE if machine.device == "cpu" and not trains else _RUNTIME[machine.device]


def widest_batch(work: Workload) -> int:
    """Tokens of the largest batch: rows of like length share one, so the longest are together."""
    return int(work.batch * work.passes * (work.lengths.longest + work.virtual))


def saved_bytes(work: Workload, dtype: Dtype) -> float:
    """Bytes that autograd keeps for each token and layer, where products are computed in `dtype`."""
    base, size = work.base, BYTES[dtype]
    inputs = sum(shape[1] for shape in base.matrices)
    kept = 4.0 * base.width * size + 3.0 * base.inner * size  # attention, feed-forward
    if work.whole:  # weights in float32: norms keep what goes in and what comes out, and each matrix its own input
        return kept + 16.0 * base.width + size * inputs
    return kept + 8.0 * base.width + _saved_by_adapter(work, inputs, size)


def _saved_by_adapter(work: Workload, inputs: int, size: int) -> float:
    """Each adapted matrix keeps its input, and with dropout the mask in float32 too: 84 widths a layer in all.

    In a Llama of 10 layers 83.7 were counted in bfloat16 (without dropout 50.1; with DoRA 80.4, and 4 bytes a weight;
    of full tuning 56.7, of soft prompts 32.8). TRL's preference trainers switch dropout off.
    """
    strategy = work.strategy.lora if isinstance(work.strategy, MetaLoraStrategy) else work.strategy
    if not isinstance(strategy, LoraStrategy):
        return 0.0
    drops = work.objective == "sft" and strategy.dropout > 0
    return float((4 if drops else 0) + size) * inputs
