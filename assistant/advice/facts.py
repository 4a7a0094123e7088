"""The facts that rules look at: one flat record, and how each is told in words.

Owns the fields and their words. Refuses to derive them (that is `looking`) and to judge them. A fact that nobody knows
is None; no comparison holds of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict

from prompts.spec import TaskKind


class Facts(BaseModel):
    """All that advice rests on. Times in minutes or milliseconds, memory in GB, scores in [0, 1]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The task.
    task: TaskKind | None = None
    output_format: str | None = None
    knowledge: str | None = None
    wants_preferences: bool = False
    # The data.
    data_there: bool = False
    rows: int = 0
    answered: int = 0
    train_rows: int = 0
    dev_rows: int = 0
    labels: int = 0
    rarest: int | None = None
    rarest_train: int | None = None
    rarest_label: str | None = None
    unknown_labels: str | None = None
    missing_labels: str | None = None
    data_labels: tuple[str, ...] = ()
    mean_tokens: float | None = None
    longest_tokens: int | None = None
    base_limit: int | None = None
    answer_tokens: int | None = None
    errors: int = 0
    error: str | None = None
    load: float | None = None
    pairs: int = 0
    thumbs: int = 0
    episode_labels: int = 0
    # The prompt.
    score: str | None = None
    score_low: float | None = None
    best_prompt: str | None = None
    shown: int = 0
    # What the person wants.
    minutes: float | None = None
    max_latency_ms: int | None = None
    target: float | None = None
    provable: float | None = None
    rows_to_prove: int | None = None
    local_only: bool = False
    # The machine and the base model.
    device: str = "cpu"
    device_said: str | None = None
    machine: str = ""
    memory_gb: float = 0.0
    base: str = ""
    wanted_base: str | None = None
    parameters: float = 0.0
    parent: bool = False
    # What it would take here.
    epoch_minutes: float | None = None
    lora: str | None = None
    lora_gb: float | None = None
    lora_fits: bool | None = None
    lora_card: str | None = None
    lora_rank: int | None = None
    used_rows: int | None = None
    general_rows: int = 0
    full_gb: float | None = None
    full_fits: bool | None = None
    full_card: str | None = None
    serving_gb: float | None = None
    latency_ms: float | None = None
    few_shot_ms: float | None = None
    few_shot_tokens: int | None = None
    to_show: int | None = None
    latency_enough: int | None = None
    minutes_enough: int | None = None
    minutes_there: float | None = None
    meta_minutes: float | None = None
    # Other base models of the catalogue.
    smaller: str | None = None
    smaller_fits: str | None = None
    smaller_fits_ref: str | None = None
    smaller_gb: float | None = None
    smaller_size: float | None = None
    smaller_quick: str | None = None
    smaller_quick_ref: str | None = None
    smallest: str | None = None
    smallest_ref: str | None = None
    smallest_ms: float | None = None
    smallest_enough: int | None = None
    larger: str | None = None
    larger_fits: str | None = None
    larger_fits_ref: str | None = None
    larger_gb: float | None = None
    larger_minutes: float | None = None
    larger_size: float | None = None

    def told(self, name: str) -> str:
        """A fact in words; "not known" where it is not."""
        value = getattr(self, name)
        return "not known" if value is None else _WORDS[name](value)

    def words(self) -> dict[str, str]:
        """Every fact in words, by name."""
        return {name: self.told(name) for name in type(self).model_fields}

    def known(self) -> tuple[tuple[str, str], ...]:
        """The facts for a person, by title; what is not known or says nothing is left out."""
        shown = ((title, name) for name, title in _TITLES.items())
        return tuple(
            (title, self.told(name)) for title, name in shown if getattr(self, name) not in (None, "", 0, False)
        )


def count(noun: str, plural: str = "") -> Callable[[int], str]:
    """ "1 row", "3,000 rows"."""
    return lambda value: f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def _share(value: float) -> str:
    return f"{value:.0%}"


def _gb(value: float) -> str:
    return f"{value:.0f} GB" if value >= 10 else f"{value:.1f} GB"


def _minutes(value: float) -> str:
    if value >= 120:
        return f"{value / 60:.0f} hours"
    return "less than a minute" if value < 0.75 else count("minute")(round(value))


