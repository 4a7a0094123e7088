"""Generating several replies in one batch, each row bound to its own adapter by name. Imports torch.

Owns batched decoding with per-row adapter, length, sampling, constraint, streaming and stopping. Refuses to know HTTP,
queues and metrics: the embedded engine and the evaluation both stand on this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from tokenizers.decoders import DecodeStream
from transformers import LogitsProcessor, StoppingCriteria, TemperatureLogitsWarper, TopPLogitsWarper

from prompts.chat_model import Message, Sampling
from prompts.errors import EngineError
from trainers.constrain import Constraint, Constraints
from trainers.prefixes import Prefixes

BASE = "__base__"  # PEFT's name for "no adapter" in a mixed batch
_FACTORY = "_tunewright_constraints"
# Other inits (PiSSA, OLoRA, LoftQ ...) change the base's weights when the adapter is put on.
_HARMLESS_INITS = (True, False, "gaussian", "eva", "orthogonal")
# LoRA's variants that a mixed batch refuses or, as modules_to_save behind another adapter, leaves out without a word.
_EXTRAS = (
    "use_dora",
    "modules_to_save",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
    "lora_bias",
    "alora_invocation_tokens",
    "arrow_config",
    "use_qalora",
    "use_bdlora",
    "velora_config",
    "kasa_config",
    "monteclora_config",
)


@dataclass
class Request:
    """One reply to be generated. `on_text` gets each new piece; `cancelled` is asked before each token; `on_end` is
    called when this row is done, which may be long before the batch is."""

    messages: Sequence[Message]
    sampling: Sampling
    adapter: str = BASE
    on_text: Callable[[str], None] = lambda text: None
    cancelled: Callable[[], bool] = lambda: False
    on_end: Callable[[], None] = lambda: None
    text: str = field(default="", init=False)
    tokens: int = field(default=0, init=False)
    finish_reason: str = field(default="", init=False)


def generate(
    model: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    *,
    max_context: int | None = None,
    prefixes: Prefixes | None = None,
) -> None:
    """Fill `text`, `tokens` and `finish_reason` of each request, all in one batch.

    `model` is a base model (then every adapter must be BASE) or a PeftModel that holds the named adapters. `prefixes`
    keeps what rows begin with from batch to batch. Raises `EngineError` where a prompt does not fit `max_context`
    tokens (default: the model's own limit).
    """
    limit = max_context or model.config.max_position_embeddings
    encoded = [_encode(tokenizer, request.messages) for request in requests]
    for request, ids in zip(requests, encoded, strict=True):
        if len(ids) + request.sampling.max_tokens > limit:
            raise EngineError(
                f"The prompt has {len(ids)} tokens and the reply may have {request.sampling.max_tokens}, "
                f"but the model takes {limit} in all.",
                hint="Shorten the prompt or the reply.",
            )
    stops = _stop_ids(model, tokenizer)
    constraints = _constraints(model, tokenizer, requests, stops)
    rows = _Rows(requests, tokenizer, stops, constraints)
    named = _bind(model, [request.adapter for request in requests])
    model.eval()  # a mixed batch of adapters is only allowed in eval mode
    with torch.inference_mode():
        speaker, batch = _inputs(model, tokenizer, encoded, requests[0].adapter)
        if speaker is model and len({request.adapter for request in requests}) == 1:
            batch |= _shared(
                Prefixes() if prefixes is None else prefixes, model, tokenizer, encoded, requests[0].adapter, named
            )
        speaker.generate(
            **batch,
            **named,
            max_new_tokens=max(request.sampling.max_tokens for request in requests),
            **_drawing(requests),
            repetition_penalty=1.0,  # some models' own files say otherwise; greedy means greedy, on both engines
            logits_processor=[_Permitted(requests, constraints), _PerRowSampling(requests)],
            stopping_criteria=[rows],
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=None,  # rows end in the stopping criterion, which also knows each row's own limit
        )


def _inputs(model: Any, tokenizer: Any, encoded: list[list[int]], adapter: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """Who generates, and from what.

    With a soft prompt that is the base model, from embeddings, and with a prefix from a cache. PEFT's own way puts the
    soft prompt before the padding, so that a short row's answer depends on its neighbours (and on Transformers 5.24
    repeats it at every token).
    """
    kind = getattr(getattr(model, "peft_config", {}).get(adapter), "peft_type", None)
    if kind == "PREFIX_TUNING":
        return model.get_base_model(), _after_prefix(model, tokenizer, encoded)
    if kind in ("PROMPT_TUNING", "P_TUNING"):
        return model.get_base_model(), _after_soft_prompt(model, encoded)
    batch = tokenizer.pad({"input_ids": encoded}, padding_side="left", return_tensors="pt")
    return model, dict(batch.to(model.device))


def _after_soft_prompt(model: Any, encoded: list[list[int]]) -> dict[str, torch.Tensor]:
    base, soft = model.get_base_model(), model.get_prompt(batch_size=1)[0]
    embed = base.get_input_embeddings()
    rows = [torch.cat([soft.to(embed.weight.dtype), embed(torch.tensor(ids, device=soft.device))]) for ids in encoded]
    widest = max(len(row) for row in rows)
    embeds = torch.stack([torch.nn.functional.pad(row, (0, 0, widest - len(row), 0)) for row in rows])
    start = torch.tensor([[widest - len(row)] for row in rows], device=embeds.device)
    return {"inputs_embeds": embeds, "attention_mask": (torch.arange(widest, device=embeds.device) >= start).long()}


def _after_prefix(model: Any, tokenizer: Any, encoded: list[list[int]]) -> dict[str, Any]:
    """The prefix as a cache that is there already; `generate` counts its places by tokens, which nobody reads."""
    cache = model.get_prompt(batch_size=len(encoded))
    return _after(cache, [tokenizer.pad_token_id] * cache.get_seq_length(), tokenizer, encoded, model.device)


def _after(cache: Any, start: list[int], tokenizer: Any, encoded: list[list[int]], device: Any) -> dict[str, Any]:
    """Inputs that go on after a cache of the tokens `start`; padding then stands between that and the rest."""
    rest = tokenizer.pad({"input_ids": encoded}, padding_side="left", return_tensors="pt")
    before = torch.tensor([start] * len(encoded))
    return {
        "input_ids": torch.cat([before, rest["input_ids"]], dim=1).to(device),
        "attention_mask": torch.cat([torch.ones_like(before), rest["attention_mask"]], dim=1).to(device),
        "past_key_values": cache,
    }


def _shared(
    prefixes: Prefixes, model: Any, tokenizer: Any, encoded: list[list[int]], adapter: str, named: dict[str, list[str]]
) -> dict[str, Any]:
    """The inputs with what the rows have in common computed already."""
    length, cache = prefixes.shared(model, encoded, adapter, named)
    if not length:
        return {}
    return _after(cache, encoded[0][:length], tokenizer, [ids[length:] for ids in encoded], model.device)


def _constraints(model: Any, tokenizer: Any, requests: Sequence[Request], stops: set[int]) -> list[Constraint | None]:
    """What holds each row, None where nothing does."""
    if not any(request.sampling.allowed for request in requests):
        return [None] * len(requests)
    factory = getattr(tokenizer, _FACTORY, None)  # made once for a tokenizer: it takes up to a second
    if factory is None:
        factory = Constraints(tokenizer, model.get_output_embeddings().weight.shape[0], stops)
        setattr(tokenizer, _FACTORY, factory)
    return [factory.of(allowed) if (allowed := request.sampling.allowed) else None for request in requests]


def _drawing(requests: Sequence[Request]) -> dict[str, Any]:
    """Greedy, or sampling with the library's own global filters off: each row brings its own."""
    if all(request.sampling.temperature == 0 for request in requests):
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}


