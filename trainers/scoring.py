"""How probable given answers are as the assistant's reply, beginnings computed once. Imports torch.

Owns log-probabilities of whole answers, with gradients where these are wanted: classification by scoring, and the loss
of `meta`. Refuses to generate (`generate`), and to know labels' meaning.

What all chats begin with is run through the model once, the rest of each chat once, and each answer on its chat's keys
and values. With one answer a chat, as in training, the rest and the answer are run together. A model with recurrent
layers, or too short a window, gets every answer whole and alone: slow, but right. A soft prompt or prefix stands before
all of it, in the cache of the base model: PEFT's own way would put it before the padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

import torch

from prompts.chat_model import Message
from prompts.errors import EngineError
from trainers.adapters import SOFT_PROMPTS

Chat = Sequence[Message]
By = Literal["sum", "mean"]
_BEFORE_CHATS = (*SOFT_PROMPTS, "PREFIX_TUNING")
_AT_ONCE = 128  # answers a batch; 128 of 100 tokens in all are 0.3 GB of keys and values for a model of 135M


@dataclass(frozen=True)
class Scored:
    """One candidate's log-probability: of the whole answer, its end token included, and of how many tokens.

    `each` are the tokens with their own.
    """

    answer: str
    sum: float
    tokens: int
    each: tuple[tuple[int, float], ...] = field(default=(), compare=False, repr=False)

    @property
    def mean(self) -> float:
        """Per token, which does not favour short answers."""
        return self.sum / self.tokens


def score(model: Any, tokenizer: Any, messages: Chat, candidates: Sequence[str]) -> list[Scored]:
    """Each candidate's log-probability as the reply to `messages`, in the candidates' order.

    Raises `EngineError` as `score_all` does.
    """
    return score_all(model, tokenizer, [messages], [candidates])[0]


def score_all(
    model: Any,
    tokenizer: Any,
    chats: Sequence[Chat],
    candidates: Sequence[Sequence[str]],
    *,
    at_once: int = _AT_ONCE,
) -> list[list[Scored]]:
    """For each chat its own candidates' log-probabilities, in order; at most `at_once` answers a batch.

    `model` is a base model or a PeftModel, whose active adapters count. Raises `EngineError` where there is nothing to
    choose from, where a chat leaves no room, and for a soft prompt on a model with recurrent layers. Raises ValueError
    where chats and candidates differ in number.
    """
    if len(chats) != len(candidates):
        raise ValueError(f"{len(chats)} chats, but candidates for {len(candidates)}")
    if not all(candidates):
        raise EngineError("There are no candidates to score.", hint="Give at least one possible answer.")
    rows = [encode(model, tokenizer, chat, given) for chat, given in zip(chats, candidates, strict=True)]
    values: list[list[torch.Tensor]] = [[] for _ in rows]
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for indices, batch in _batches(rows, at_once):
                for index, found in zip(indices, log_probs(model, batch), strict=True):
                    values[index] += found
    finally:
        model.train(was_training)
    return [
        [
            Scored(answer, float(v.sum()), len(v), tuple(zip(ids, v.tolist(), strict=True)))
            for answer, ids, v in zip(given, row.answers, found, strict=True)
        ]
        for given, row, found in zip(candidates, rows, values, strict=True)
    ]


def best(scored: Sequence[Scored], by: By = "sum") -> str:
    """The most probable answer; of equals the first."""
    return max(scored, key=lambda one: one.sum if by == "sum" else one.mean).answer


def greedy(scored: Sequence[Scored]) -> str:
    """What greedy decoding that is held to these answers says: token by token the likeliest that one of them goes on
    with, which need not lead to the likeliest answer. As the tokenizer cuts the answers; decoding may cut otherwise."""
    left, place = list(scored), 0
    while len(left) > 1:
        open_ = [one for one in left if len(one.each) > place]
        if not open_:
            break
        token = max((one.each[place] for one in open_), key=lambda pair: pair[1])[0]
        left, place = [one for one in open_ if one.each[place][0] == token], place + 1
    return left[0].answer


@dataclass(frozen=True)
class Encoded:
    """A chat's tokens up to where the reply begins, and the tokens of possible replies, each with its end token."""

    prompt: list[int]
    answers: list[list[int]]

    @property
    def longest(self) -> int:
        """The tokens of the chat with its longest answer."""
        return len(self.prompt) + max(map(len, self.answers))


