"""Two versions side by side."""

from __future__ import annotations

from prompts.allowed import Allowed
from prompts.diff import side_by_side, summary
from prompts.versions import Demonstration, PromptVersion

BEFORE = PromptVersion(
    system="Classify the ticket. Be kind.",
    demonstrations=(Demonstration(input="a", output="x"), Demonstration(input="b", output="y")),
)
AFTER = BEFORE.revised(
    reason="better",
    system="Classify the mail. Be kind and brief.",
    demonstrations=(Demonstration(input="b", output="y"), Demonstration(input="c", output="x")),
    allowed=Allowed(choices=("x", "y")),
)


def marked(segments: tuple[object, ...], kind: str) -> list[str]:
    return [s.text for s in segments if s.kind == kind]  # type: ignore[attr-defined]


def test_both_sides_read_as_they_are_and_only_what_differs_is_marked() -> None:
    rows = {row.part: row for row in side_by_side(BEFORE, AFTER)}
    system = rows["system"]
    assert "".join(s.text for s in system.left) == BEFORE.system
    assert "".join(s.text for s in system.right) == AFTER.system
    assert marked(system.left, "removed") == ["ticket"]
    assert marked(system.right, "added") == ["mail", " and brief"]
    assert not rows["turn"].changed
    assert marked(rows["answers"].right, "added")[-1].endswith("answers")


def test_examples_that_stayed_are_left_out() -> None:
    examples = [row for row in side_by_side(BEFORE, AFTER) if row.part == "example"]
    assert ["".join(s.text for s in row.left) for row in examples] == ["a → x", ""]
    assert ["".join(s.text for s in row.right) for row in examples] == ["", "c → x"]


def test_the_same_version_shows_no_change() -> None:
    assert not any(row.changed for row in side_by_side(BEFORE, BEFORE))
    assert summary(BEFORE, BEFORE) == "no change"
    assert summary(BEFORE, AFTER) == "system prompt: +3 −1 words, 2 → 2 examples, answers held to one of 2 answers"
