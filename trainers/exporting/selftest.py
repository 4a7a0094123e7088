"""Whether an export answers as the served model does. Imports torch.

Owns the texts that are tried, the logits on them, and the judgement. Refuses to load exports (each form's own) and to
write files.

Two models are compared on the same tokens, so that neither sampling nor stopping hides anything: chats made with the
run's own prompt out of rows it has seen and not seen, with their answers, and general ones. Both are loaded in float32
where memory allows, as rounding would otherwise hide small faults.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from prompts.chat_model import Message
from prompts.errors import EngineError, RunError
from prompts.versions import PromptVersion
from trainers.evaluation.arm import base_arm, tuned_arm
from trainers.exporting.checking import Source
from trainers.exporting.records import SelfTest
from trainers.hardware import Compute

Ids = list[int]
_GENERAL = (
    "Hello",
    "Write one short sentence about the sea.",
    "Which of these is it: red, green or blue?",
    "Sum 17 and 25, then name the capital of France. Réponds en français, s'il te plaît.",
)
_ROWS = 8
_LONGEST = 512  # tokens of a text: of a longer one its end, where input and answer stand
_PLACES = 48  # of a text, evenly spread: logits of all places of a large vocabulary would be gigabytes
_FLOAT32_ROOM = 4 * 1.5  # bytes a weight, with what loading and the adapter take beside
# What storing may change: the largest difference of a logit, and the mean divergence in nats. A float32 copy differs by
# the order of its sums alone. A weight is rounded to 2^-12 of itself in float16, to 2^-9 in bfloat16, and in q8_0 to
# 2^-8 of the largest of its 32. Measured on the embedded model of 135M weights, whose small layers lose most by
# rounding, at 447 places: float32 1.4e-4 and 2e-11; float16 0.05 and 5e-6; q8_0 1.5 and 2.5e-3. A small change below
# these bounds is still told from the base by `arrived`.
TOLERANCES: dict[str, tuple[float, float]] = {
    "float32": (5e-3, 1e-6),
    "float16": (0.5, 1e-3),
    "bfloat16": (3.0, 1e-2),
    "q8_0": (6.0, 2e-2),
}
_NOISE = 1e-9  # nats below which the served model is the base itself
_LEAST_ARRIVED = 0.5


@dataclass(frozen=True)
class Reference:
    """What base and served model say: their logits for the same tokens, and what they were loaded with.

    `model` is the served one, as `evaluation.arm` loads it; whoever takes it may change it.
    """

    texts: tuple[Ids, ...]
    base: torch.Tensor
    served: torch.Tensor
    tokenizer: Any
    compute: Compute


def sharp(compute: Compute, parameters: int) -> Compute:
    """The same device with float32, where the weights fit so."""
    free = psutil.virtual_memory().available
    if compute.device == "cuda":
        free, _ = torch.cuda.mem_get_info()
    if compute.dtype == "float32" or parameters * _FLOAT32_ROOM > free:
        return compute
    return compute.model_copy(update={"dtype": "float32"})


def refer(source: Source, compute: Compute) -> tuple[Reference, Any]:
    """Base and served model on the texts, and the served model itself."""
    run, prompt = source.run, source.run.result_prompt()
    base = base_arm(source.base.folder, prompt, run.how(), compute, **source.remote)
    texts = tuple(ids_of(base.tokenizer, chat) for chat in chats_of(source, prompt))
    told = logits(base.model, texts)
    served = tuned_arm(base, source.artefact, prompt, compute)
    return Reference(texts, told, logits(served.model, texts), served.tokenizer, compute), served.model


def chats_of(source: Source, prompt: PromptVersion) -> list[list[Message]]:
    """The chats that are tried, each with its answer where there is one."""
    chats = [prompt.messages(text) for text in _GENERAL]
    for row in source.rows(_ROWS // 2):
        answer = [Message(role="assistant", content=row.output)] if row.output else []
        chats.append([*prompt.messages(row.input), *answer])
    return [*chats, [Message(role="user", content=_GENERAL[0])]]


def ids_of(tokenizer: Any, chat: Sequence[Message]) -> Ids:
    """A chat's tokens, at most so many, from its end."""
    turns = [message.model_dump() for message in chat]
    begins = chat[-1].role != "assistant"
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=begins, tokenize=True, return_dict=False)
    return list(ids)[-_LONGEST:]


