"""The shapes of training data: known by names and values, and what of a row goes in and what is the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainers.data import Mapping, guess_mapping, read_examples
from trainers.reading import detect_shape, read_table

ASK, SAY, SYSTEM = "Where is it?", "On its way.", "Be brief."


def turns(*said: tuple[str, str], role: str = "role", content: str = "content") -> list[dict[str, str]]:
    return [{role: who, content: what} for who, what in said]


def openai(*said: tuple[str, str]) -> list[dict[str, str]]:
    return turns(*said)


def sharegpt(*said: tuple[str, str]) -> list[dict[str, str]]:
    return turns(*said, role="from", content="value")


def table_in(tmp_path: Path, *rows: dict[str, Any]) -> Any:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return read_table(path)


@pytest.mark.parametrize(
    ("row", "kind", "roles"),
    [
        ({"text": "a", "label": "b"}, "text and label", {"text": "text", "label": "label"}),
        (
            {"Prompt": "a", "Response": "b", "id": 1},
            "prompt and completion",
            {"prompt": "Prompt", "completion": "Response"},
        ),
        (
            {"instruction": "a", "input": "", "output": "b"},
            "instruction",
            {"instruction": "instruction", "context": "input", "output": "output"},
        ),
        (
            {"id": 1, "conversations": sharegpt(("human", ASK), ("gpt", SAY))},
            "conversations",
            {"messages": "conversations"},
        ),
        ({"messages": openai(("user", ASK), ("assistant", SAY))}, "messages", {"messages": "messages"}),
        ({"chat": openai(("user", ASK), ("assistant", SAY)), "n": 1}, "messages", {"messages": "chat"}),
        (
            {"prompt": "a", "chosen": "b", "rejected": "c"},
            "preference",
            {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
        ),
        ({"chosen": "b", "rejected": "c"}, "preference", {"chosen": "chosen", "rejected": "rejected"}),
        (
            {"prompt": "a", "completion": "b", "label": True},
            "thumbs",
            {"prompt": "prompt", "completion": "completion", "thumb": "label"},
        ),
    ],
)
def test_shapes_are_known(tmp_path: Path, row: dict[str, Any], kind: str, roles: dict[str, str]) -> None:
    shape = detect_shape(table_in(tmp_path, row, row))
    assert shape is not None
    assert (shape.kind, shape.roles) == (kind, roles)
    assert shape.says


@pytest.mark.parametrize(
    "row",
    [
        {"ticket": "a", "team": "b"},
        {"text": "a", "tags": ["x", "y"]},
        {"prompt": "a", "label": "b"},
        {"chosen": "a", "text": "b"},
    ],
)
def test_what_has_no_known_shape(tmp_path: Path, row: dict[str, Any]) -> None:
    assert detect_shape(table_in(tmp_path, row)) is None


DIALOG = f"System: {SYSTEM}\n\nUser: {ASK}\n\nAssistant: {SAY}\n\nUser: When?"


@pytest.mark.parametrize(
    ("row", "given", "answer"),
    [
        ({"text": ASK, "label": "b"}, ASK, "b"),
        ({"prompt": ASK, "completion": SAY}, ASK, SAY),
        ({"instruction": "Translate.", "input": ASK, "output": SAY}, f"Translate.\n\n{ASK}", SAY),
        ({"instruction": ASK, "input": " ", "output": SAY}, ASK, SAY),
        ({"instruction": "Answer.", "context": ASK, "response": SAY}, f"Answer.\n\n{ASK}", SAY),
        ({"messages": openai(("user", ASK), ("assistant", SAY))}, ASK, SAY),
        ({"messages": openai(("user", ASK), ("assistant", SAY), ("user", "Thanks"))}, ASK, SAY),
        (
            {"messages": openai(("system", SYSTEM), ("user", ASK), ("assistant", SAY))},
            f"System: {SYSTEM}\n\nUser: {ASK}",
            SAY,
        ),
        (
            {
                "messages": openai(
                    ("system", SYSTEM), ("user", ASK), ("assistant", SAY), ("user", "When?"), ("assistant", "Soon.")
                )
            },
            DIALOG,
            "Soon.",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ASK}]}, *openai(("assistant", SAY))]},
            ASK,
            SAY,
        ),
        ({"conversations": sharegpt(("human", ASK), ("gpt", SAY))}, ASK, SAY),
        (
            {"system": SYSTEM, "conversations": sharegpt(("human", ASK), ("gpt", SAY))},
            f"System: {SYSTEM}\n\nUser: {ASK}",
            SAY,
        ),
        ({"prompt": ASK, "chosen": SAY, "rejected": "No."}, ASK, SAY),
        (
            {
                "prompt": openai(("user", ASK)),
                "chosen": openai(("assistant", SAY)),
                "rejected": openai(("assistant", "No.")),
            },
            ASK,
            SAY,
        ),
        (
            {
                "chosen": openai(("user", ASK), ("assistant", SAY)),
                "rejected": openai(("user", ASK), ("assistant", "No.")),
            },
            ASK,
            SAY,
        ),
        (
            {"chosen": f"\n\nHuman: {ASK}\n\nAssistant: On it.", "rejected": f"\n\nHuman: {ASK}\n\nAssistant: On no."},
            f"Human: {ASK}\n\nAssistant:",
            "On it.",
        ),
        ({"prompt": ASK, "completion": SAY, "label": True}, ASK, SAY),
    ],
)
def test_a_row_of_each_shape_becomes_input_and_answer(
    tmp_path: Path, row: dict[str, Any], given: str, answer: str
) -> None:
    table = table_in(tmp_path, row)
    [example] = read_examples(table, guess_mapping(table))
    assert (example.input, example.output) == (given, answer)


def test_a_thumb_down_and_a_conversation_without_answer_are_left_out(tmp_path: Path) -> None:
    rows = [{"prompt": ASK, "completion": SAY, "label": label} for label in (False, True)]
    table = table_in(tmp_path, *rows)
    assert [example.row for example in read_examples(table, guess_mapping(table))] == [2]
    good = {"messages": openai(("user", ASK), ("assistant", SAY))}
    unusable = [{"messages": openai(("user", ASK))}, {"messages": openai(("assistant", SAY))}, {"messages": "none"}]
    table = table_in(tmp_path, good, good, good, *unusable, good)
    assert [example.row for example in read_examples(table, guess_mapping(table))] == [1, 2, 3, 7]


def test_the_person_can_overrule_the_shape(tmp_path: Path) -> None:
    table = table_in(tmp_path, {"instruction": "Translate.", "input": ASK, "output": SAY})
    assert guess_mapping(table) == Mapping(input="instruction", output="output", shape="instruction")
    [example] = read_examples(table, Mapping(input="input", output="output"))
    assert example.input == ASK
