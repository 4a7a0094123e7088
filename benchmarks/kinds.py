"""How often the kind of task is right, by who reads it: the lexicon's words, the classifier, both, the embedded model.

Owns the table of `python -m benchmarks.interviews --kinds`. A description is all that a person typed, in one piece;
only the column "chat" reads it turn by turn, as the chat does. The embedded model scores the nine names as
continuations of a short prompt, which is the kindest way to ask a small model: it cannot answer anything else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from assistant.dialogue.mind import Context
from assistant.dialogue.offline import kinds
from assistant.dialogue.offline.mind import OfflineMind
from assistant.dialogue.offline.text import fold, without_denied
from assistant.project import Turn
from prompts.spec import TASK_KINDS, TaskSpec

Reader = Callable[[list[str]], str | None]
_EMBEDDED_ROWS = 60
_READ = 600  # characters of a description that the embedded model gets
_INSTRUCTION = f"""Name the kind of task that a person describes. The kinds are: {", ".join(TASK_KINDS)}.

Description: sort our mails into complaints and orders
Kind: classification
Description: pull the invoice number and the total out of PDFs
Kind: extraction
Description: make our letters sound friendlier, same content
Kind: rewriting
Description: a bot that chats with guests about their stay
Kind: chat
Description: """


def kinds_table(sets: dict[str, list[dict[str, Any]]], *, embedded: bool) -> None:
    """Prints the share of right kinds for every set and reader."""
    readers: dict[str, Reader] = {"words": by_words, "classifier": by_classifier, "both": by_both, "chat": in_chat}
    in_chat(["sort mails into spam and ham"])  # fits the classifier
    print(f"{'set':<12}" + "".join(f"{name:>12}" for name in readers))
    totals = dict.fromkeys(readers, 0)
    for name, rows in sets.items():
        right = {reader: _right(read, rows) for reader, read in readers.items()}
        totals = {reader: totals[reader] + right[reader] for reader in readers}
        print(f"{name:<12}" + "".join(f"{count / len(rows):>12.2f}" for count in right.values()))
    every = [row for rows in sets.values() for row in rows]
    print(f"{'all':<12}" + "".join(f"{count / len(every):>12.2f}" for count in totals.values()))
    if embedded:
        # Evenly over the sets, so that every language is among them.
        _embedded_row(every[:: max(1, len(every) // _EMBEDDED_ROWS)][:_EMBEDDED_ROWS])


def _right(read: Reader, rows: list[dict[str, Any]]) -> int:
    return sum(read(row["turns"]) == row["expect"].get("task") for row in rows)


def by_words(turns: list[str]) -> str | None:
    scores = kinds.by_words(without_denied(fold("\n".join(turns))))
    return max(scores, key=lambda name: scores[name]) if scores else None


def by_classifier(turns: list[str]) -> str | None:
    guessed = kinds.by_classifier(without_denied(fold("\n".join(turns))))
    return max(guessed, key=lambda name: guessed[name])


def by_both(turns: list[str]) -> str | None:
    found = kinds.kind_of("\n".join(turns))
    return found.name if found else None


def in_chat(turns: list[str]) -> str | None:
    """Turn by turn through the whole offline mind."""
    mind, spec, history = OfflineMind(), TaskSpec(), list[Turn]()
    for text in turns:
        reading = mind.read(text, Context(spec=spec, history=tuple(history)))
        spec = spec.updated("inferred", **reading.inferred).updated("said", **reading.said)
        history.append(Turn(role="user", text=text))
    return spec.task


def _embedded_row(rows: list[dict[str, Any]]) -> None:
    read, right, start = _embedded_reader(), 0, time.perf_counter()
    for number, row in enumerate(rows, 1):
        right += read(row["turns"]) == row["expect"].get("task")
        if number % 10 == 0:
            seconds = (time.perf_counter() - start) / number
            print(f"embedded model: {right} of {number} right, {seconds:.2f} s a description", flush=True)
    print(f"the offline mind on the same {len(rows)} rows: {_right(in_chat, rows)} right")


def _embedded_reader() -> Reader:
    """The name that the embedded model finds the likeliest after a description, by its tokens' mean log probability."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from trainers.models import EMBEDDED, resolve
    from trainers.paths import default_paths

    folder = resolve(EMBEDDED, default_paths()).folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    names = {name: tokenizer(f" {name}", add_special_tokens=False)["input_ids"] for name in TASK_KINDS}

    @torch.inference_mode()
    def read(turns: list[str]) -> str:
        prompt = f"{_INSTRUCTION}{' '.join(turns)[:_READ]}\nKind:"
        start = tokenizer(prompt)["input_ids"]
        longest = max(len(ids) for ids in names.values())
        batch = torch.tensor([start + ids + [0] * (longest - len(ids)) for ids in names.values()])
        logs = torch.log_softmax(model(batch).logits[:, len(start) - 1 : -1], dim=-1)
        scores = {
            name: float(sum(logs[row, place, token] for place, token in enumerate(ids))) / len(ids)
            for row, (name, ids) in enumerate(names.items())
        }
        return max(scores, key=lambda name: scores[name])

    return read
