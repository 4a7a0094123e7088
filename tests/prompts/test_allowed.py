"""What an answer may be, and that it is part of a version's identity."""

import json

import pytest
from pydantic import ValidationError

from prompts.allowed import Allowed, allowed_for
from prompts.versions import PromptVersion


def test_labels_are_choices() -> None:
    allowed = allowed_for(["a", "b", "a"], ['{"x": 1}'])
    assert allowed is not None and allowed.choices == ("a", "b") and allowed.told == "one of 2 answers"


def test_json_answers_give_a_schema_that_they_follow() -> None:
    outputs = ['{"city": "Rome", "people": 2}', '{"city": null, "people": 3, "tags": ["a"]}']
    allowed = allowed_for([], outputs)
    assert allowed is not None
    assert allowed.schema_object == {
        "type": "object",
        "properties": {
            "city": {"type": ["null", "string"]},
            "people": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    assert allowed.told == "JSON with city, people, tags"
    assert allowed.guided_schema["x-guidance"]["key_separator"] == ": "


def test_keys_stand_in_the_order_that_examples_mostly_have() -> None:
    outputs = ['{"b": "x"}', '{"a": "x", "b": "y"}', '{"a": "x", "b": "y", "c": "z"}', '{"a": "x", "c": "z"}']
    allowed = allowed_for([], outputs)
    assert allowed is not None and list(allowed.schema_object["properties"]) == ["a", "b", "c"]


def test_keys_that_are_only_named_may_be_left_out_or_null() -> None:
    allowed = allowed_for([], [], ["name"])
    assert allowed is not None and list(allowed.schema_object["properties"]) == ["name"]


@pytest.mark.parametrize("outputs", [["a sentence"], ['{"a": 1}', "no JSON"], ["[1]"], []])
def test_free_text_is_held_to_nothing(outputs: list[str]) -> None:
    assert allowed_for([], outputs) is None


@pytest.mark.parametrize("wrong", [{}, {"choices": ("a", "a")}, {"choices": ("a", " ")}, {"json_schema": "{"}])
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Allowed.model_validate(wrong)


def test_what_is_allowed_makes_another_version_and_survives_being_written() -> None:
    plain = PromptVersion(system="Classify.")
    held = plain.revised(reason="only labels", allowed=Allowed(choices=("a", "b")))
    assert held.id != plain.id and held.parent == plain.id
    assert PromptVersion.model_validate_json(held.model_dump_json()) == held
    assert held.sampling(8).allowed == held.allowed
    assert json.loads(plain.model_dump_json())["allowed"] is None


def test_ids_of_versions_without_it_are_as_they_were() -> None:
    assert PromptVersion(system="Classify.").id == "9e225ac6d835"
