"""Who is answering, proved: a hash of what was loaded, and how far its answers are from the base's.

Owns the hash, the probes and the refusal of what answers exactly as the base. In the embedded engine the server
compares the logits itself when it loads a model; vLLM gives the log-probabilities of its 20 likeliest first tokens,
and these are compared. Refuses to load anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from assistant.serving.endpoint import Endpoint
from assistant.serving.openai_model import OpenAIModel, with_soft_prompt
from assistant.serving.served import Identity, ServedModel
from prompts.errors import EngineError

PROBES = ("Hello", "Write one short sentence about the sea.", "Which of these is it: red, green or blue?")
_TOP = 20
_LEAST = 1e-4  # nats; what float32 rounds is below that, and what training changes far above
_NATS = "nats (20 likeliest tokens)"
Top = dict[str, float]


def digest(path: Path) -> str:
    """Twelve hex digits of a SHA-256 over the weights and the configuration in a folder."""
    files = sorted(file for pattern in ("*.safetensors", "*config.json") for file in path.glob(pattern))
    stamps = tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    return _digest(stamps)


@lru_cache(maxsize=256)
def _digest(stamps: tuple[tuple[str, int, int], ...]) -> str:
    """A file that looks as it did is not read again: a whole model may have many gigabytes."""
    found = hashlib.sha256()
    for file, _, size in stamps:
        found.update(f"{Path(file).name} {size}\n".encode())
        with Path(file).open("rb") as content:
            while piece := content.read(2**20):
                found.update(piece)
    return found.hexdigest()[:12]


def identify(
    served: ServedModel, at: Endpoint, parents: Mapping[str, str | None], base_at: Endpoint | None
) -> Identity:
    """Who answers under a name on the server `at`, whose own list of models is `parents`.

    `base_at` is the server that holds its base, None where there is none to compare with. Raises `EngineError` for
    what answers exactly as its base: it must not be called tuned.
    """
    model = at.connect(served)
    if model.name not in parents:
        raise EngineError(f"{at.title} does not list {model.name}, which it was given.", hint=at.where)
    who: dict[str, Any] = {"name": served.name, "served_as": model.name, "prompt_id": served.prompt.id}
    who["engine"] = at.title
    if served.artefact is None:
        return Identity(**who)
    # A soft prompt is with each request: the server knows its base alone.
    parent = parents[model.name] or (model.name if model.soft_prompt else "")
    apart = _apart(served, at, base_at)
    return Identity(**who, parent=parent, digest=digest(served.artefact), **apart)


def _apart(served: ServedModel, at: Endpoint, base_at: Endpoint | None) -> dict[str, Any]:
    told = at.told(served.name)
    if "difference" in told:  # the embedded engine has compared the logits, and refuses by itself
        return {"difference": told["difference"], "noise": told.get("noise"), "measured": "(largest logit)"}
    if base_at is None:
        return {}
    base = ServedModel(name=base_at.holds.base_name, base=served.base, prompt=served.prompt)
    first, again = (top_tokens(base_at.connect(base), base_at) for _ in range(2))
    difference, noise = distance(first, top_tokens(at.connect(served), at)), distance(first, again)
    if difference <= max(3 * noise, _LEAST):
        raise EngineError(
            f"{served.name} answers exactly as its base {base.name}: their log-probabilities are {difference:.2g} nats "
            f"apart, the base's own {noise:.2g} when it is asked twice.",
            hint="It is not called tuned. Did its training move anything? See its curve in Train.",
        )
    return {"difference": difference, "noise": noise, "measured": _NATS}


def top_tokens(model: OpenAIModel, at: Endpoint) -> list[Top]:
    """For each probe, the likeliest first tokens of the reply with their log-probabilities in nats."""
    return [_top(model, at, probe) for probe in PROBES]


def _top(model: OpenAIModel, at: Endpoint, probe: str) -> Top:
    chat = with_soft_prompt([{"role": "user", "content": probe}], model.soft_prompt)
    asked = {"model": model.name, "messages": chat, "max_tokens": 1, "temperature": 0, "logprobs": True}
    answer = at.ask("chat/completions", {**asked, "top_logprobs": _TOP})
    first = answer["choices"][0]["logprobs"]["content"][0]
    return {token["token"]: float(token["logprob"]) for token in first["top_logprobs"]}


def distance(one: Sequence[Top], other: Sequence[Top]) -> float:
    """The largest difference of a token's log-probability over all probes, in nats.

    A token that only one side lists is at most as likely on the other as that side's last one.
    """
    return max((_largest(a, b) for a, b in zip(one, other, strict=True)), default=0.0)


def _largest(one: Top, other: Top) -> float:
    floors = min(one.values()), min(other.values())
    return max(abs(one.get(token, floors[0]) - other.get(token, floors[1])) for token in one.keys() | other.keys())
