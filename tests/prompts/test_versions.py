"""Prompt versions: identity by content, and the chat that they make of an input."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from prompts.errors import PromptError
from prompts.versions import Demonstration, PromptVersion

SHOWN = (Demonstration(input="I paid twice", output="billing"),)
WHOLE = PromptVersion(system="Classify.", template="Ticket: {{ input }}", demonstrations=SHOWN)


@pytest.mark.parametrize(
    "part",
    [
        {"system": "Classify!"},
        {"template": "{{ input }}"},
        {"demonstrations": ()},
        {"demonstrations": (Demonstration(input="I paid twice", output="returns"),)},
    ],
)
def test_each_of_the_three_parts_changes_the_id(part: dict[str, object]) -> None:
    assert PromptVersion.model_validate({**WHOLE.model_dump(), **part}).id != WHOLE.id


@pytest.mark.parametrize("about", [{"parent": "abc"}, {"author": "tunewright"}, {"reason": "clearer"}])
def test_what_is_only_about_a_version_leaves_the_id_alone(about: dict[str, object]) -> None:
    assert PromptVersion.model_validate({**WHOLE.model_dump(), **about}).id == WHOLE.id


def test_the_id_is_twelve_hex_digits_and_stable_across_releases() -> None:
    assert PromptVersion(system="Classify.").id == "9e225ac6d835"


def test_a_version_survives_being_written_and_gets_a_new_id_where_it_was_edited() -> None:
    written = WHOLE.model_dump(mode="json")
    assert PromptVersion.model_validate(written) == WHOLE
    assert PromptVersion.model_validate_json(WHOLE.model_dump_json()).id == WHOLE.id
    edited = PromptVersion.model_validate({**written, "system": "Another."})
    assert edited.id == PromptVersion(system="Another.", template=WHOLE.template, demonstrations=SHOWN).id


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ input", "not valid Jinja"),
        ("{{ input | shout }}", "not valid Jinja.*shout"),
        ("{{ input }} {{ context }}", "uses {{ context }}"),
        ("Classify this.", "never uses {{ input }}"),
        ("", "never uses {{ input }}"),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_the_reason(template: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        PromptVersion(template=template)


def test_a_misspelt_part_is_refused() -> None:
    with pytest.raises(ValidationError, match="sytem"):
        PromptVersion.model_validate({"sytem": "Classify."})


@pytest.mark.parametrize("template", ["{{ input.subject }}", "{{ input + 1 }}", "{{ 1 / 0 }}{{ input }}"])
def test_a_template_that_fails_while_rendering_is_a_prompt_error(template: str) -> None:
    with pytest.raises(PromptError, match="cannot be rendered"):
        PromptVersion(template=template).messages("hello")


def test_the_chat_is_system_then_demonstrations_as_turns_then_the_input() -> None:
    assert [(m.role, m.content) for m in WHOLE.messages("It broke")] == [
        ("system", "Classify."),
        ("user", "Ticket: I paid twice"),
        ("assistant", "billing"),
        ("user", "Ticket: It broke"),
    ]


def test_a_blank_system_prompt_is_left_out() -> None:
    assert [m.role for m in PromptVersion(system=" \n").messages("x")] == ["user"]


@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% if %}", "<b>&amp;</b>", " spaces kept \n", "naïve 😀"])
def test_the_input_reaches_the_model_as_it_is(text: str) -> None:
    assert PromptVersion().messages(text)[-1].content == text


def test_a_template_cannot_reach_into_python() -> None:
    reaching = PromptVersion(template="{{ input.__class__.__mro__ }}")
    with pytest.raises(PromptError):
        reaching.messages("x")