def encode(model: Any, tokenizer: Any, messages: Chat, answers: Sequence[str]) -> Encoded:
    """Tokens as the chat template writes them; what stands after a reply's end token is left out.

    Raises `EngineError` where that is more than the model takes.
    """
    turns = [message.model_dump() for message in messages]
    prompt = list(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=False))
    stops = _stop_ids(model, tokenizer)
    row = Encoded(prompt, [_reply(tokenizer, turns, prompt, answer, stops) for answer in answers])
    limit = getattr(model.config, "max_position_embeddings", None) or row.longest
    if row.longest + _virtual_tokens(model) > limit:
        raise EngineError(
            f"The chat with its longest answer has {row.longest} tokens, but the model takes {limit}.",
            hint="Shorten the prompt or the answers.",
        )
    return row


def _reply(tokenizer: Any, turns: list[dict[str, str]], prompt: list[int], answer: str, stops: set[int]) -> list[int]:
    """The answer's tokens and its end token. The template says how a reply ends, where it continues the prompt."""
    closed = [*turns, {"role": "assistant", "content": answer}]
    whole = list(tokenizer.apply_chat_template(closed, tokenize=True, return_dict=False))
    if whole[: len(prompt)] != prompt:  # a template that writes an ended reply differently from one that begins
        return [*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
    ids = whole[len(prompt) :]
    end = next((place for place, token in enumerate(ids) if token in stops), None)
    return [*ids, tokenizer.eos_token_id] if end is None else ids[: end + 1]


def _stop_ids(model: Any, tokenizer: Any) -> set[int]:
    declared = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id} | ({declared} if isinstance(declared, int) else set(declared or ()))


def _soft_prompt(model: Any) -> Any:
    """The configuration of the soft prompt or prefix that counts now; None where there is none."""
    configs = getattr(model, "peft_config", {})
    active = getattr(model, "active_adapters", []) if configs else []
    return next((configs[name] for name in active if configs[name].peft_type in _BEFORE_CHATS), None)


def _virtual_tokens(model: Any) -> int:
    return getattr(_soft_prompt(model), "num_virtual_tokens", None) or 0


def _batches(rows: Sequence[Encoded], at_once: int) -> Iterator[tuple[list[int], list[Encoded]]]:
    """Rows of like length together, with their places; a row with very many answers is cut into several."""
    indices: list[int] = []
    batch: list[Encoded] = []
    for index in sorted(range(len(rows)), key=lambda i: rows[i].longest):
        row = rows[index]
        for start in range(0, len(row.answers), at_once):
            part = Encoded(row.prompt, row.answers[start : start + at_once])
            if batch and sum(len(one.answers) for one in batch) + len(part.answers) > at_once:
                yield indices, batch
                indices, batch = [], []
            indices.append(index)
            batch.append(part)
    if batch:
        yield indices, batch


def log_probs(model: Any, rows: Sequence[Encoded]) -> list[list[torch.Tensor]]:
    """Of each row's answers the log-probability of every token, float32 of shape (tokens,).

    With gradients, unless the caller switches them off. One batch.
    """
    if not _can_share(model, rows):
        if _soft_prompt(model):
            told = "A soft prompt's answers cannot be scored on a model with recurrent layers or so short a window."
            raise EngineError(told, hint="Score the base model or one with a LoRA adapter.")
        alone = _Start.before(model)
        return [[_answered(model, alone, [row.prompt], [answer])[0] for answer in row.answers] for row in rows]
    common = _common([row.prompt for row in rows])
    start = _Start.before(model)
    if _soft_prompt(model):
        model = model.get_base_model()
    start = start.fed(model, [common]).chosen([0] * len(rows))
    skip = len(common)
    if any(len(row.answers) > 1 for row in rows):
        start = start.fed(model, [row.prompt[skip:-1] for row in rows])
        start = start.chosen([i for i, row in enumerate(rows) for _ in row.answers])
        tails = [row.prompt[-1:] for row in rows for _ in row.answers]
    else:
        tails = [row.prompt[skip:] for row in rows]
    answers = list(chain.from_iterable(row.answers for row in rows))
    found = iter(_answered(model, start, tails, answers))
    return [[next(found) for _ in row.answers] for row in rows]


