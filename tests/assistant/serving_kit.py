"""What the tests of both engines share: adapters of every kind, and what Transformers and PEFT answer with them.

The references are made with the libraries' plainest calls, one prompt at a time, and know nothing of our own code.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.serving.engine import Engine
from assistant.serving.openai_model import OpenAIModel
from assistant.serving.served import ServedModel
from prompts.allowed import Allowed, allowed_for
from prompts.chat_model import ChatModel, Message, Reply, Sampling, complete
from prompts.versions import PromptVersion
from tests.tiny import build_tiny_model
from trainers.hardware import Compute
from trainers.models import LocalModel

COMPUTE = Compute(device="cpu", dtype="float32", reason="tests", gflops=1)
SHORT = Sampling(max_tokens=24)
PROMPT = PromptVersion()
TEN = (
    "hello", "label this", "the ticket is about billing and returns", "x", "one two three four five",
    "where is my parcel", "the screen stays black after the update", "refund please", "Guten Tag", "why?",
)  # fmt: skip


# For tests of one engine, which asks nothing of a model's base.
TINY = LocalModel(ref="tiny", kind="folder", name="tiny", folder=Path("tiny"))


@dataclass(frozen=True)
class Shelf:
    """Folders: a base model, adapters on it by kind, and adapters that do not belong to it."""

    base: Path
    root: Path

    def __getitem__(self, kind: str) -> Path:
        return self.root / kind

    @property
    def local(self) -> LocalModel:
        return LocalModel(ref=str(self.base), kind="folder", name="tiny", folder=self.base)


def build_shelf(base: Path, root: Path) -> Shelf:
    """Random adapters: not trained, but different enough from the base to answer otherwise."""
    from peft import PromptTuningConfig
    from transformers import LlamaConfig

    lora: dict[str, Any] = {"r": 8, "target_modules": "all-linear"}
    config = LlamaConfig.from_pretrained(base)
    _save(config, base, root / "lora", _lora(**lora), seed=1)
    _save(config, base, root / "lora2", _lora(**lora, use_rslora=True), seed=2)
    _save(config, base, root / "lora3", _lora(**{**lora, "r": 4}), seed=11)
    _save(config, base, root / "zero", _lora(**lora, trained=False), seed=12)
    _save(config, base, root / "dora", _lora(**lora, use_dora=True), seed=3)
    _save(config, base, root / "rank64", _lora(**{**lora, "r": 64}), seed=4)
    _save(config, base, root / "with_head", _lora(**lora, modules_to_save=["lm_head"]), seed=5)
    _save(config, base, root / "soft", PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"), seed=6)
    wide = LlamaConfig.from_pretrained(base, hidden_size=192, num_attention_heads=3, num_key_value_heads=3)
    _save(wide, None, root / "wide", _lora(**lora), seed=7)
    _save(wide, None, root / "wide_soft", PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"), seed=8)
    _save(LlamaConfig.from_pretrained(base, num_hidden_layers=4), None, root / "deep", _lora(**lora), seed=9)
    build_tiny_model(root / "full", seed=10)
    return Shelf(base=base, root=root)


def _lora(*, trained: bool = True, **options: Any) -> Any:
    from peft import LoraConfig

    # PEFT's own start leaves the base as it is.
    return LoraConfig(lora_alpha=16, task_type="CAUSAL_LM", init_lora_weights=not trained, **options)


def _save(config: Any, base: Path | None, target: Path, adapter: Any, *, seed: int) -> None:
    import torch
    from peft import get_peft_model
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(base) if base else LlamaForCausalLM(config)
    torch.manual_seed(seed)
    wrapped = get_peft_model(model, adapter)
    if base and hasattr(wrapped, "prompt_encoder"):  # as large as real embeddings, or it changes nothing
        wrapped.prompt_encoder["default"].embedding.weight.data.normal_(std=0.05)
    wrapped.save_pretrained(target)


def user(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


def served(name: str, artefact: Path | None = None, base: LocalModel = TINY) -> ServedModel:
    return ServedModel(name=name, base=base, artefact=artefact, prompt=PROMPT)


def live(engine: Engine, name: str) -> ChatModel:
    """Whatever the server has under that name, whether we gave it that or not."""
    return OpenAIModel(name=name, url=engine.url)


def ask(engine: Engine, name: str, text: str = "hello", sampling: Sampling = SHORT) -> Reply:
    return asyncio.run(complete(live(engine, name), user(text), sampling))


def ask_at_once(engine: Engine, asked: Sequence[tuple[str, str]], sampling: Sampling = SHORT) -> list[Reply]:
    """The replies to (model, text) pairs, all in flight together."""

    async def together() -> list[Reply]:
        return await asyncio.gather(*(complete(live(engine, name), user(text), sampling) for name, text in asked))

    return asyncio.run(together())


_LONG = 300  # tokens; on a busy machine a short answer is over before the other one's request is there


def follow_both(engine: Engine, *names: str) -> list[str]:
    """Who said the next piece, when these are asked at once."""
    seen: list[str] = []

    async def follow(name: str) -> None:
        async for chunk in live(engine, name).stream(user("hello"), Sampling(max_tokens=_LONG)):
            if chunk.text:
                seen.append(name)  # noqa: PERF401  (as they come, not all at the end)

    async def together() -> None:
        await asyncio.gather(*(follow(name) for name in names))

    asyncio.run(together())
    return seen


def reference(base: Path, adapter: Path | None, text: str = "hello", max_tokens: int = SHORT.max_tokens) -> str:
    """The greedy answer of the plain libraries. A last character that is still incomplete is left out."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    whole = adapter is not None and (adapter / "config.json").is_file()
    model: Any = AutoModelForCausalLM.from_pretrained(adapter if whole else base)
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    chat = [{"role": "user", "content": text}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    ids = ids["input_ids"]
    options = {"max_new_tokens": max_tokens, "do_sample": False, "pad_token_id": tokenizer.pad_token_id}
    with torch.inference_mode():
        if adapter is None or whole:
            out = model.generate(ids, **options)[0, ids.shape[1] :]
        elif (soft := _soft_prompt(adapter)) is not None:  # by hand: PEFT's own way depends on Transformers' version
            embedded = torch.cat([soft[None], model.get_input_embeddings()(ids)], dim=1)
            out = model.generate(inputs_embeds=embedded, **options)[0]
        else:
            out = PeftModel.from_pretrained(model, adapter).generate(input_ids=ids, **options)[0, ids.shape[1] :]
    return str(tokenizer.decode(out, skip_special_tokens=True)).rstrip("\ufffd")


def _soft_prompt(adapter: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(adapter / "adapter_model.safetensors").get("prompt_embeddings")


def assert_held(engine: Engine, *names: str) -> None:
    """Each of these models answers within what is allowed, as the request says."""
    choices = Allowed(choices=("billing", "delivery problem"))
    shape = allowed_for([], ['{"urgent": true, "size": "small"}'])
    schema = (
        shape.schema_object | {"properties": {"urgent": {"type": "boolean"}, "size": {"enum": ["s", "m"]}}}
        if shape
        else {}
    )
    for name in names:
        label = ask(engine, name, "hello", Sampling(max_tokens=24, allowed=choices))
        assert label.text in choices.choices and label.finish_reason == "stop"
        held = Allowed(json_schema=json.dumps(schema))
        found = json.loads(ask(engine, name, "hello", Sampling(max_tokens=60, allowed=held)).text)
        assert set(found) == {"urgent", "size"} and found["size"] in ("s", "m")