def _bind(model: Any, adapters: list[str]) -> dict[str, list[str]]:
    """The argument that binds each row to its adapter. Raises `EngineError` rather than let a row be answered by
    something else than it asked for."""
    configs = getattr(model, "peft_config", {})
    if configs and all(can_share_batch(config) for config in configs.values()):
        held, argument = {BASE, *configs}, {"adapter_names": adapters}
    else:  # DoRA, soft prompts and the like answer for the whole batch; a plain model only as itself
        held, argument = set(configs) if configs and _switched_on(model) else {BASE}, {}
    strangers = set(adapters) - held
    if strangers or (not argument and len(held) > 1):
        raise EngineError(f"This model cannot answer as {', '.join(sorted(strangers or held))}.", hint="Load it first.")
    return argument


def _switched_on(model: Any) -> bool:
    """Whether the adapters count, that is, whether no `disable_adapter()` is in force."""
    return not any(module.disable_adapters for module in model.modules() if isinstance(module, BaseTunerLayer))


def can_share_batch(config: Any) -> bool:
    """Whether PEFT can mix this adapter with others, and with none, in one batch, and leaves the base as it is."""
    return (
        config.peft_type == "LORA"  # not a test of the ending: ADALORA, RANDLORA and others cannot
        and config.bias == "none"
        and config.init_lora_weights in _HARMLESS_INITS
        and not any(getattr(config, extra, None) for extra in _EXTRAS)
    )


