"""The models of the embedded engine, and the threads that answer for them. Imports torch.

Owns lanes: base and plain LoRA adapters share one model and one batch, each request bound to its adapter by name;
whatever cannot share a batch (DoRA, soft prompts, full models) gets a model and a thread of its own, and still streams
at the same time. Owns the self-test too: what answers exactly as its base is not loaded. Refuses to know HTTP.
"""

from __future__ import annotations

import gc
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from transformers import AutoConfig, AutoModelForCausalLM

from prompts.chat_model import Message
from prompts.errors import EngineError, TunewrightError
from trainers.adapters import SOFT_PROMPTS
from trainers.generate import BASE, Request, can_share_batch, context_of, first_logits, generate
from trainers.hardware import Compute
from trainers.modeling import attach, load_base, load_tokenizer
from trainers.prefixes import Prefixes

_LOG = logging.getLogger("uvicorn.error")
_BATCH = 16
# Requests that come together, as both panes of a comparison do, should share a batch.
_GATHER_SECONDS = 0.05
# Of the largest logit. In float32, equal weights at other places in memory were 2e-7 apart, and a LoRA with a second
# matrix of 1e-5 moved 8e-6 (SmolLM2-135M).
_ROUNDING = 1e-6

Chat = Sequence[Message]
PROBES: tuple[Chat, ...] = tuple(
    [Message(role="user", content=text)]
    for text in ("Hello", "Write one short sentence about the sea.", "Is 17 a prime number? Answer yes or no.")
)
# A request, and what is called where it fails. Text and end go through the request's own callbacks.
Job = tuple[Request, Callable[[Exception], None]]


class UnknownModelError(EngineError):
    """There is no model of this name."""


class Lane:
    """One model and one thread that answers what is queued for it, batch by batch."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.context = context_of(model)
        self.lock = threading.Lock()  # adapters are added between batches, never within one
        self.prefixes = Prefixes()
        self._tokenizer = tokenizer
        self._queue: queue.Queue[Job | None] = queue.Queue()
        self._closing = threading.Lock()
        self._closed = False
        threading.Thread(target=self._work, name="lane", daemon=True).start()

    def submit(self, job: Job) -> None:
        """Queue a request. Its callbacks are called from the lane's thread."""
        with self._closing:
            if not self._closed:
                self._queue.put(job)
                return
        job[1](_unloaded())

    def first_logits(self, chats: Sequence[Chat], adapter: str) -> torch.Tensor:
        """As `generate.first_logits`, between two batches."""
        with self.lock:
            return first_logits(self.model, self._tokenizer, chats, adapter)

    def close(self) -> None:
        """Let go of the model and end the thread, once the running batch is done. What is queued gets an error."""
        with self._closing:
            self._closed = True
            self._queue.put(None)
        with self.lock:
            self.prefixes.clear()
            self.model = None
        free_memory()

    def _work(self) -> None:
        while jobs := self._gathered():
            with self.lock:
                self._answer(jobs)

    def _gathered(self) -> list[Job]:
        """The next batch, empty where the lane is closed."""
        found = self._queue.get()
        if found is None:
            return []
        jobs = [found]
        time.sleep(_GATHER_SECONDS)
        while len(jobs) < _BATCH and not self._queue.empty():
            found = self._queue.get()
            if found is None:
                self._queue.put(None)  # for the next call: this batch comes first
                break
            jobs.append(found)
        return jobs

    def _answer(self, jobs: list[Job]) -> None:
        error: Exception = EngineError("The reply was cut off.", hint="Ask again.")
        jobs = [job for job in jobs if not job[0].cancelled()]
        if not jobs:
            return
        try:
            if self.model is None:
                raise _unloaded()
            generate(self.model, self._tokenizer, [request for request, _ in jobs], prefixes=self.prefixes)
        except Exception as caught:
            error = caught
            if len(jobs) > 1 and not any(request.tokens for request, _ in jobs):
                for job in jobs:  # one request's fault must not be the others'
                    self._answer([job])
                return
            if not isinstance(error, TunewrightError):
                _LOG.error("A batch of %d failed", len(jobs), exc_info=error)
        for request, on_error in jobs:
            if not request.finish_reason:  # the others have ended already, each when it was done
                on_error(error)


@dataclass(frozen=True)
class Proof:
    """That a model is not its base: the largest difference of a first logit over all probes, and the same of the base
    with itself, asked twice."""

    difference: float
    noise: float


@dataclass(frozen=True)
class Served:
    """A model that is there: who answers for it, and what it is. The base has no parent and no proof."""

    lane: Lane
    adapter: str
    root: Path
    created: int
    parent: str | None = None
    proof: Proof | None = None