def logits(model: Any, texts: Sequence[Ids]) -> torch.Tensor:
    """What a model says at some places of each text: float32 on the CPU, (places, vocabulary)."""
    model.eval()
    found = []
    with torch.inference_mode():
        for ids in texts:
            batch = torch.tensor([ids], device=model.device)
            told = model(input_ids=batch, attention_mask=torch.ones_like(batch)).logits[0, -len(ids) :]
            found.append(told[_places(len(ids))].float().cpu())  # a soft prompt's own places come first
    return torch.cat(found)


def _places(length: int) -> list[int]:
    count = min(length, _PLACES)
    return sorted({round(i * (length - 1) / max(1, count - 1)) for i in range(count)})


def compare(reference: Reference, exported: torch.Tensor, kept: str) -> SelfTest:
    """The figures of an export whose weights are stored as `kept`. Raises `RunError` where they do not fit together."""
    if exported.shape != reference.served.shape:
        told = f"it has {exported.shape[1]} tokens to choose from, and the served model {reference.served.shape[1]}"
        raise RunError(f"The export is another model: {told}.", hint="Nothing was kept. Please report this.")
    looser = max((kept, reference.compute.dtype), key=lambda name: TOLERANCES[name])
    served, base = reference.served, reference.base
    apart = divergence(served, base)
    return SelfTest(
        chats=len(reference.texts),
        places=len(served),
        difference=_largest(served, exported),
        divergence=divergence(served, exported),
        tolerance=TOLERANCES[looser][0],
        tolerance_divergence=TOLERANCES[looser][1],
        from_base=_largest(served, base),
        from_base_divergence=apart,
        arrived=None if apart <= _NOISE else arrived(base, served, exported),
        dtype=reference.compute.dtype,
    )


def judge(test: SelfTest) -> None:
    """Raise `RunError` for an export that is not the served model."""
    if test.arrived is not None and not test.arrived >= _LEAST_ARRIVED:  # `not >=`: also for what is no number
        raise RunError(
            f"The export is the base and not the tuned model: only {test.arrived:.0%} of what training changed is in "
            f"it. It is {test.divergence:.2g} nats from the served model, and that is {test.from_base_divergence:.2g} "
            "from the base.",
            hint="Nothing was kept. Please report this.",
        )
    within = test.difference <= test.tolerance and test.divergence <= test.tolerance_divergence
    if not within:
        raise RunError(
            f"The export does not answer as the served model: the largest difference is {test.difference:.2g} (allowed "
            f"{test.tolerance:g}), the mean divergence {test.divergence:.2g} nats (allowed "
            f"{test.tolerance_divergence:g}).",
            hint="Nothing was kept. Choose a finer number type, or another form.",
        )


def divergence(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean KL(one || other) over places, in nats, of logits (places, vocabulary)."""
    total = 0.0
    for a, b in zip(_slices(one), _slices(other), strict=True):
        a, b = a.double().log_softmax(-1), b.double().log_softmax(-1)
        total += float((a.exp() * (a - b)).sum())
    return max(0.0, total / len(one))


def arrived(base: torch.Tensor, served: torch.Tensor, exported: torch.Tensor) -> float:
    """The share of what training changed that is in the export: the projection of (exported - base) on (served - base).

    Rounding is not in the direction of the training, so that it hardly counts, and a constant added to all logits of a
    place, which changes no probability, does not count at all.
    """
    both = squared = 0.0
    for b, s, e in zip(_slices(base), _slices(served), _slices(exported), strict=True):
        change, found = _centred(s.double() - b.double()), _centred(e.double() - b.double())
        both += float((change * found).sum())
        squared += float((change * change).sum())
    return both / squared if squared else float("nan")


def _slices(values: torch.Tensor) -> Sequence[torch.Tensor]:
    """So that doubles are made of a part at a time."""
    return list(torch.split(values, 64))


def _centred(values: torch.Tensor) -> torch.Tensor:
    return values - values.mean(dim=-1, keepdim=True)


def _largest(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def same_tokens(reference: Reference, tokenizer: Any, source: Source) -> None:
    """Raise `RunError` where the export's own tokenizer and chat template make other tokens of a chat."""
    for chat, ids in zip(chats_of(source, source.run.result_prompt()), reference.texts, strict=True):
        try:
            found = ids_of(tokenizer, chat)
        except Exception as error:  # a template can fail in any way
            raise EngineError(f"The export's chat template fails: {error}.", hint="Nothing was kept.") from error
        if found != ids:
            told = tokenizer.decode(found)[:80]
            raise RunError(
                f"The export's tokenizer reads a chat otherwise than the served model's, beginning {told!r}.",
                hint="Nothing was kept. Please report this.",
            )


def release() -> None:
    """Give back the memory of models that nobody holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