def _encode(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    turns = [message.model_dump() for message in messages]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=False)
    return list(ids)


def _stop_ids(model: Any, tokenizer: Any) -> set[int]:
    declared = model.generation_config.eos_token_id
    ids = {declared} if isinstance(declared, int) else set(declared or ())
    return ids | {tokenizer.eos_token_id}


class _Rows(StoppingCriteria):
    """Streams each row's new token, and says which rows are done. Called by `generate` after every step."""

    def __init__(
        self,
        requests: Sequence[Request],
        tokenizer: Any,
        stop_ids: set[int],
        constraints: Sequence[Constraint | None],
    ) -> None:
        self._requests = requests
        self._stop_ids = stop_ids
        self._constraints = constraints
        self._tokenizer = tokenizer.backend_tokenizer
        self._decoders = [DecodeStream(skip_special_tokens=True) for _ in requests]

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        for index, token in enumerate(input_ids[:, -1].tolist()):
            if not self._requests[index].finish_reason:
                self._take(index, token)
                if self._requests[index].finish_reason:
                    self._requests[index].on_end()
        done = [bool(request.finish_reason) for request in self._requests]
        return torch.tensor(done, device=input_ids.device)

    def _take(self, index: int, token: int) -> None:
        request = self._requests[index]
        if request.cancelled():
            request.finish_reason = "cancelled"
            return
        request.tokens += 1
        if token in self._stop_ids:
            request.finish_reason = "stop"
            return
        piece = self._decoders[index].step(self._tokenizer, token)
        if piece:
            request.text += piece
            request.on_text(piece)
        constraint = self._constraints[index]
        if constraint:
            constraint.take(token)
        if constraint and constraint.complete:
            request.finish_reason = "stop"
        elif request.tokens >= request.sampling.max_tokens:
            request.finish_reason = "length"


class _Permitted(LogitsProcessor):
    """Leaves each row that is held to something the tokens that it may go on with."""

    def __init__(self, requests: Sequence[Request], constraints: Sequence[Constraint | None]) -> None:
        self._requests, self._constraints = requests, constraints

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        held = [i for i, c in enumerate(self._constraints) if c and not self._requests[i].finish_reason]
        if not held:
            return scores
        scores = scores.clone()
        for index in held:
            constraint = self._constraints[index]
            assert constraint is not None
            permitted = torch.from_numpy(constraint.permitted()[: scores.shape[1]]).to(scores.device)
            scores[index, : len(permitted)].masked_fill_(~permitted, -torch.inf)
            scores[index, len(permitted) :] = -torch.inf
        return scores


class _PerRowSampling(LogitsProcessor):
    """Each row's own temperature and top-p. A greedy row keeps only its best token, so sampling must take it."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._rows = [request.sampling for request in requests]
        self._mixed = any(row.temperature > 0 for row in self._rows)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if not self._mixed:
            return scores
        rows = [self._one(row, input_ids[i : i + 1], scores[i : i + 1]) for i, row in enumerate(self._rows)]
        return torch.cat(rows)

    def _one(self, row: Sampling, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if row.temperature == 0:
            best = scores.argmax(dim=-1, keepdim=True)
            return torch.full_like(scores, -torch.inf).scatter(-1, best, scores.gather(-1, best))
        scores = TemperatureLogitsWarper(row.temperature)(ids, scores)
        return TopPLogitsWarper(row.top_p)(ids, scores) if row.top_p < 1 else scores
