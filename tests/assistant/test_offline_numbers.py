"""Numbers in four languages, and what they are numbers of."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.dialogue.offline.amounts import amounts
from assistant.dialogue.offline.numbers import in_digits, numbers
from assistant.dialogue.offline.text import Language
from prompts.spec import TaskSpec


@pytest.mark.parametrize(
    ("text", "language", "value"),
    [
        ("nine hundred and forty", "en", 940),
        ("eighty-five pairs", "en", 85),
        ("5k rows", "en", 5000),
        ("a couple of hundred", "en", 200),
        ("half an hour", "en", 30),
        ("1'800 Stück", "de", 1800),
        ("siebenhundert", "de", 700),
        ("12.500 Satzpaare", "de", 12500),
        ("eine Dreiviertelstunde", "de", 45),
        ("trois cent cinquante", "fr", 350),
        ("nonante", "fr", 90),
        ("6 500 phrases", "fr", 6500),
        ("une heure et quart", "fr", 75),
        ("2 fois 1 000 mails", "fr", 2000),
        ("9 mil llamadas", "es", 9000),
        ("mil doscientos", "es", 1200),
        ("tres cuartos de hora", "es", 45),
        ("segundo y medio", "es", 1.5),
        ("0,85", "es", 0.85),
    ],
)
def test_reads_numbers(text: str, language: Language, value: float) -> None:
    assert [number.value for number in numbers(text, language)] == [value]


def test_unos_is_no_number() -> None:
    assert "1" not in in_digits("unos pares", "es")


@pytest.mark.parametrize(
    ("text", "language", "facts"),
    [
        ("our head nurse sorted 612 of them", "en", {"examples": 612}),
        ("merely 730 have a reworded version", "en", {"examples": 730}),
        ("we get 400 emails a day", "en", {}),
        ("there are 12 teams and 2019 was a good year", "en", {}),
        ("two sites, 300 employees", "en", {}),
        ("11,000 claims since 2019 but only 1,300 of them are labelled", "en", {"examples": 1300}),
        ("about 210 from last year", "en", {"examples": 210}),
        ("350 hamma händisch abgetippt", "de", {"examples": 350}),
        ("Beispiele hab ich leider nur 65", "de", {"examples": 65}),
        ("Fitnesskette, 31 Studios", "de", {}),
        ("Pares tengo 1.050", "es", {"examples": 1050}),
        ("Transcritas a mano llevo ciento ochenta", "es", {"examples": 180}),
        ("On en a 2 800 déjà répartis à la main", "fr", {"examples": 2800}),
        ("a card with 24 gigs of VRAM", "en", {"gpu_memory_gb": 24, "device": "cuda"}),
        ("a laptop with 16 GB of RAM", "en", {}),
        ("RTX 3090", "en", {"gpu_memory_gb": 24, "device": "cuda"}),
        ("no GPU, an old laptop", "en", {"device": "cpu"}),
        ("eine Grafikkarte hat es nicht", "de", {"device": "cpu"}),
        ("un PC sans GPU", "fr", {"device": "cpu"}),
        ("un iMac M3", "fr", {"device": "mps"}),
        ("200 ms per note", "en", {"max_latency_ms": 200}),
        ("half a second per answer", "en", {"max_latency_ms": 500}),
        ("Antwortzeit bitte unter 700ms", "de", {"max_latency_ms": 700}),
        ("training max 2 h", "en", {"time_budget_minutes": 120}),
        ("5 heures de calcul", "fr", {"time_budget_minutes": 300}),
        ("an hour-long meeting every week", "en", {}),
        ("88 percent is good enough", "en", {"target_score": 0.88}),
        ("mindestens 0,35", "de", {"target_score": 0.35}),
        ("10 % discount for members", "en", {}),
    ],
)
def test_knows_what_a_number_counts(text: str, language: Language, facts: dict[str, Any]) -> None:
    assert amounts(text, language, TaskSpec(), correcting=False) == facts


def test_a_correction_replaces_the_count() -> None:
    spec = TaskSpec().updated("said", examples=650)
    assert amounts("560", "en", spec, correcting=True) == {"examples": 560}
    assert amounts("the 650: after dedup it's 600", "en", spec, correcting=False) == {"examples": 600}


def test_memory_goes_with_the_card() -> None:
    spec = TaskSpec().updated("said", gpu_memory_gb=24.0, device="cuda")
    assert amounts("CPU only then", "en", spec, correcting=True) == {"device": "cpu", "gpu_memory_gb": None}
