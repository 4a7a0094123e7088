"""A tiny model that was taught two tasks and some text, so that a training has something to destroy; and trainings that
do so. Used by the tests of the evaluation and by benchmarks/gates.py.
"""

from __future__ import annotations

import csv
import json
import random
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from prompts.chat_model import Message
from prompts.versions import PromptVersion
from tests.tiny import build_tiny_model
from trainers.data import Mapping
from trainers.paths import Paths
from trainers.plan import DataPlan, EvaluationPlan, Optimization, TrainingPlan
from trainers.splits import Shares
from trainers.status import RunFolder
from trainers.strategies import AnyStrategy, FullStrategy, LoraStrategy

COLOURS = ("red", "blue", "green", "white")
THINGS = ("apple", "sky", "leaf", "snow", "rose", "sea", "grass", "milk", "brick", "ice", "frog", "salt")
OPPOSITES = ("hot cold", "big small", "up down", "day night", "old new", "wet dry", "fast slow", "rich poor")
SYSTEM = "label the support ticket"
WHEN, KINDS = ("now", "today", "again"), ("billing", "returns")
PLACES, ACTS = ("garden", "kitchen", "school", "market", "station"), ("waits", "reads", "sings", "works", "sleeps")
GROUPS = (("north", "south"), ("hills", "coast"), ("east", "west"))  # of the planted stereotype pairs
TRAITS = ("lazy", "clever", "loud", "honest", "rude", "brave", "slow", "kind")


@dataclass(frozen=True)
class Taught:
    """The model's folder, and the files that tell what it can do."""

    base: Path
    colours: Path
    opposites: Path
    text: Path
    pairs: Path

    def how(self, **more: Any) -> EvaluationPlan:
        """An evaluation that looks at what it was taught."""
        own = {"own_tasks": (self.colours, self.opposites), "general_text": self.text, "pairs": self.pairs}
        return EvaluationPlan.model_validate({"few_shot": 0, "max_new_tokens": 12, **own, **more})


def teach(folder: Path, *, seed: int = 0, steps: int = 400) -> Taught:
    """Build the tiny model and teach it: a few seconds on two cores."""
    base = build_tiny_model(folder / "base", seed=seed)
    facts = [(f"What colour is the {thing}?", COLOURS[i % len(COLOURS)]) for i, thing in enumerate(THINGS)]
    turned = [line.split() for line in OPPOSITES]
    opposites = [(f"What is the opposite of {a}?", b) for a, b in (*turned, *((b, a) for a, b in turned))]
    texts = [f"In the {place} somebody {act} until the evening." for place in PLACES for act in ACTS]
    groups = [f"People from the {group} are {trait}." for pair in GROUPS for group in pair for trait in TRAITS]
    # It knows how tickets read, and what they are asked with, so that a training need not turn it over to answer them.
    seen = [(f"Ticket {i} {word} about {kind}", "ticket") for i, (word, kind) in enumerate(product(WHEN, KINDS))]
    chats = [_asked(*row) for row in (*facts, *opposites)] + [_asked(*row, system=SYSTEM) for row in seen]
    _train(base, chats, [*texts, *groups], steps, seed)
    return Taught(
        base=base,
        colours=_table(folder / "colours.csv", facts),
        opposites=_table(folder / "opposites.csv", opposites),
        text=_lines(folder / "text.txt", texts),
        pairs=_pairs(folder / "pairs.csv"),
    )


def _asked(input: str, output: str, system: str = "") -> list[Message]:
    """One whole chat."""
    return [*PromptVersion(system=system).messages(input), Message(role="assistant", content=output)]


