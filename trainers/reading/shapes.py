"""The shapes that training data comes in, known by names and values, and what of a row goes in and what is the answer.

Owns which columns play which role in each shape and how a conversation becomes one input with one answer. Refuses to
know prompts. How turns become text: a single user turn is the input as it stands; where there is more before the
answer (a system turn, earlier turns), every turn is a paragraph that begins with who speaks: "System: ", "User: ",
"Assistant: " and so on. The last turn of the assistant is the answer; what follows it is left out.

For preferences the chosen answer is the answer, for thumbs the completions with a thumb up; `rejected` gives the other
side, which preference objectives (DPO, KTO) learn from. `Shape.says` tells.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from trainers.reading.table import Row, Table

# In these, `pair` composes input and answer; in the others they are columns as they stand.
ComposedKind = Literal["instruction", "messages", "conversations", "preference", "thumbs"]
ShapeKind = Literal["text and label", "prompt and completion", ComposedKind]
Pair = tuple[str, str]
_LOOKED_AT = 50
_SPEAKERS = {
    "human": "user", "user": "user", "prompter": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "model": "assistant", "assistant": "assistant", "system": "system", "developer": "system",
}  # fmt: skip
_UP, _DOWN = {"true", "1", "yes", "up", "good", "👍"}, {"false", "0", "no", "-1", "down", "bad", "👎"}
_NAMES: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "instruction", "input", "query"),
    "completion": ("completion", "response", "answer", "output"),
    "chosen": ("chosen", "preferred", "accepted"),
    "rejected": ("rejected", "dispreferred"),
    "instruction": ("instruction",),
    "context": ("input", "context"),
    "output": ("output", "response", "answer", "completion"),
    "thumb": ("label", "thumbs", "thumb", "thumbs_up", "liked", "desirable"),
    "system": ("system", "system_prompt"),
}


class Shape(BaseModel):
    """What the data is: which column plays which role, and a sentence about it for the person."""

    model_config = ConfigDict(frozen=True)

    kind: ShapeKind
    roles: dict[str, str]
    says: str

    @property
    def composed(self) -> ComposedKind | None:
        """The kind where input and answer have to be composed from the row."""
        return next((kind for kind in _PAIRS if kind == self.kind), None)

    @property
    def input(self) -> str:
        """The column that goes in first; where one column holds everything, that one."""
        return next(iter(self.roles.values()))

    @property
    def output(self) -> str:
        """The column that holds the answer."""
        answer = next((role for role in ("completion", "chosen") if role in self.roles), list(self.roles)[-1])
        return self.roles[answer]


def detect_shape(table: Table) -> Shape | None:
    """The shape of a table by its names and first rows, or None where it has none of those known."""
    rows = table.head(_LOOKED_AT)
    detectors = (_turns, _preference, _thumbs, _instruction, _pair_of_columns)
    return next((shape for detect in detectors if (shape := detect(table.columns, rows))), None)


def pair(kind: ComposedKind, columns: Sequence[str], row: Row, input: str, output: str) -> Pair:
    """What goes in and the answer; empty where the row has none. `input` and `output` are the mapped columns."""
    return _PAIRS[kind](columns, row, input, output)


def rejected(kind: ComposedKind, columns: Sequence[str], row: Row, input: str, output: str) -> str:
    """The answer that was liked less, or disliked; empty in shapes and rows that have none."""
    if kind == "preference":
        # The same prompt stands before it: what is left of it is found as the chosen answer is.
        worse = _find(columns, "rejected", (output,)) or ""
        swapped = {**row, output: row.get(worse, ""), worse: row.get(output, "")}
        return _pair_from_preference(columns, swapped, input, output)[1]
    if kind == "thumbs" and _thumb(columns, row, input, output) in _DOWN:
        return _answered(row, output)
    return ""


def _find(columns: Sequence[str], role: str, taken: Sequence[str] = ()) -> str | None:
    by_name = {column.casefold(): column for column in columns if column not in taken}
    return next((by_name[name] for name in _NAMES[role] if name in by_name), None)


def _turns(columns: Sequence[str], rows: Sequence[Row]) -> Shape | None:
    """A column of conversations: OpenAI's messages (role, content) or ShareGPT's (from, value)."""
    for column in columns:
        if column.casefold() in ("chosen", "rejected", "prompt", "completion"):
            continue
        found = [_messages(row.get(column, "")) for row in rows if row.get(column)]
        if found and 2 * sum(bool(turns) for turns in found) > len(found):
            raw = next(row[column] for row in rows if _messages(row.get(column, "")))
            kind: ShapeKind = "conversations" if '"from"' in raw and '"value"' in raw else "messages"
            name = "ShareGPT" if kind == "conversations" else "OpenAI"
            longer = any(len(turns) > 2 for turns in found if turns)
            before = " Earlier turns and system turns go in, each with who speaks." if longer else ""
            return Shape(
                kind=kind,
                roles={"messages": column},
                says=f"Conversations ({name}). The assistant's last turn is the answer.{before}",
            )
    return None


def _preference(columns: Sequence[str], rows: Sequence[Row]) -> Shape | None:
    chosen, rejected = _find(columns, "chosen"), _find(columns, "rejected")
    if chosen is None or rejected is None:
        return None
    prompt = _find(columns, "prompt", (chosen, rejected))
    says = "Preferences: DPO learns from both sides; by examples alone, only the chosen answers are learned."
    if prompt is None:
        says += " The prompt is what chosen and rejected have in common."
        return Shape(kind="preference", roles={"chosen": chosen, "rejected": rejected}, says=says)
    return Shape(kind="preference", roles={"prompt": prompt, "chosen": chosen, "rejected": rejected}, says=says)


def _thumbs(columns: Sequence[str], rows: Sequence[Row]) -> Shape | None:
    prompt, completion, thumb = (_find(columns, role) for role in ("prompt", "completion", "thumb"))
    if prompt is None or completion is None or thumb is None or len({prompt, completion, thumb}) < 3:
        return None
    said = {row.get(thumb, "").strip().casefold() for row in rows} - {""}
    if not said or not said <= _UP | _DOWN:
        return None
    says = "Thumbs: KTO learns from both; by examples alone, only the answers with a thumb up are learned."
    return Shape(kind="thumbs", roles={"prompt": prompt, "completion": completion, "thumb": thumb}, says=says)


def _instruction(columns: Sequence[str], rows: Sequence[Row]) -> Shape | None:
    instruction, context, output = (_find(columns, role) for role in ("instruction", "context", "output"))
    if instruction is None or context is None or output is None:
        return None
    says = f"Instructions (Alpaca): {instruction!r} goes in, with {context!r} below it where there is one."
    return Shape(
        kind="instruction", roles={"instruction": instruction, "context": context, "output": output}, says=says
    )


def _pair_of_columns(columns: Sequence[str], rows: Sequence[Row]) -> Shape | None:
    by_name = {column.casefold(): column for column in columns}
    kinds: tuple[tuple[ShapeKind, str, tuple[str, ...]], ...] = (
        ("prompt and completion", "prompt", ("completion", "response")),
        ("text and label", "text", ("label",)),
    )
    for kind, first, others in kinds:
        second = next((by_name[name] for name in others if name in by_name), None)
        if first in by_name and second is not None:
            roles = {first: by_name[first], others[0]: second}
            return Shape(kind=kind, roles=roles, says=f"{kind.capitalize()}.")
    return None


def _messages(text: str) -> list[Pair]:
    """Who speaks and what, turn by turn; empty where the text holds no conversation."""
    if not text.lstrip().startswith("["):
        return []
    try:
        turns = json.loads(text)
    except (ValueError, RecursionError):
        return []
    read = [_turn(turn) for turn in turns]
    return [turn for turn in read if turn is not None] if all(read) else []


def _turn(turn: Any) -> Pair | None:
    if not isinstance(turn, dict):
        return None
    speaker, said = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if isinstance(said, list):  # parts, as multimodal messages have them
        said = "\n".join(part["text"] for part in said if isinstance(part, dict) and isinstance(part.get("text"), str))
    if not isinstance(speaker, str) or not isinstance(said, str):
        return None
    return _SPEAKERS.get(speaker.casefold(), speaker), said


def _split_turns(turns: Sequence[Pair]) -> Pair:
    last = max((index for index, (speaker, _) in enumerate(turns) if speaker == "assistant"), default=0)
    return (_as_input(turns[:last]), turns[last][1]) if last else ("", "")


def _as_input(turns: Sequence[Pair]) -> str:
    if len(turns) == 1 and turns[0][0] == "user":
        return turns[0][1]
    return "\n\n".join(f"{speaker.capitalize()}: {said}" for speaker, said in turns)


def _pair_from_messages(columns: Sequence[str], row: Row, input: str, output: str) -> Pair:
    turns = _messages(row.get(input, ""))
    system = _find(columns, "system", (input,))
    if turns and system and row.get(system, "").strip() and turns[0][0] != "system":
        turns = [("system", row[system]), *turns]
    return _split_turns(turns)


def _pair_from_preference(columns: Sequence[str], row: Row, input: str, output: str) -> Pair:
    """The prompt where there is one (as text or turns), else what chosen and rejected share at their beginning."""
    chosen = row.get(output, "")
    turns = _messages(chosen)
    if input != output:
        asked = _messages(row.get(input, ""))
        return (_as_input(asked) if asked else row.get(input, "")), (turns[-1][1] if turns else chosen)
    if turns:
        return _split_turns(turns)
    rejected = row.get(_find(columns, "rejected") or "", "")
    same = (index for index, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b)
    shared = chosen[: next(same, min(len(chosen), len(rejected)))]
    # Both may well begin with the same words of the answer: cut where the answer begins, or after the last whole line.
    cut = shared.rfind("Assistant:") + len("Assistant:") if "Assistant:" in shared else shared.rfind("\n") + 1
    return shared[:cut].strip(), chosen[cut:].strip()


def _pair_from_thumbs(columns: Sequence[str], row: Row, input: str, output: str) -> Pair:
    up = _thumb(columns, row, input, output) in _UP
    asked = _messages(row.get(input, ""))
    return (_as_input(asked) if asked else row.get(input, "")), _answered(row, output) if up else ""


def _thumb(columns: Sequence[str], row: Row, input: str, output: str) -> str:
    return row.get(_find(columns, "thumb", (input, output)) or "", "").strip().casefold()


def _answered(row: Row, output: str) -> str:
    """The answer of a column that holds it as text or as turns."""
    turns = _messages(row.get(output, ""))
    return turns[-1][1] if turns else row.get(output, "")


def _pair_from_instruction(columns: Sequence[str], row: Row, input: str, output: str) -> Pair:
    context = row.get(_find(columns, "context", (input, output)) or "", "")
    asked = row.get(input, "")
    return (f"{asked}\n\n{context}" if context.strip() and asked.strip() else asked), row.get(output, "")


_PAIRS: dict[ComposedKind, Callable[[Sequence[str], Row, str, str], Pair]] = {
    "instruction": _pair_from_instruction,
    "messages": _pair_from_messages,
    "conversations": _pair_from_messages,
    "preference": _pair_from_preference,
    "thumbs": _pair_from_thumbs,
}
