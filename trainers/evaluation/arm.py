"""A model that is examined: the untouched base or the result, loaded from what was saved. Imports torch.

Owns asking it: answers in batches, log-likelihoods of plain texts and of candidate answers. A request that fails or
runs out of time is an answer with its reason, never dropped. Refuses to score and to judge.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from prompts.chat_model import Message, Sampling
from prompts.errors import EngineError
from prompts.versions import PromptVersion
from trainers.generate import BASE, Request, generate
from trainers.hardware import Compute
from trainers.memory import ran_out
from trainers.modeling import attach, load_base, load_tokenizer
from trainers.plan import EvaluationPlan
from trainers.prefixes import Prefixes
from trainers.scoring import Scored, score_all

ArmName = Literal["base", "tuned"]
OnProgress = Callable[[float], None]
Chat = Sequence[Message]
_TUNED = "tuned"
_TEXTS_AT_ONCE = 16


@dataclass(frozen=True)
class Answer:
    """What was said, and why there is nothing where it failed."""

    text: str
    failed: str = ""


@dataclass(frozen=True)
class Likelihood:
    """A text's log-probability in nats, of its tokens after the first, and how many these are."""

    sum: float
    tokens: int


@dataclass(frozen=True)
class Recalled:
    """How a text is gone on with: the tokens of its known continuation, how many of them come first and as they are
    there, and these as text."""

    tokens: int
    recalled: int
    text: str