def _can_share(model: Any, rows: Sequence[Encoded]) -> bool:
    """Whether beginnings can be kept as keys and values, and rows padded: not with recurrent layers, nor where a
    sliding window would forget, padding included."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    fits = not window or 2 * max(row.longest for row in rows) <= window
    return fits and kinds <= {"full_attention", "sliding_attention"}


def _common(prompts: Sequence[list[int]]) -> list[int]:
    """What all prompts begin with; of each at least one token is left."""
    longest = min(map(len, prompts)) - 1
    first = prompts[0]
    for ids in prompts:
        longest = next((i for i in range(longest) if ids[i] != first[i]), longest)
    return first[:longest]


@dataclass
class _Start:
    """Rows whose beginnings are computed: their cache (None for nothing), which of its places count, row by row."""

    cache: Any
    mask: torch.Tensor

    @classmethod
    def before(cls, model: Any) -> _Start:
        """What stands before every chat, as one row: nothing, or the virtual tokens of a soft prompt or prefix."""
        soft = _soft_prompt(model)
        if soft is None:
            return cls(None, torch.zeros(1, 0, dtype=torch.long, device=model.device))
        found = model.get_prompt(batch_size=1)
        if soft.peft_type != "PREFIX_TUNING":
            base = model.get_base_model()
            embeds = found.to(base.get_input_embeddings().weight.dtype)
            found = base(inputs_embeds=embeds, use_cache=True, logits_to_keep=1).past_key_values
        return cls(found, torch.ones(1, found.get_seq_length(), dtype=torch.long, device=model.device))

    def chosen(self, rows: list[int]) -> _Start:
        """These rows of it, one as often as it is named."""
        indices = torch.tensor(rows, device=self.mask.device)
        if self.cache is not None:
            self.cache.batch_select_indices(indices)
        return _Start(self.cache, self.mask[indices])

    def fed(self, model: Any, pieces: Sequence[list[int]]) -> _Start:
        """With a further piece of each row computed."""
        if not any(pieces):
            return self
        ids, mask = _padded(pieces, model.device)
        out = model(**self.inputs(ids, mask), use_cache=True, logits_to_keep=_places(ids, 1))
        return _Start(out.past_key_values, torch.cat([self.mask, mask], dim=1))

    def inputs(self, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
        """A forward pass over further tokens: positions count what is no padding."""
        whole = torch.cat([self.mask, mask], dim=1)
        positions = (whole.cumsum(dim=1) - 1).clamp(min=0)[:, self.mask.shape[1] :]
        return {
            "input_ids": ids,
            "attention_mask": whole,
            "position_ids": positions,
            "past_key_values": self.cache,
        }


def _padded(pieces: Sequence[list[int]], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask of shape (rows, longest), padded at the left with a token that the mask hides."""
    widest = max(map(len, pieces))
    ids = torch.tensor([[0] * (widest - len(piece)) + piece for piece in pieces], device=device)
    mask = torch.tensor([[0] * (widest - len(piece)) + [1] * len(piece) for piece in pieces], device=device)
    return ids, mask


def _answered(
    model: Any, start: _Start, tails: Sequence[list[int]], answers: Sequence[list[int]]
) -> list[torch.Tensor]:
    """The log-probabilities of each answer's tokens after the start and its tail; logits for these places alone."""
    ids, mask = _padded([[*tail, *answer[:-1]] for tail, answer in zip(tails, answers, strict=True)], model.device)
    widest = max(map(len, answers))
    cached = start.cache is not None
    logits = model(**start.inputs(ids, mask), use_cache=cached, logits_to_keep=_places(ids, widest)).logits
    wanted, _ = _padded(answers, model.device)
    chosen = logits.float().log_softmax(dim=-1).gather(-1, wanted.unsqueeze(-1)).squeeze(-1)
    return [row[widest - len(answer) :] for row, answer in zip(chosen, answers, strict=True)]


def _places(ids: torch.Tensor, last: int) -> torch.Tensor:
    """So many last places, for which logits are wanted.

    Not as a number: that makes a slice, which is not contiguous, and for such torch copies the head's weights for every
    row; in bfloat16 on a CPU this took 1.8 of a training step's 3.9 s, and 2.1 of 3.2 s in scoring.
    """
    return torch.arange(ids.shape[1] - last, ids.shape[1], device=ids.device)