class Server:
    """The models that are there, by name, and the lane that answers for each."""

    def __init__(self, folder: Path, name: str, compute: Compute) -> None:
        self._folder, self._compute = folder, compute
        self.base_name = name
        self.tokenizer = load_tokenizer(folder)
        self._shared = Lane(load_base(folder, compute), self.tokenizer)
        self._models = {name: Served(self._shared, BASE, folder, int(time.time()))}
        self._changing = threading.Lock()
        self._numbers = itertools.count(1)

    def models(self) -> dict[str, Served]:
        """What is there now, the base first."""
        return dict(self._models)

    def lane(self, name: str) -> tuple[Lane, str]:
        """The lane and the adapter name within it. Raises `UnknownModelError`."""
        try:
            served = self._models[name]
        except KeyError:
            raise UnknownModelError(f"There is no model named {name} here.", hint="Load it first.") from None
        return served.lane, served.adapter

    def load(self, name: str, path: Path, probes: Sequence[Chat] = ()) -> Proof:
        """Add an adapter or a full model under a name, and say how far it is from the base on the probes (default: our
        own).

        Raises `EngineError` where it is no such thing, and where it answers exactly as the base. Nothing of it is then
        left.
        """
        with self._changing:
            if name in self._models:
                raise EngineError(f"A model named {name} is loaded already.", hint="Unload it first.")
            try:
                served = self._proven(name, path, list(probes) or PROBES)
            except TunewrightError:
                raise
            except Exception as error:
                _LOG.error("Loading %s failed", path, exc_info=error)
                reason = " ".join(str(error).split())[:300]
                raise EngineError(f"{path} cannot be loaded: {reason}", hint="Was it made for this base?") from error
            self._models[name] = served
        assert served.proof is not None
        return served.proof

    def _proven(self, name: str, path: Path, probes: Sequence[Chat]) -> Served:
        base = self._shared.first_logits(probes, BASE)
        lane, adapter = self._load(path)
        try:
            again, own = self._shared.first_logits(probes, BASE), lane.first_logits(probes, adapter)
            proof = Proof(difference=_distance(base, own), noise=_distance(base, again))
            self._check(name, proof, len(probes), float(base.abs().max()))
        except BaseException:
            self._drop(lane, adapter)
            raise
        return Served(lane, adapter, path, int(time.time()), self.base_name, proof)

    def _check(self, name: str, proof: Proof, probes: int, largest: float) -> None:
        if not isfinite(proof.difference):
            raise EngineError(f"{name} answers with no numbers: it is not loaded.", hint="Did its training diverge?")
        if proof.difference <= max(3 * proof.noise, _ROUNDING * largest):
            raise EngineError(
                f"{name} answers exactly as the base {self.base_name}: on {probes} probes no logit differs by more "
                f"than {proof.difference:.2g}, and the base's own by {proof.noise:.2g} when it is asked twice. It is "
                "not loaded.",
                hint="Was the run trained?",
            )

    def _load(self, path: Path) -> tuple[Lane, str]:
        if (path / "adapter_config.json").is_file():
            return self._load_adapter(path)
        if (path / "config.json").is_file():
            return Lane(load_base(path, self._compute), load_tokenizer(path)), BASE
        raise EngineError(f"{path} holds neither an adapter nor a model.", hint="Was the run finished?")

    def _load_adapter(self, path: Path) -> tuple[Lane, str]:
        # Not the served name: PEFT builds module names of it, and those may hold no dot.
        adapter = f"adapter{next(self._numbers):04}"
        config = PeftConfig.from_pretrained(path)
        if not can_share_batch(config):
            _check_width(config, self._shared.model.config)
            return Lane(attach(load_base(self._folder, self._compute), path, adapter), self.tokenizer), adapter
        # An adapter that does not fit fails half way in and leaves its base changed. So it is first put on a skeleton.
        attach(_skeleton(self._folder), path, adapter)
        with self._shared.lock:
            self._shared.prefixes.clear()
            self._shared.model = attach(self._shared.model, path, adapter)
        return self._shared, adapter

    def unload(self, name: str) -> None:
        """Forget a model and free its memory. Raises `EngineError` for an unknown one and for the base."""
        with self._changing:
            if name == self.base_name:
                raise EngineError(f"{name} is the base model.", hint="Stop the engine instead.")
            lane, adapter = self.lane(name)
            del self._models[name]
            self._drop(lane, adapter)

    def _drop(self, lane: Lane, adapter: str) -> None:
        if lane is not self._shared:
            lane.close()
            return
        with lane.lock:
            lane.prefixes.clear()
            lane.model = _without(lane.model, adapter)
        free_memory()


def _unloaded() -> EngineError:
    return EngineError("This model was unloaded.", hint="Load it again.")


def free_memory() -> None:
    """Give back what is no longer used. PEFT's models hold themselves in circles, which only this ends at once."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference of a logit. A full model may have more tokens than its base: those are left out."""
    width = min(one.shape[1], other.shape[1])
    return float((one[:, :width] - other[:, :width]).abs().max())


def _skeleton(folder: Path) -> Any:
    """The base model without weights: it takes no memory, and its shapes say whether an adapter fits."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))


def _check_width(config: Any, base: Any) -> None:
    """A soft prompt of another width would only fail when it is asked."""
    width = config.token_dim if config.peft_type in SOFT_PROMPTS else None
    if width and width != base.get_text_config().hidden_size:
        raise EngineError(
            f"The soft prompt is {width} wide and this base model {base.get_text_config().hidden_size}.",
            hint="Use the base it was made for.",
        )


def _without(model: Any, adapter: str) -> Any:
    """The shared model without one adapter; without its last one, the untouched base."""
    if len(model.peft_config) == 1:
        return model.unload()
    other = next(name for name in model.peft_config if name != adapter)
    model.set_adapter(other, inference_mode=True)  # rows name their adapters, but PEFT warns when the active one goes
    model.delete_adapter(adapter)
    return model
