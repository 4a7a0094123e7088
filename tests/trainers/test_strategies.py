"""Every strategy trains a tiny model for real: what moves, what is saved, and who answers when it is served."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from assistant.serving.embedded_lanes import Server
from prompts.chat_model import Sampling
from prompts.versions import PromptVersion
from trainers.building import build_trainer
from trainers.generate import BASE, Request, generate
from trainers.hardware import Compute
from trainers.jobs import create_run
from trainers.modeling import attach, load_base, load_tokenizer
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.status import RunFolder
from trainers.strategies import (
    FullStrategy,
    LoraStrategy,
    PrefixTuningStrategy,
    PromptTuningStrategy,
    PTuningStrategy,
    Strategy,
)
from trainers.strategies.full import Unfreezing
from trainers.worker import Work

Plans = Callable[..., TrainingPlan]
# PEFT would have an EVA adapter made without weights first, which TRL's trainers do not.
pytestmark = pytest.mark.filterwarnings("ignore:lora with eva initialization")
COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)
PROMPT = PromptVersion(system="Name the team that the ticket is for: billing or returns.")
LORA = [
    LoraStrategy(),
    LoraStrategy(r=2, use_rslora=True, target_modules=("q_proj", "v_proj")),
    LoraStrategy(r=2, use_dora=True),
    LoraStrategy(r=2, init="gaussian"),
    LoraStrategy(r=2, init="orthogonal"),
    LoraStrategy(r=2, init="eva"),
    LoraStrategy(r=2, init="pissa"),
    LoraStrategy(r=2, init="pissa_niter_16"),
    LoraStrategy(r=2, init="olora", use_rslora=True),
]
SOFT = [
    PromptTuningStrategy(num_virtual_tokens=6),
    PromptTuningStrategy(num_virtual_tokens=6, init="random"),
    PTuningStrategy(num_virtual_tokens=6, encoder_hidden_size=16),
    PrefixTuningStrategy(num_virtual_tokens=6),
]
FULL = [
    FullStrategy(),
    FullStrategy(layer_decay=0.5),
    FullStrategy(unfreezing=Unfreezing(over=0.5)),
    FullStrategy(unfreezing=Unfreezing(over=0.5), layer_decay=0.5),
]


def named(strategy: Strategy) -> str:
    told = {k: v for k, v in strategy.model_dump(exclude_defaults=True).items() if k not in ("type", "unfreezing")}
    more = ["unfreezing"] if getattr(strategy, "unfreezing", None) else []
    return "-".join([str(getattr(strategy, "type", "")), *(f"{k}={v}" for k, v in told.items()), *more])


every = pytest.mark.parametrize("strategy", [*LORA, *SOFT, *FULL], ids=named)


class Trained:
    """A strategy's trainer after its training, and what its model was before."""

    def __init__(self, plan: TrainingPlan, paths: Paths) -> None:
        self.plan, self.paths = plan, paths
        self.run: RunFolder = create_run(plan, paths)
        self.base = Path(plan.base_model)
        self.tokenizer = load_tokenizer(self.base)
        self.trainer: Any = build_trainer(
            plan, self.run, load_base(self.base, COMPUTE, training=True), self.tokenizer, COMPUTE, []
        )
        self.before = snapshot(self.trainer.model)
        self.trainer.train()
        self.after = snapshot(self.trainer.model)

    @property
    def moved(self) -> set[str]:
        return {name for name in self.before if not torch.equal(self.before[name], self.after[name])}

    def saved(self) -> Path:
        Work(self.run, self.paths).save(self.trainer.model, self.tokenizer)
        assert self.run.artefact is not None
        return self.run.artefact

    def logits(self) -> torch.Tensor:
        return logits(self.trainer.model, self.tokenizer)