@dataclass
class Arm:
    """One loaded model and the prompt that it is asked with."""

    name: ArmName
    model: Any
    tokenizer: Any
    prompt: PromptVersion
    how: EvaluationPlan
    adapter: str = BASE
    _prefixes: Prefixes = field(default_factory=Prefixes)

    def answer(
        self,
        inputs: Sequence[str],
        *,
        prompt: PromptVersion | None = None,
        on_progress: OnProgress = lambda fraction: None,
    ) -> list[Answer]:
        """Greedy answers to inputs of the task, each with the arm's own prompt or the one that is given."""
        asked = prompt or self.prompt
        sampling = asked.sampling(self.how.max_new_tokens)
        return self.reply([asked.messages(text) for text in inputs], sampling, on_progress=on_progress)

    def reply(
        self, chats: Sequence[Chat], sampling: Sampling, *, on_progress: OnProgress = lambda fraction: None
    ) -> list[Answer]:
        """Replies in the order of `chats`. Those of similar length share a batch, so little is padded."""
        lengths = [sum(len(message.content) for message in chat) for chat in chats]
        by_length = sorted(range(len(chats)), key=lengths.__getitem__)
        size, found = self.how.batch_size, dict[int, Answer]()
        for start in range(0, len(by_length), size):
            indices = by_length[start : start + size]
            found |= zip(indices, self._batch([chats[i] for i in indices], sampling), strict=True)
            on_progress(min(1.0, (start + size) / len(by_length)))
        return [found[i] for i in range(len(chats))]

    def _batch(self, chats: Sequence[Chat], sampling: Sampling) -> list[Answer]:
        """One batch; where that fails, each alone, so that one bad row costs no other its answer."""
        end = time.monotonic() + self.how.row_seconds * len(chats)
        requests = [Request(chat, sampling, self.adapter, cancelled=lambda: time.monotonic() > end) for chat in chats]
        try:
            generate(self.model, self.tokenizer, requests, prefixes=self._prefixes)
        except Exception as error:  # whatever a row makes the libraries raise, it is that row's failure
            if not isinstance(error, EngineError) and ran_out(error) and len(chats) == 1:
                raise
            if len(chats) == 1:
                told = error.message if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
                return [Answer("", told)]
            return [self._batch([chat], sampling)[0] for chat in chats]
        late = f"no answer within {self.how.row_seconds:g} s"
        return [Answer(r.text, late if r.finish_reason == "cancelled" else "") for r in requests]

    def choose(self, chats: Sequence[Chat], candidates: Sequence[Sequence[str]]) -> list[list[Scored]]:
        """The log-probability of each candidate as the reply to its chat. Raises `EngineError` as `score_all` does."""
        return score_all(self.model, self.tokenizer, chats, candidates)

    def likelihoods(self, texts: Sequence[str], *, on_progress: OnProgress = lambda fraction: None) -> list[Likelihood]:
        """How probable plain texts are, without chat template: each token after what stands before it in its text.

        The text's first token is predicted from the tokenizer's begin token where it has one, else left out, and the
        same for both arms. Texts of more than the model's context are cut. Soft prompts count: they stand before it.
        """
        found: list[Likelihood] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            found += self._likelihoods(texts[start : start + _TEXTS_AT_ONCE])
            on_progress(min(1.0, (start + _TEXTS_AT_ONCE) / len(texts)))
        return found

    def _likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        rows = [(self._begin + self._encoded(text))[: self._most_tokens] for text in texts]
        logits, ids = self._logits(rows)
        logs = logits[:, :-1].float().log_softmax(dim=-1).gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1)
        return [
            Likelihood(float(line[: len(row) - 1].sum()), max(0, len(row) - 1))
            for line, row in zip(logs, rows, strict=True)
        ]

    def recall(
        self,
        texts: Sequence[tuple[str, str]],
        most: int = 50,
        *,
        on_progress: OnProgress = lambda fraction: None,
    ) -> list[Recalled]:
        """How far each text would be gone on with as it is known to go on, word for word, up to `most` tokens.

        `texts` are pairs of beginning and continuation, with the marks of the chat template where they stand in a chat;
        where they meet, a word ends. What comes is greedy: the likeliest token is the text's own at every place, given
        all before it. So one pass over the whole text tells as much as generating from its beginning.
        """
        found: list[Recalled] = []
        for beginning, continuation in texts:
            ids, start = self._parted(beginning, continuation)
            end = min(len(ids), start + most)
            keep = max(0, end - self._most_tokens)  # of what is too long the beginning is cut
            logits, _ = self._logits([ids[keep:end]])
            likeliest = logits[0, :-1].argmax(dim=-1).tolist()
            right = [one == other for one, other in zip(likeliest, ids[keep + 1 : end], strict=True)][
                start - keep - 1 :
            ]
            count = right.index(False) if False in right else len(right)
            found.append(Recalled(len(right), count, self.tokenizer.decode(ids[start : start + count])))
            on_progress(len(found) / len(texts))
        return found

    def _parted(self, beginning: str, continuation: str) -> tuple[list[int], int]:
        """The tokens of the whole, and where the continuation begins. Not its own tokens: some tokenizers put a space
        before every text."""
        ids, first = self._encoded(beginning + continuation), self._encoded(beginning)
        same = next((i for i, (a, b) in enumerate(zip(ids, first, strict=False)) if a != b), min(len(ids), len(first)))
        return ids, max(1, same)

    def _encoded(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    @property
    def _begin(self) -> list[int]:
        return [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]

    @property
    def _most_tokens(self) -> int:
        return int(self.model.config.get_text_config().max_position_embeddings) - 256

    def _logits(self, rows: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of shape (rows, longest, vocabulary), and the tokens, of shape (rows, longest)."""
        widest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        device = self.model.device
        ids = torch.tensor([row + [pad] * (widest - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (widest - len(row)) for row in rows], device=device)
        self.model.eval()
        with torch.inference_mode():
            # Padding stands at the right, so that no token sees it and positions count by themselves; a soft prompt's
            # virtual tokens come first, hence the last places. PEFT takes no cache with a prefix here.
            return self.model(input_ids=ids, attention_mask=mask).logits[:, -widest:], ids


def base_arm(folder: Path, prompt: PromptVersion, how: EvaluationPlan, compute: Compute, **options: Any) -> Arm:
    """The untouched base. `options` go to loading, as `trust_remote_code`. Raises `ModelError`."""
    tokenizer = load_tokenizer(folder, **options)
    return Arm("base", load_base(folder, compute, **options), tokenizer, prompt, how)


def tuned_arm(base: Arm, artefact: Path | None, prompt: PromptVersion, compute: Compute) -> Arm:
    """The result: the base's model with the adapter on it, a whole model in its place, or the base with this prompt.

    `base` cannot be asked any more where an artefact is put on its model: one model is held at a time.
    """
    if artefact is None:
        return Arm("tuned", base.model, base.tokenizer, prompt, base.how)
    if (artefact / "adapter_config.json").is_file():
        model = attach(base.model, artefact, _TUNED)
        return Arm("tuned", model, base.tokenizer, prompt, base.how, _TUNED)
    base.model = None
    return Arm("tuned", load_base(artefact, compute), base.tokenizer, prompt, base.how)
