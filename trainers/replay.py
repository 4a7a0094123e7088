"""General questions with the base's own answers, mixed into the training rows so that it forgets less.

Owns the questions (replay.yaml beside this file), which of the answers are used, and keeping them in the run. Refuses
to know trainers. Importing it loads no torch; asking does.

Rehearsal of earlier tasks keeps a tuned model from forgetting them (Scialom et al. 2022,
https://arxiv.org/abs/2205.12393), and what the model itself says serves where the data that it was made from is not
there (self-synthesized rehearsal, Huang et al. 2024, https://arxiv.org/abs/2403.01244). Unlike there, the questions are
written by us, and no answer is improved by another model.
"""

from __future__ import annotations

import json
import random
import re
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from prompts.chat_model import Message, Sampling
from trainers.hardware import Compute
from trainers.launching import is_main, world_size
from trainers.paths import write_atomically
from trainers.plan import TrainingPlan
from trainers.status import RunFolder

Row = dict[str, list[dict[str, str]]]
_FILE = "rehearsal.jsonl"
AT_ONCE = 16
TOKENS = 64  # of an answer; a longer one is cut behind its last whole sentence
_SENTENCE = re.compile(r"^.*[.!?](?=\s|$)", re.DOTALL)


@cache
def general_prompts() -> tuple[str, ...]:
    """The questions, none of them twice."""
    return tuple(yaml.safe_load(files(__package__).joinpath("replay.yaml").read_text("utf-8")))


def rehearsal(plan: TrainingPlan, run: RunFolder, model: Any, tokenizer: Any, compute: Compute) -> list[Row]:
    """The plan's general rows in TRL's columns for examples; `model` is the base, before anything is put on it.

    They are written into the run once, so that a resumed training goes on with the same. Of several processes the main
    one asks. Where the base answers few of the questions, or none, a note in the run says so.
    """
    if not plan.data.general_rows:
        return []
    path = run.path / _FILE
    with _main_first(compute):
        if not path.is_file():
            _say(run, f"The base answers {plan.data.general_rows} general questions, to be mixed in.")
            rows = asked(model, tokenizer, plan.data.general_rows, plan.data.seed)
            if len(rows) < plan.data.general_rows:
                _note(run, _told_few(len(rows)))
            write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def _told_few(rows: int) -> str:
    if not rows:
        return "The base answers no general question in a whole sentence, so that nothing is mixed in."
    return f"The base answers only {rows} general question(s) in whole sentences: these are mixed in."


def asked(model: Any, tokenizer: Any, rows: int, seed: int) -> list[Row]:
    """So many questions with the model's greedy answers, fewer where it has no usable answer to the others.

    An answer is usable where it ends by itself, or holds a whole sentence and is cut there. The model is left in the
    mode, training or not, that it was in.
    """
    from trainers.generate import Request, generate

    questions = list(general_prompts())
    random.Random(seed).shuffle(questions)
    found: list[Row] = []
    was_training = model.training
    try:
        while questions and len(found) < rows:
            size = min(AT_ONCE, rows)
            batch, questions = questions[:size], questions[size:]
            requests = [Request([Message(role="user", content=text)], Sampling(max_tokens=TOKENS)) for text in batch]
            generate(model, tokenizer, requests)
            answers = [_usable(request.text, ended=request.finish_reason == "stop") for request in requests]
            found += [_row(text, answer) for text, answer in zip(batch, answers, strict=True) if answer]
    finally:
        model.train(was_training)
    return found[:rows]


def _usable(text: str, *, ended: bool) -> str:
    if ended:
        return text.strip()
    whole = _SENTENCE.match(text)
    return whole[0].strip() if whole else ""


def _row(question: str, answer: str) -> Row:
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
    }


def _main_first(compute: Compute) -> AbstractContextManager[Any]:
    """In a launch, the others wait until the main process has asked."""
    if world_size() == 1:
        return nullcontext()
    from accelerate import PartialState  # type: ignore[import-untyped]

    first: AbstractContextManager[Any] = PartialState(cpu=compute.device == "cpu").main_process_first()
    return first


def _note(run: RunFolder, note: str) -> None:
    if is_main():
        now = run.written_status()
        run.write_status(now.model_copy(update={"notes": tuple(dict.fromkeys((*now.notes, note)))}))


def _say(run: RunFolder, message: str) -> None:
    if is_main():
        run.write_status(run.written_status().model_copy(update={"message": message}))