def snapshot(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def logits(model: Any, tokenizer: Any) -> torch.Tensor:
    """Of the last token of a rendered chat, by the model's own forward pass."""
    chat = [message.model_dump() for message in PROMPT.messages("Ticket 7 about billing")]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    model.eval()
    with torch.inference_mode():
        found: torch.Tensor = model(**ids).logits[0, -1]
    return found


def reloaded(trained: Trained, artefact: Path) -> Any:
    if trained.plan.strategy.form == "model":
        return load_base(artefact, COMPUTE)
    return attach(load_base(trained.base, COMPUTE), artefact, "again")


def planned(tiny_plan: Plans, strategy: Strategy) -> TrainingPlan:
    rate = {"adapter": 2e-2, "model": 2e-3}[strategy.form]
    plan = tiny_plan(epochs=1, learning_rate=rate, warmup=0.0)
    return plan.model_copy(update={"strategy": strategy, "prompt": PROMPT})


@every
def test_exactly_what_should_move_moves_and_the_artefact_gives_the_same_logits(
    tiny_plan: Plans, paths: Paths, strategy: Strategy
) -> None:
    trained = Trained(planned(tiny_plan, strategy), paths)
    assert trained.before.keys() == trained.after.keys()
    if strategy.form == "model":
        wanted = set(trained.before)
    else:
        wanted = {name for name in trained.before if "lora_" in name or "prompt_encoder" in name}
        assert (
            0
            < sum(trained.before[name].numel() for name in wanted)
            < 0.4 * sum(part.numel() for part in trained.before.values())
        )
    assert trained.moved == wanted, "every part that should move moves, and nothing else"
    artefact = trained.saved()
    expected = trained.logits()
    again = logits(reloaded(trained, artefact), trained.tokenizer)
    torch.testing.assert_close(again, expected, atol=2e-4, rtol=1e-3)
    untouched = logits(load_base(trained.base, COMPUTE), trained.tokenizer)
    assert (expected - untouched).abs().max() > 0.05, "otherwise this test shows nothing"


@every
def test_a_served_reply_is_the_trained_model_s_and_not_the_base_s(
    tiny_plan: Plans, paths: Paths, strategy: Strategy
) -> None:
    trained = Trained(planned(tiny_plan, strategy), paths)
    server = Server(trained.base, "tiny", COMPUTE)
    server.load("mine", trained.saved())
    inputs = ["Ticket 7 about billing", "Ticket 8 about returns", "a much longer ticket about nothing but returns"]
    replies = [asked(server, "mine", text) for text in inputs]
    assert replies == [plain(trained, text) for text in inputs]
    assert replies != [asked(server, "tiny", text) for text in inputs]
    # In one batch too, where rows of different length are padded.
    lane, adapter = server.lane("mine")
    batch = [Request(PROMPT.messages(text), Sampling(max_tokens=12), adapter) for text in inputs]
    generate(lane.model, server.tokenizer, batch)
    assert [request.text for request in batch] == replies


def asked(server: Server, name: str, text: str) -> str:
    lane, adapter = server.lane(name)
    request = Request(PROMPT.messages(text), Sampling(max_tokens=12), adapter)
    generate(lane.model, server.tokenizer, [request])
    return request.text


def plain(trained: Trained, text: str) -> str:
    """The greedy answer of the model in memory, token by token, without any cache."""
    model, tokenizer = trained.trainer.model, trained.tokenizer
    chat = [message.model_dump() for message in PROMPT.messages(text)]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)[
        "input_ids"
    ]
    model.eval()
    said: list[int] = []
    with torch.inference_mode():
        while len(said) < 12:
            token = int(model(input_ids=ids, use_cache=False).logits[0, -1].argmax())
            if token == tokenizer.eos_token_id:
                break
            said.append(token)
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    return str(tokenizer.decode(said, skip_special_tokens=True)).rstrip("\ufffd")


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_16", "olora"])
def test_what_alters_the_base_is_exported_as_a_plain_adapter_of_the_untouched_one(
    tiny_plan: Plans, paths: Paths, init: Any
) -> None:
    trained = Trained(planned(tiny_plan, LoraStrategy(r=2, init=init)), paths)
    config = json.loads((trained.saved() / "adapter_config.json").read_text())
    assert (config["init_lora_weights"], config["r"], config["lora_alpha"]) == (True, 4, 32)
    altered = {name for name, part in trained.before.items() if "base_layer.weight" in name}
    base = snapshot(load_base(trained.base, COMPUTE))
    plain_names = {name: name.replace("base_model.model.", "").replace("base_layer.", "") for name in altered}
    assert any(not torch.equal(trained.before[name], base[plain]) for name, plain in plain_names.items())