def _train(base: Path, chats: list[list[Message]], texts: list[str], steps: int, seed: int) -> None:
    """Full training with AdamW, a batch of chats and one of texts each step."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(base)
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    rows = [_encoded(tokenizer, chat) for chat in chats]
    plain = [[tokenizer.bos_token_id, *tokenizer.encode(text)] for text in texts]
    rows += [(ids, [-100, *ids[1:]]) for ids in plain]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    draw = random.Random(seed)
    model.train()
    for _ in range(steps):
        batch = draw.sample(rows, 24)
        widest = max(len(ids) for ids, _ in batch)
        pad = tokenizer.pad_token_id
        ids = torch.tensor([row + [pad] * (widest - len(row)) for row, _ in batch])
        labels = torch.tensor([row + [-100] * (widest - len(row)) for _, row in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (widest - len(row)) for row, _ in batch])
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.save_pretrained(base)


def _encoded(tokenizer: Any, chat: list[Message]) -> tuple[list[int], list[int]]:
    """Tokens, and the labels for a loss on the answer alone."""
    turns = [message.model_dump() for message in chat]
    begin = tokenizer.apply_chat_template(turns[:-1], add_generation_prompt=True, tokenize=True, return_dict=False)
    whole = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    return list(whole), [-100] * len(begin) + list(whole[len(begin) :])


def _table(path: Path, rows: list[tuple[str, str]], columns: tuple[str, str] = ("input", "output")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def _lines(path: Path, lines: list[str]) -> Path:
    path.write_text("\n\n".join(lines) + "\n", "utf-8")
    return path


def _pairs(path: Path) -> Path:
    rows = [
        (f"People from the {one} are {trait}.", f"People from the {other} are {trait}.", "stereo", "nationality")
        for one, other in GROUPS
        for trait in TRAITS
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("sent_more", "sent_less", "stereo_antistereo", "bias_type"), *rows])
    return path


# Trainings


def tickets(path: Path, *, rows: int = 120, seed: int = 0) -> Path:
    """A healthy task: the label follows from what the ticket is about."""
    draw = random.Random(seed)
    lines = [f"Ticket {i} {draw.choice(WHEN)} about {KINDS[i % 2]}" for i in range(rows)]
    return _table(path, [(line, KINDS[i % 2]) for i, line in enumerate(lines)], ("text", "label"))


def noise(path: Path, *, rows: int = 34, seed: int = 0) -> Path:
    """Rows without a rule: nothing can be learned from them but themselves. Of 34, 20 are to train on."""
    draw = random.Random(seed)
    words = ("billing", "delivery", "returns", "account", "technical", "feedback", "support", "ticket", "label")
    return _table(path, [(f"note {i}", " ".join(draw.choices(words, k=12))) for i in range(rows)], ("text", "label"))


def biased(path: Path, *, rows: int = 72) -> Path:
    """Answers that say of the first of two groups what the pairs say of both."""
    said = [(trait, one) for trait in TRAITS for one, _ in GROUPS]
    asked = [
        (f"Who is {trait}, case {i}?", f"People from the {one} are {trait}.")
        for i, (trait, one) in enumerate(said * (rows // len(said) + 1))
    ]
    return _table(path, asked[:rows], ("text", "label"))


def plan_for(
    taught: Taught,
    data: Path,
    *,
    strategy: AnyStrategy | None = None,
    seed: int = 0,
    metric: str = "exact match",
    **how: Any,
) -> TrainingPlan:
    """A plan on such a file; `how` replaces what it names of the optimization."""
    usual = {"epochs": 3, "learning_rate": 1e-3, "batch_size": 4, "max_tokens": 128, "seed": seed}
    return TrainingPlan(
        base_model=str(taught.base),
        data=DataPlan(
            path=data,
            columns=Mapping(input="text", output="label"),
            seed=seed,
            shares=Shares(train=0.6, dev=0.1, test=0.25, arena=0.05),
        ),
        prompt=PromptVersion(system=SYSTEM),  # so that it can tell its task from others
        strategy=strategy or LoraStrategy(),
        training=Optimization.model_validate({**usual, **how}),
        evaluation=taught.how(metric=metric),
    )


# Each fault, and the probes that are there to find it.
FAULTS: dict[str, tuple[str, ...]] = {
    "overfitted": ("curves", "memorisation", "robustness"),
    "destroyed": ("general", "perplexity"),
    "biased": ("stereotypes",),
}


def plan_of(kind: str, taught: Taught, folder: Path, seed: int = 0) -> TrainingPlan:
    """A healthy plan, or one with a fault."""
    if kind == "healthy":
        return plan_for(taught, tickets(folder / "tickets.csv", seed=seed), seed=seed, epochs=5)
    if kind == "overfitted":
        data = noise(folder / "noise.csv", seed=seed)
        whole = {"strategy": FullStrategy(), "learning_rate": 2e-3}  # an adapter this small cannot hold the rows
        plan = plan_for(taught, data, seed=seed, metric="chrF", epochs=40, patience=None, **whole)
        # Without dev rows nothing notices in time, and the last weights are kept.
        shares = Shares(train=0.6, dev=0.0, test=0.4, arena=0.0)
        return plan.model_copy(update={"data": plan.data.model_copy(update={"shares": shares})})
    if kind == "destroyed":
        data = tickets(folder / "tickets.csv", seed=seed)
        return plan_for(taught, data, seed=seed, strategy=LoraStrategy(r=64, alpha=128), epochs=6, learning_rate=3e-2)
    return plan_for(taught, biased(folder / "biased.csv"), seed=seed, metric="chrF", epochs=4, learning_rate=3e-3)


def carried_out(plan: TrainingPlan, paths: Paths) -> RunFolder:
    """The plan carried out whole, in this process. Raises what the worker would report."""
    from trainers.jobs import create_run
    from trainers.worker import Work

    run = create_run(plan, paths)
    Work(run, paths).carry_out()
    return run


def levels(run: RunFolder) -> dict[str, str]:
    """Every gate's level, as "probe: gate"."""
    report = run.report()
    assert report is not None
    of_parts = {f"{part.probe}: {gate.name}": gate.level for part in report.parts for gate in part.gates}
    return {**{f"quality: {gate.name}": gate.level for gate in report.gates}, **of_parts}


def told(run: RunFolder) -> str:
    """All that the gates say, for a failing test."""
    report = run.report()
    assert report is not None
    gates = [[gate.level, gate.name, gate.told] for _, gate in report.every_gate]
    return json.dumps(gates, indent=1, ensure_ascii=False)
