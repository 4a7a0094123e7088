"""Keys and passwords are masked; what only looks unusual is not."""

from __future__ import annotations

import pytest

from assistant.dialogue.keys import MASK, masked

TAIL = "Abc123def456GHI789jkl012mno345"


@pytest.mark.parametrize(
    "key",
    [
        f"sk-{TAIL}",
        f"sk-proj-{TAIL}_x-9",
        f"sk-ant-api03-{TAIL}",
        f"sk_live_{TAIL}",
        f"hf_{TAIL}",
        f"ghp_{TAIL}",
        f"github_pat_{TAIL}",
        f"glpat-{TAIL}",
        f"nvapi-{TAIL}",
        "AKIAIOSFODNN7EXAMPLE",
        f"AIza{TAIL}abcd",
        f"xoxb-{TAIL}",
        f"eyJ{TAIL}.{TAIL}.{TAIL}",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\ncut off",
    ],
)
def test_a_key_is_masked_wherever_it_stands(key: str) -> None:
    assert masked(f"use {key}\nplease") in ((f"use {MASK}\nplease", 1), (f"use {MASK}", 1))
    assert masked(key) == (MASK, 1)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("password: hunter2!x", f"password: {MASK}"),
        ("my API key is 0123456789abcdef", f"my API key is {MASK}"),
        ("Passwort = geheim!99", f"Passwort = {MASK}"),
        (f"Authorization: Bearer {TAIL}", f"Authorization: Bearer {MASK}"),
        (f"api_key={TAIL} and hf_{TAIL}", f"api_key={MASK} and {MASK}"),
    ],
)
def test_what_is_called_a_key_is_one(text: str, left: str) -> None:
    assert masked(text) == (left, left.count(MASK))


@pytest.mark.parametrize(
    "text",
    [
        "fine-tune HuggingFaceTB/SmolLM2-360M-Instruct on 2,000 rows",
        "sha256 b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "customers forget their password; the label is password reset",
        "classify: lost password, stolen card, api key questions",
        "risk-sk-assessment and desk-sk notes",
    ],
)
def test_descriptions_survive(text: str) -> None:
    assert masked(text) == (text, 0)
