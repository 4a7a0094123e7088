"""How long a training will take, before it starts. In its first form: time only.

Owns the arithmetic. The speed of this machine comes from `hardware`; what was then measured stands in the run.
"""

from __future__ import annotations

from trainers.hardware import Compute

# Training a model of N weights on T tokens takes about 6 N T operations (Kaplan et al. 2020, section 2.1).
_OPERATIONS = 6
# The share of a large matrix product's speed that training reached: 0.69 measured here on the embedded model with two
# cores (104 tokens/s where the product ran at 122 GFLOP/s). The figure for a GPU is a guess until one was measured.
_REACHED = {"cpu": 0.69, "cuda": 0.3}
# In bfloat16 on a CPU whose matrix unit is far ahead of its memory (a Xeon with AMX): 128 tokens/s at 1,507 GFLOP/s.
_REACHED_ON_CPU_IN_BFLOAT16 = 0.07
# Loading the model, first step, and answering the test rows.
_AROUND_SECONDS = {"cpu": 90.0, "cuda": 60.0}
# One short reply, for each weight of the model: 2,000 of the embedded model took 415 s on two cores, beside other
# work. The figure for a GPU is a guess until one was measured.
_REPLY_SECONDS = {"cpu": 0.2 / 135e6, "cuda": 0.01 / 135e6}


def disk_bytes(parameters: int, *, whole: bool) -> float:
    """What a run needs on the disk at most: of a whole model the artefact, the best and the last checkpoint, each in
    float32 and with AdamW's two moments; of an adapter a flat figure that the models in the catalogue stay under."""
    return 4.0 * parameters * (1 + 2 * 3) if whole else 500e6


def tokens_per_second(parameters: int, compute: Compute) -> float:
    """Training tokens a second for a model with this many weights."""
    half = compute.device == "cpu" and compute.dtype == "bfloat16"
    reached = _REACHED_ON_CPU_IN_BFLOAT16 if half else _REACHED[compute.device]
    return compute.gflops * 1e9 * reached / (_OPERATIONS * parameters)


def training_seconds(tokens: int, parameters: int, compute: Compute) -> float:
    """Seconds from start to the end of training for a run over this many tokens, all epochs counted; the test rows are
    in it."""
    return tokens / tokens_per_second(parameters, compute) + _AROUND_SECONDS[compute.device]


def probing_seconds(replies: int, parameters: int, compute: Compute) -> float:
    """Seconds that an evaluation's probes take, which ask for so many replies."""
    return replies * parameters * _REPLY_SECONDS[compute.device]
