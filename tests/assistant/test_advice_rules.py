"""The engine that reads the rules: which conditions hold, and what is said of a broken file."""

from __future__ import annotations

from importlib.resources import files

import pytest
import yaml

from assistant.advice.facts import Facts
from assistant.advice.looking import knowledge_in, parameters_in
from assistant.advice.rules import Condition, holds, parse_rules, rules
from prompts.errors import DataError

FACTS = Facts(train_rows=40, labels=3, task="chat", target=0.8, score_low=0.9, lora_fits=True)
LIMITS = {"few_rows": 40.0}


@pytest.mark.parametrize(
    ("when", "held"),
    [
        ({}, True),
        ({"train_rows": "< 40"}, False),
        ({"train_rows": "<= 40"}, True),
        ({"train_rows": ">= few_rows"}, True),
        ({"train_rows": "!= 40"}, False),
        ({"train_rows": 40}, True),
        ({"train_rows": [">= 40", "< 100"]}, True),
        ({"train_rows": ["> 40", "< 100"]}, False),
        ({"task": ["code", "chat"]}, True),
        ({"task": ["code", "translation"]}, False),
        ({"score_low": ">= target"}, True),
        ({"score_low": "known"}, True),
        ({"score_low": "unknown"}, False),
        ({"latency_ms": "unknown"}, True),
        ({"latency_ms": "> 0"}, False),  # nobody knows it
        ({"latency_ms": "<= 1"}, False),
        ({"score_low": ">= latency_ms"}, False),
        ({"lora_fits": True}, True),
        ({"lora_fits": False}, False),
        ({"full_fits": False}, False),  # nobody knows it
        ({"train_rows": ">= 1", "labels": 0}, False),
        ({"any": [{"labels": 0}, {"train_rows": "< 50"}]}, True),
        ({"any": [{"labels": 0}, {"train_rows": "< 30"}]}, False),
        ({"any": [{"labels": 3, "task": "code"}, {"labels": 2}]}, False),
    ],
)
def test_conditions(when: Condition, held: bool) -> None:
    assert holds(when, FACTS, LIMITS) is held


def broken(change: str) -> str:
    """The rules that come with Tunewright, with one line of `option.prompt.rules[0]` changed."""
    text = files("assistant.advice").joinpath("rules.yaml").read_text("utf-8")
    raw = yaml.safe_load(text)
    rule = raw["options"]["prompt"]["rules"][0]
    key, value = change.split("=", 1)
    if value == "-":
        del rule[key]
    else:
        rule[key] = yaml.safe_load(value)
    return yaml.safe_dump(raw, sort_keys=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("when={trian_rows: 3}", ["prompt-unmeasurable", "'when'", "trian_rows", "train_rows"]),
        ("when={train_rows: '< fewrows'}", ["prompt-unmeasurable", "'when.train_rows'", "fewrows", "few_rows"]),
        ("when={any: [{trian_rows: 3}]}", ["prompt-unmeasurable", "trian_rows"]),
        ("source=brwon", ["prompt-unmeasurable", "'source'", "brwon", "brown"]),
        ("reason='{trian_rows} are few'", ["prompt-unmeasurable", "'reason'", "trian_rows"]),
        ("changes=['From {fewrows} on']", ["prompt-unmeasurable", "'changes'", "fewrows"]),
        ("standing=perhaps", ["prompt-unmeasurable", "standing"]),
        ("because=x", ["prompt-unmeasurable", "because"]),
        ("source=-", ["prompt-unmeasurable", "source"]),
        ("id=prompt-good", ["two rules", "prompt-good"]),
    ],
)
def test_a_broken_rule_is_told_with_file_rule_and_key(change: str, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        parse_rules(broken(change), "my-rules.yaml")
    for word in ["my-rules.yaml", *words]:
        assert word in str(caught.value)
    assert caught.value.hint


def test_an_option_whose_last_rule_does_not_always_hold_is_refused() -> None:
    raw = yaml.safe_load(files("assistant.advice").joinpath("rules.yaml").read_text("utf-8"))
    raw["options"]["lora"]["rules"][-1]["when"] = {"labels": 0}
    with pytest.raises(DataError, match="lora-enough"):
        parse_rules(yaml.safe_dump(raw), "rules.yaml")
    del raw["options"]["full"]
    with pytest.raises(DataError, match="full"):
        parse_rules(yaml.safe_dump(raw), "rules.yaml")


def test_text_that_is_no_yaml_is_told() -> None:
    with pytest.raises(DataError, match=r"rules\.yaml is not valid YAML"):
        parse_rules("options: [", "rules.yaml")


def test_every_fact_can_be_told() -> None:
    words = Facts().words()
    assert set(words) == set(Facts.model_fields)
    told = Facts(rows=1, train_rows=3000, labels=12, memory_gb=24, target=0.9, parameters=7e9, max_latency_ms=50)
    assert [told.told(name) for name in ("rows", "train_rows", "labels", "memory_gb", "target", "parameters")] == [
        "1 row", "3,000 training rows", "12 labels", "24 GB", "90%", "7.0 billion weights"
    ]  # fmt: skip
    assert dict(told.known())["labels"] == "12 labels"


def test_limits_say_why_they_are_what_they_are() -> None:
    assert all(limit.why for limit in rules().limits.values())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Answer from our handbook", "handbook"),
        ("What do the CONTRACTS say", "contracts"),
        ("Fragen zu unseren Verträgen und Preisen", "verträgen"),
        ("Questions sur les tarifs", "tarifs"),
        ("Preguntas sobre los horarios", "horarios"),
        ("Route tickets to the team that should answer", None),
        ("Rewrite mails in a friendlier tone", None),
        ("Documentary films by genre", None),
    ],
)
def test_words_that_ask_for_documents(text: str, found: str | None) -> None:
    told = knowledge_in(text)
    assert (found in told) if found and told else told is found


@pytest.mark.parametrize(
    ("ref", "parameters"),
    [("org/Model-7B-Instruct", 7e9), ("org/small-360M", 360e6), ("org/Qwen2.5-0.5B", 0.5e9), ("org/model", None)],
)
def test_the_size_in_a_models_name(ref: str, parameters: float | None) -> None:
    assert parameters_in(ref) == parameters
