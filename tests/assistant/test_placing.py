"""Which engine holds what, and what that takes. Nothing is started here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assistant.serving.placing import Key, Seat, Site, place
from assistant.serving.served import ServedModel
from prompts.errors import EngineError
from tests.assistant.serving_kit import Shelf, served
from trainers.strategies import FullStrategy, LoraStrategy, PromptTuningStrategy
from trainers.strategies.strategy import Strategy

CPU = Site(vllm=True, attached=False, on_gpu=False, dtype="float32", free_gb=24, cache_gb=1)
GPU = replace(CPU, on_gpu=True, free_gb=40)
EMBEDDED = replace(CPU, vllm=False)
ELSEWHERE = replace(CPU, vllm=False, attached=True)


def on_shelf(shelf: Shelf, kinds: str) -> list[ServedModel]:
    return [served(kind, None if kind == "tiny" else shelf[kind], shelf.local) for kind in kinds.split()]


def told(seats: tuple[Seat, ...]) -> dict[str, str]:
    return {seat.mode: " ".join(sorted(model.name for model in seat.models)) for seat in seats}


@pytest.mark.parametrize(
    ("site", "kinds", "expected"),
    [
        (CPU, "tiny", {"adapters": "tiny"}),
        (CPU, "tiny lora lora2", {"adapters": "lora lora2 tiny"}),
        (CPU, "tiny soft", {"soft": "soft tiny"}),  # one server is enough: the base is on it
        (CPU, "tiny lora soft", {"adapters": "lora tiny", "soft": "soft"}),
        (CPU, "tiny dora", {"embedded": "dora tiny"}),
        (CPU, "tiny lora dora with_head", {"adapters": "lora tiny", "embedded": "dora with_head"}),
        (CPU, "tiny full", {"adapters": "tiny", "whole": "full"}),
        (GPU, "tiny lora soft", {"adapters": "lora soft tiny"}),
        (EMBEDDED, "tiny lora soft dora full", {"embedded": "dora full lora soft tiny"}),
        (ELSEWHERE, "tiny lora", {"attached": "lora tiny"}),
        (ELSEWHERE, "tiny lora soft full", {"attached": "lora tiny", "embedded": "full soft"}),
    ],
)
def test_where_they_go(shelf: Shelf, site: Site, kinds: str, expected: dict[str, str]) -> None:
    seats = place(on_shelf(shelf, kinds), site)
    assert told(seats) == expected
    assert {seat.engine for seat in seats if seat.mode != "embedded"} <= {"vLLM"}


def test_a_base_alone_goes_where_a_server_of_it_runs(shelf: Shelf) -> None:
    running: list[Key] = [("embedded", "embedded", str(shelf.base)), ("vLLM", "soft", str(shelf.base))]
    assert told(place(on_shelf(shelf, "tiny"), CPU, running)) == {"soft": "tiny"}
    assert told(place(on_shelf(shelf, "tiny"), CPU, [("vLLM", "soft", "/another/base")])) == {"adapters": "tiny"}


def test_memory_is_counted_and_what_does_not_fit_is_refused_with_the_figures(shelf: Shelf) -> None:
    seats = place(on_shelf(shelf, "tiny lora soft"), CPU)
    assert all(3.5 < seat.memory_gb < 3.7 for seat in seats)  # a tiny model: the process and its cache
    with pytest.raises(
        EngineError, match=r"take about 7\.2 GB, and 7\.0 GB are free: vLLM on tiny with LoRA"
    ) as caught:
        place(on_shelf(shelf, "tiny lora soft"), replace(CPU, free_gb=7))
    assert "Compare fewer" in str(caught.value)


def test_a_whole_model_goes_to_the_embedded_engine_where_a_second_vllm_does_not_fit(shelf: Shelf) -> None:
    seats = place(on_shelf(shelf, "tiny lora full"), replace(CPU, free_gb=6))
    assert told(seats) == {"adapters": "lora tiny", "embedded": "full"}


def test_on_a_gpu_servers_divide_its_memory(shelf: Shelf) -> None:
    seats = place(on_shelf(shelf, "tiny full"), GPU)
    assert [seat.share for seat in seats] == pytest.approx([0.42, 0.42], abs=0.02)
    [alone] = place(on_shelf(shelf, "tiny lora"), GPU)
    assert alone.share == 0.85
    vllm = next(seat for seat in place(on_shelf(shelf, "tiny lora dora"), GPU) if seat.engine == "vLLM")
    assert 0.75 < vllm.share < 0.85, "the embedded engine is on the same GPU"


def test_the_rank_that_a_server_needs_is_the_largest_one(shelf: Shelf) -> None:
    [seat] = place(on_shelf(shelf, "tiny lora rank64"), CPU)
    assert seat.rank == 64


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [
        (LoraStrategy(), "lora"),
        (LoraStrategy(use_rslora=True), "lora2"),
        (LoraStrategy(use_dora=True), "dora"),
        (PromptTuningStrategy(), "soft"),
        (FullStrategy(), "full"),
    ],
)
def test_what_was_said_before_the_training_is_what_is_done(shelf: Shelf, strategy: Strategy, kind: str) -> None:
    seats = place(on_shelf(shelf, f"tiny {kind}"), CPU)
    at = next(seat for seat in seats if kind in {model.name for model in seat.models})
    assert strategy.serving.vllm == (at.engine == "vLLM")