@pytest.mark.parametrize("strategy", [SOFT[0], SOFT[3]], ids=named)
def test_a_soft_prompt_begins_as_the_prompt_itself(tiny_plan: Plans, paths: Paths, strategy: Strategy) -> None:
    """Before any step the model answers as one that has read the prompt's tokens before the chat."""
    plan = planned(tiny_plan, strategy)
    base = Path(plan.base_model)
    tokenizer = load_tokenizer(base)
    trainer: Any = build_trainer(
        plan, create_run(plan, paths), load_base(base, COMPUTE, training=True), tokenizer, COMPUTE, []
    )
    chat = [message.model_dump() for message in PROMPT.messages("hello")]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    words = tokenizer(PROMPT.system, add_special_tokens=False)["input_ids"][:6]
    with torch.inference_mode():
        expected = load_base(base, COMPUTE)(torch.tensor([[*words, *ids]])).logits[0, -1]
        trainer.model.eval()
        found = trainer.model(input_ids=torch.tensor([ids])).logits[0, -1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_p_tuning_begins_as_the_prompt(tiny_plan: Plans, paths: Paths) -> None:
    plan = planned(tiny_plan, SOFT[2])
    base = Path(plan.base_model)
    tokenizer, model = load_tokenizer(base), load_base(base, COMPUTE, training=True)
    words = torch.tensor(tokenizer(PROMPT.system, add_special_tokens=False)["input_ids"][:6])
    wanted = model.get_input_embeddings()(words).detach().clone()
    trainer: Any = build_trainer(plan, create_run(plan, paths), model, tokenizer, COMPUTE, [])
    made = trainer.model.get_prompt(batch_size=1)[0].detach()
    torch.testing.assert_close(made, wanted, atol=1e-4, rtol=1e-3)


def test_lower_layers_are_slower(tiny_plan: Plans, paths: Paths) -> None:
    trained = Trained(planned(tiny_plan, FullStrategy(layer_decay=0.5)), paths)
    rates = {id(p): group["initial_lr"] for group in trained.trainer.optimizer.param_groups for p in group["params"]}
    by_name = {name: rates[id(p)] for name, p in trained.trainer.model.named_parameters()}
    top = by_name["lm_head.weight"]
    assert top == pytest.approx(2e-3)
    assert by_name["model.layers.1.mlp.up_proj.weight"] == pytest.approx(top / 2)
    assert by_name["model.layers.0.mlp.up_proj.weight"] == pytest.approx(top / 4)
    assert by_name["model.embed_tokens.weight"] == pytest.approx(top / 8)


def test_layers_begin_to_move_from_the_top_down(tiny_plan: Plans, paths: Paths) -> None:
    from transformers import TrainerCallback

    seen: list[tuple[int, set[str]]] = []

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
            moving = {name for name, p in model.named_parameters() if p.grad is not None}
            seen.append((state.global_step, moving))

    plan = planned(tiny_plan, FullStrategy(unfreezing=Unfreezing(over=0.5)))
    base = Path(plan.base_model)
    trainer: Any = build_trainer(
        plan, create_run(plan, paths), load_base(base, COMPUTE, training=True), load_tokenizer(base), COMPUTE, [Look()]
    )
    trainer.train()
    first, last = seen[0][1], seen[-1][1]
    assert "lm_head.weight" in first and "model.layers.1.mlp.up_proj.weight" in first
    assert not any("layers.0" in name or "embed" in name for name in first)
    sizes = [len(moving) for _, moving in seen]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3
    assert last == {name for name, _ in trainer.model.named_parameters()}
    assert len(seen[len(seen) // 2][1]) == len(last), "everything moves once half of the steps are done"


def test_the_base_is_asked_without_adapters_by_name(tiny_plan: Plans, paths: Paths) -> None:
    trained = Trained(planned(tiny_plan, LoraStrategy()), paths)
    server = Server(trained.base, "tiny", COMPUTE)
    alone = asked(server, "tiny", "Ticket 7 about billing")
    server.load("mine", trained.saved())
    assert server.lane("tiny")[1] == BASE
    assert asked(server, "tiny", "Ticket 7 about billing") == alone


def test_every_strategy_says_how_it_is_served() -> None:
    for strategy in [*LORA, *SOFT, *FULL]:
        assert strategy.serving.told
        takes = not strategy.use_dora if strategy in LORA else not isinstance(strategy, PrefixTuningStrategy)
        assert strategy.serving.vllm == takes