def _milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.0f} s"


def _weights(value: float) -> str:
    return f"{value / 1e9:.1f} billion weights" if value >= 1e9 else f"{value / 1e6:.0f} million weights"


def _task(value: str) -> str:
    return value.replace("_", " ")


def _device(value: str) -> str:
    return {"cpu": "a CPU", "cuda": "a GPU"}.get(value, value)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


_WORDS: dict[str, Callable[[Any], str]] = {
    "task": _task,
    "output_format": {"label": "labels", "json": "JSON", "text": "free text"}.__getitem__,
    "knowledge": str,
    "wants_preferences": _yes,
    "data_there": _yes,
    "rows": count("row"),
    "answered": count("example"),
    "train_rows": count("training row"),
    "dev_rows": count("dev row"),
    "labels": lambda value: count("label")(value) if value else "free answers",
    "rarest": count("row"),
    "rarest_train": count("training row"),
    "rarest_label": str,
    "unknown_labels": str,
    "missing_labels": str,
    "data_labels": ", ".join,
    "mean_tokens": lambda value: count("token")(round(value)),
    "longest_tokens": count("token"),
    "base_limit": count("token"),
    "answer_tokens": count("token"),
    "errors": count("error"),
    "error": str,
    "load": lambda value: f"{value:.1f} times" if value >= 0.1 else "a small part of",
    "pairs": count("pair"),
    "thumbs": count("thumb"),
    "episode_labels": count("label"),
    "score": str,
    "score_low": _share,
    "best_prompt": str,
    "shown": count("solved example"),
    "minutes": _minutes,
    "max_latency_ms": _milliseconds,
    "target": _share,
    "provable": _share,
    "rows_to_prove": count("dev row"),
    "local_only": _yes,
    "device": _device,
    "device_said": _device,
    "machine": str,
    "memory_gb": _gb,
    "base": str,
    "wanted_base": str,
    "parameters": _weights,
    "parent": _yes,
    "epoch_minutes": _minutes,
    "lora": str,
    "lora_gb": _gb,
    "lora_fits": _yes,
    "lora_card": str,
    "lora_rank": str,
    "used_rows": "{:,}".format,
    "general_rows": count("general question"),
    "full_gb": _gb,
    "full_fits": _yes,
    "full_card": str,
    "serving_gb": _gb,
    "latency_ms": _milliseconds,
    "few_shot_ms": _milliseconds,
    "few_shot_tokens": count("token"),
    "to_show": count("solved example"),
    "latency_enough": _milliseconds,
    "minutes_enough": _minutes,
    "minutes_there": _minutes,
    "meta_minutes": _minutes,
    "smaller": str,
    "smaller_fits": str,
    "smaller_fits_ref": str,
    "smaller_gb": _gb,
    "smaller_size": _weights,
    "smaller_quick": str,
    "smaller_quick_ref": str,
    "smallest": str,
    "smallest_ref": str,
    "smallest_ms": _milliseconds,
    "smallest_enough": _milliseconds,
    "larger": str,
    "larger_fits": str,
    "larger_fits_ref": str,
    "larger_gb": _gb,
    "larger_minutes": _minutes,
    "larger_size": _weights,
}
# What a person is shown of them, in this order.
_TITLES = {
    "task": "task",
    "output_format": "answers",
    "answered": "data",
    "train_rows": "to train on",
    "dev_rows": "to measure on",
    "labels": "labels",
    "rarest": "of the rarest label",
    "pairs": "preferences",
    "thumbs": "thumbs",
    "mean_tokens": "tokens a row, on average",
    "longest_tokens": "the longest row",
    "answer_tokens": "the longest answer",
    "errors": "errors in the data",
    "score": "the prompt alone, on the dev rows",
    "target": "score that is enough",
    "minutes": "time",
    "max_latency_ms": "time for an answer",
    "knowledge": "asks for knowledge",
    "machine": "machine",
    "base": "base model",
    "parameters": "its size",
    "lora_gb": "memory for LoRA",
    "full_gb": "memory for full tuning",
    "serving_gb": "memory to answer",
    "latency_ms": "an answer takes about",
}
