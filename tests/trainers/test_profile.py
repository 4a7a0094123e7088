"""What the profile finds in the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompts.versions import PromptVersion
from tests.trainers.checked import data_of
from trainers.checks import Checked
from trainers.checks.finding import Finding
from trainers.profile import DatasetProfile, profile_data
from trainers.tokens import TokenCounter


def profiled(rows: list[tuple[str, str]], tokens: TokenCounter | None = None) -> DatasetProfile:
    return profile_data(data_of(rows), PromptVersion(system="Classify."), tokens)[0]


GOOD = [(f"text {i}", "ab"[i % 2]) for i in range(20)]


@pytest.mark.parametrize(
    ("rows", "severity", "words", "at"),
    [
        ([*GOOD, ("", "a"), ("x", " ")], "warning", "1 row without an input", (21,)),
        ([*GOOD, ("", "a"), ("x", " ")], "warning", "1 row without an answer", (22,)),
        ([*GOOD, ("TEXT  1", "b")], "info", "1 row with an input that is there already", (21,)),
        ([*GOOD, ("text 1", "a")], "warning", "2 rows have the same input but different answers", (2, 21)),
        ([*GOOD, ("rare one", "c")], "warning", "Fewer than 8 examples for: c", ()),
        ([(f"text {i}", "a") for i in range(20)], "error", "Every row has the same answer", ()),
    ],
)
def test_findings(rows: list[tuple[str, str]], severity: str, words: str, at: tuple[int, ...]) -> None:
    [finding] = [finding for finding in profiled(rows).findings if words in finding.text]
    assert (finding.severity, finding.rows) == (severity, at)


def test_good_data_has_no_findings() -> None:
    profile = profiled(GOOD)
    assert profile.findings == ()
    assert (profile.rows, profile.usable, profile.labels) == (20, 20, {"a": 10, "b": 10})
    assert (profile.median_tokens, profile.longest_tokens) == (0, 0)


def test_lengths_are_those_of_the_rows_that_would_be_trained_on(tiny_model: Path) -> None:
    rows = [*GOOD, ("longer " * 30, "a")]
    profile = profiled(rows, TokenCounter(tiny_model))
    assert len(profile.token_lengths) == 21
    assert profile.longest_tokens == profile.token_lengths[-1] > profile.median_tokens > 10
    assert profile.answer_tokens == 3, "the letter, the end of the turn, the template's line end"


def test_a_profile_tells_p95_cuts_and_languages(tiny_model: Path) -> None:
    rows = [*GOOD, *[(f"where is the parcel with the number {n}", "ab"[n % 2]) for n in range(20)]]
    counter = TokenCounter(tiny_model)
    profile = profiled([*rows, ("longer " * 600, "a")], counter)
    assert profile.median_tokens <= profile.p95_tokens < profile.longest_tokens
    assert profile.cut_at[512] == 1 and counter.limit in profile.cut_at
    assert profile.languages["en"] >= 20
    [finding] = [finding for finding in profile.findings if finding.check == "too_long"]
    assert finding.rows == (41,)
    assert profiled(rows).cut_at == {}


def test_p95_is_the_length_that_all_but_a_twentieth_do_not_exceed() -> None:
    profile = DatasetProfile(rows=100, usable=100, labels={}, token_lengths=tuple(range(1, 101)))
    assert sum(length > profile.p95_tokens for length in profile.token_lengths) <= 5


def test_findings_that_are_known_already_are_not_looked_for_again() -> None:
    checked = Checked(findings=(Finding(check="c", severity="info", text="known"),), languages={"en": 1})
    profile, same = profile_data(data_of([("x", "a")]), PromptVersion(), None, checked)
    assert (profile.findings, profile.languages) == (checked.findings, {"en": 1})
    assert same is checked
