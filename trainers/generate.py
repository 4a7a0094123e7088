"""Generating several replies in one batch, each row bound to its own adapter by name. Imports torch.

Owns batched decoding with per-row adapter, length, streaming and stopping. Which token a row takes is `drawing`, how
likely it was `logprobs`, where its text ends `stopping`. Refuses to know HTTP, queues and metrics: the embedded engine
and the evaluation both stand on this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from tokenizers.decoders import DecodeStream
from transformers import StoppingCriteria

from prompts.chat_model import Message, Sampling
from prompts.errors import EngineError
from trainers.adapters import SOFT_PROMPTS
from trainers.constrain import Constraint, Constraints
from trainers.drawing import Drawn, Permitted
from trainers.logprobs import Logprobs, TokenLogprob
from trainers.prefixes import Prefixes
from trainers.stopping import UpToStop

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
    called when this row is done, which may be long before the batch is.

    `open_ended` lets the reply take all that the context leaves, whatever `sampling` says. `top_logprobs` asks for the
    log-probability of each token and of so many of the likeliest; None asks for none. What is found: `prompt_tokens`
    counts an adapter's virtual tokens too; `tokens` counts the end token and those of a stop text; `stopped_by` is the
    stop text; `logprobs` has one entry for each token.
    """

    messages: Sequence[Message]
    sampling: Sampling
    adapter: str = BASE
    on_text: Callable[[str], None] = lambda text: None
    cancelled: Callable[[], bool] = lambda: False
    on_end: Callable[[], None] = lambda: None
    open_ended: bool = False
    top_logprobs: int | None = None
    text: str = field(default="", init=False)
    tokens: int = field(default=0, init=False)
    prompt_tokens: int = field(default=0, init=False)
    most_tokens: int = field(default=0, init=False)
    finish_reason: str = field(default="", init=False)
    stopped_by: str = field(default="", init=False)
    logprobs: list[TokenLogprob] = field(default_factory=list, init=False)


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
    encoded = [_encode(tokenizer, request.messages) for request in requests]
    _measure(model, requests, encoded, max_context)
    stops = _stop_ids(model, tokenizer)
    constraints = _constraints(model, tokenizer, requests, stops)
    asked = {row: r.top_logprobs for row, r in enumerate(requests) if r.top_logprobs is not None}
    logprobs = Logprobs(asked, tokenizer) if asked else None
    rows = _Rows(requests, tokenizer, stops, constraints, logprobs)
    processors = [Permitted(constraints, rows.is_done), Drawn([request.sampling for request in requests], rows.is_done)]
    _speak(
        model,
        tokenizer,
        encoded,
        [request.adapter for request in requests],
        Prefixes() if prefixes is None else prefixes,
        max_new_tokens=max(request.most_tokens for request in requests),
        logits_processor=[logprobs, *processors] if logprobs else processors,
        stopping_criteria=[rows],
    )


def first_logits(model: Any, tokenizer: Any, chats: Sequence[Sequence[Message]], adapter: str = BASE) -> torch.Tensor:
    """What the model would begin its replies with: the logits of the first token, float32, (chats, vocabulary), on CPU.

    All chats are one batch, asked in the same way as by `generate`. Raises `EngineError` as that does.
    """
    requests = [Request(chat, Sampling(max_tokens=1), adapter) for chat in chats]
    encoded = [_encode(tokenizer, chat) for chat in chats]
    _measure(model, requests, encoded, None)
    adapters = [adapter] * len(chats)
    how = {"max_new_tokens": 1, "output_logits": True, "return_dict_in_generate": True}
    logits: torch.Tensor = _speak(model, tokenizer, encoded, adapters, Prefixes(), **how).logits[0]
    return logits.cpu()


def context_of(model: Any) -> int:
    """How many tokens the model takes in all, prompt and reply."""
    return int(model.config.get_text_config().max_position_embeddings)


def _measure(model: Any, requests: Sequence[Request], encoded: list[list[int]], max_context: int | None) -> None:
    """Count each prompt and say how long its reply may be. Raises `EngineError` where that is more than there is."""
    limit = max_context or context_of(model)
    for request, ids in zip(requests, encoded, strict=True):
        config = getattr(model, "peft_config", {}).get(request.adapter)
        request.prompt_tokens = len(ids) + (getattr(config, "num_virtual_tokens", None) or 0)
        room = limit - request.prompt_tokens
        request.most_tokens = max(1, room) if request.open_ended else request.sampling.max_tokens
        if request.most_tokens > room:
            raise EngineError(
                f"The prompt has {request.prompt_tokens} tokens and the reply may have {request.most_tokens}, "
                f"but the model takes {limit} in all.",
                hint="Shorten the prompt or the reply.",
            )


def _speak(
    model: Any, tokenizer: Any, encoded: list[list[int]], adapters: list[str], prefixes: Prefixes, **how: Any
) -> Any:
    """The library's own generation: the best token of each step, after the processors in `how`."""
    named = _bind(model, adapters)
    model.eval()  # a mixed batch of adapters is only allowed in eval mode
    with torch.inference_mode():
        speaker, batch = _inputs(model, tokenizer, encoded, adapters[0])
        if speaker is model and len(set(adapters)) == 1:
            batch |= _shared(prefixes, model, tokenizer, encoded, adapters[0], named)
        return speaker.generate(
            **batch,
            **named,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            repetition_penalty=1.0,  # some models' own files say otherwise; greedy means greedy, on both engines
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=None,  # rows end in the stopping criterion, which also knows each row's own limit
            **how,
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
    if kind in SOFT_PROMPTS:
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
        logprobs: Logprobs | None,
    ) -> None:
        self._requests = requests
        self._stop_ids = stop_ids
        self._constraints = constraints
        self._logprobs = logprobs
        self._tokenizer = tokenizer.backend_tokenizer
        self._decoders = [DecodeStream(skip_special_tokens=True) for _ in requests]
        self._texts = [UpToStop(request.sampling.stop) for request in requests]

    def is_done(self, index: int) -> bool:
        return bool(self._requests[index].finish_reason)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        for index, token in enumerate(input_ids[:, -1].tolist()):
            if not self.is_done(index):
                self._take(index, token)
                if self.is_done(index):
                    self._requests[index].on_end()
        return torch.tensor([self.is_done(index) for index in range(len(self._requests))], device=input_ids.device)

    def _take(self, index: int, token: int) -> None:
        request = self._requests[index]
        if request.cancelled():
            request.finish_reason = "cancelled"
            return
        request.tokens += 1
        if self._logprobs and (found := self._logprobs.of(index, token)):
            request.logprobs.append(found)
        reason = self._go_on(index, token)
        if reason and not request.stopped_by:
            self._say(request, self._texts[index].rest())
        request.finish_reason = reason

    def _go_on(self, index: int, token: int) -> str:
        """Take the token into the text. Returns why the row ends with it, "" where it does not."""
        request, text, constraint = self._requests[index], self._texts[index], self._constraints[index]
        if token in self._stop_ids:
            return "stop"
        self._say(request, text.take(self._decoders[index].step(self._tokenizer, token) or ""))
        if text.found:
            request.stopped_by = text.found
            return "stop"
        if constraint:
            constraint.take(token)
            if constraint.complete:
                return "stop"
        return "length" if request.tokens >= request.most_tokens else ""

    @staticmethod
    def _say(request: Request, piece: str) -> None:
        if piece:
            request.text += piece
            request.on_text(piece)
