"""Deriving the facts: from spec, profile, splits, machine, scores and estimates to the one record that rules look at.

Owns each derivation. Refuses to judge what it finds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from math import ceil, inf
from typing import Any

import yaml

from assistant.advice.costs import estimate_of, machine_of
from assistant.advice.facts import Facts
from assistant.advice.making import Made, episode_labels, larger_than, smaller_than
from assistant.advice.plans import minutes_for
from assistant.advice.records import Kind
from assistant.advice.situation import Situation
from prompts.spec import TaskSpec
from trainers.estimating.machines import known_machines
from trainers.estimating.records import Fit, TrainingEstimate
from trainers.estimating.workload import adapter_parameters, figures_of
from trainers.models import CatalogueEntry, catalogue
from trainers.plan import TrainingPlan
from trainers.strategies import FewShotStrategy, LoraStrategy

_Z = 1.959963984540054  # of a 95 % interval
_ROOM = 0.92  # of the memory: the rest is the system's
_BITS = 2.0  # that a weight can hold, where an answer's token needs about one: Schulman et al. 2025
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", re.IGNORECASE)


def facts_of(situation: Situation, made: Mapping[Kind, Made]) -> Facts:
    """The facts of a project with data; `made` has the options' plans and estimates, as far as there are any."""
    spec = situation.project.spec
    found: dict[str, Any] = {**_task(spec), **_data(situation), **_prompt(situation), **_machine(situation)}
    found |= _wishes(spec, found["dev_rows"])
    found |= _takes(situation, made) if made else {}
    found |= _wanted(situation, found)
    return Facts(**found, **_others(situation, found))


def facts_without_data(spec: TaskSpec) -> Facts:
    """What is known before there is data: the wishes alone, so that no base model has to be there."""
    return Facts(**_task(spec), **_wishes(spec, 0), base=spec.base_model or "the embedded model")


def _task(spec: TaskSpec) -> dict[str, Any]:
    return {
        "task": spec.task,
        "output_format": spec.output_format,
        "knowledge": knowledge_in(f"{spec.description} {spec.input} {spec.output}"),
        "wants_preferences": bool(spec.has_preferences),
        "local_only": bool(spec.local_only),
        "device_said": spec.device,
    }


def _wishes(spec: TaskSpec, dev_rows: int) -> dict[str, Any]:
    target = spec.target_score
    return {
        "minutes": spec.time_budget_minutes,
        "max_latency_ms": spec.max_latency_ms,
        "target": target,
        # Wilson's lower bound where every row is right, and from how many rows on it reaches the target.
        "provable": int(100 * dev_rows / (dev_rows + _Z**2)) / 100 if dev_rows and target else None,
        "rows_to_prove": ceil(_Z**2 * target / (1 - target)) if target and target < 1 else None,
    }


@cache
def _knowledge() -> re.Pattern[str]:
    rows = yaml.safe_load(files(__package__).joinpath("knowledge.yaml").read_text("utf-8"))
    words = sorted({re.escape(word).replace(r"\*", r"\w*") for row in rows for word in row}, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)


def knowledge_in(text: str) -> str | None:
    """The words by which a text asks for documents or changing facts; None where there are none."""
    found = dict.fromkeys(match.group().lower() for match in _knowledge().finditer(text))
    return ", ".join(found) or None


def _data(situation: Situation) -> dict[str, Any]:
    profile, splits, project = situation.profile, situation.splits, situation.project
    if profile is None or splits is None:
        return {"data_there": False, "dev_rows": 0}
    shape = project.data.columns.shape if project.data else None
    errors = [finding.text for finding in profile.findings if finding.severity == "error"]
    lengths = profile.token_lengths
    found: dict[str, Any] = {
        "data_there": True,
        "rows": profile.rows,
        "answered": profile.usable,
        "train_rows": len(splits.train),
        "dev_rows": len(splits.dev),
        "labels": len(profile.labels),
        "mean_tokens": sum(lengths) / len(lengths) if lengths else None,
        "longest_tokens": max(lengths, default=None),
        "base_limit": figures_of(situation.base).limit,
        "answer_tokens": profile.answer_tokens or None,
        "errors": len(errors),
        "error": errors[0] if errors else None,
        "pairs": sum(bool(row.output and row.rejected) for row in splits.train) if shape == "preference" else 0,
        "thumbs": len(splits.train) if shape == "thumbs" else 0,
        "episode_labels": episode_labels(situation),
    }
    return found | _labels(situation)


def _labels(situation: Situation) -> dict[str, Any]:
    profile, splits, said = situation.profile, situation.splits, situation.project.spec.labels
    assert profile is not None and splits is not None
    if not profile.labels:
        return {}
    rarest = min(profile.labels, key=lambda label: profile.labels[label])
    trained = Counter(row.output for row in splits.train)
    there, wanted = {label.casefold() for label in profile.labels}, {label.casefold() for label in said}
    return {
        "rarest": profile.labels[rarest],
        "rarest_label": rarest,
        "rarest_train": min(trained[label] for label in profile.labels),
        "data_labels": tuple(profile.labels),
        "missing_labels": _named(label for label in said if label.casefold() not in there),
        "unknown_labels": _named(label for label in profile.labels if said and label.casefold() not in wanted),
    }


def _named(labels: Iterable[str], most: int = 5) -> str | None:
    names = list(labels)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else None


def _prompt(situation: Situation) -> dict[str, Any]:
    score, prompt = situation.score, situation.project.prompt
    measured = [stored.score for stored in situation.measured if stored.score]
    best = max(measured, key=lambda one: one.value, default=None)
    found: dict[str, Any] = {"shown": len(prompt.demonstrations) if prompt else 0}
    if best and (score is None or best.value > score.value):
        found["best_prompt"] = str(best)
    if score:
        found |= {"score": str(score), "score_low": score.low}
    return found


def _machine(situation: Situation) -> dict[str, Any]:
    return {
        "device": situation.compute.device,
        "machine": _place(situation),
        "memory_gb": machine_of(situation).memory_gb,
        "base": situation.base.name,
        "parameters": float(situation.base.parameters),
        "parent": situation.parent is not None,
    }


def _place(situation: Situation) -> str:
    """What computes: the card, else the machine."""
    gpus = situation.machine.gpus if situation.compute.device == "cuda" else ()
    return f"{gpus[0].name}, {gpus[0].memory_gb:.0f} GB" if gpus else str(situation.machine)


def _takes(situation: Situation, made: Mapping[Kind, Made]) -> dict[str, Any]:
    """Memory and time of the options, as the estimates have them."""
    assert situation.splits and situation.profile
    found: dict[str, Any] = {"minutes_there": minutes_for(situation)}
    if (meta := made.get("meta_lora")) and meta.training:
        found["meta_minutes"] = meta.training.seconds.training / 60
    if (lora := made.get("lora")) and lora.training:
        found |= _fit("lora", lora.training, lora.fits)
        found |= _lora(situation, lora.plan)
    if (full := made.get("full")) and full.training:
        found |= _fit("full", full.training, full.fits)
    if served := made.get("lora", made.get("prompt")):  # as a tuned model answers, which is no quicker than the base
        found |= {
            "serving_gb": served.serving.memory.total,
            "latency_ms": 1000 * served.serving.seconds_per_answer,
        }
    if few_shot := made.get("few_shot"):
        lengths, strategy = situation.profile.token_lengths, few_shot.plan.strategy
        assert isinstance(strategy, FewShotStrategy)
        found |= {"few_shot_ms": 1000 * few_shot.serving.seconds_per_answer, "to_show": strategy.examples}
        if lengths:
            found["few_shot_tokens"] = round((strategy.examples + 1) * sum(lengths) / len(lengths))
    return found


def _fit(name: str, takes: TrainingEstimate, fits: tuple[Fit, ...]) -> dict[str, Any]:
    card = next((fit for fit in sorted(fits, key=lambda fit: fit.memory_gb) if fit.fits), None)
    return {
        f"{name}_gb": takes.memory.total,
        f"{name}_fits": takes.fits,
        f"{name}_card": f"{card.machine} ({card.memory_gb:.0f} GB)" if card else _card(takes.memory.total / _ROOM),
    }


def _card(needed_gb: float) -> str:
    """A machine that would do, of the list where it has one."""
    found = next((one for one in known_machines() if one.device == "cuda" and one.memory_gb >= needed_gb), None)
    return f"{found.name} ({found.memory_gb:.0f} GB)" if found else f"a machine with {ceil(needed_gb)} GB for it"


def _lora(situation: Situation, plan: TrainingPlan) -> dict[str, Any]:
    assert situation.splits and situation.profile and isinstance(plan.strategy, LoraStrategy)
    rows = len(situation.splits.train)
    once = plan.model_copy(
        update={
            "data": plan.data.model_copy(update={"max_train_rows": None, "general_rows": 0}),
            "training": plan.training.model_copy(update={"epochs": 1.0}),
            "evaluation": plan.evaluation.model_copy(update={"probes": ()}),
        }
    )
    minutes = estimate_of(situation, once).seconds.total / 60
    weights = adapter_parameters(plan.strategy, figures_of(situation.base))
    return {
        "lora": plan.strategy.brief,
        "lora_rank": plan.strategy.r,
        "used_rows": min(rows, plan.data.max_train_rows or rows),
        "general_rows": plan.data.general_rows,
        "epoch_minutes": minutes,
        "minutes_enough": ceil(minutes),
        "load": rows * situation.profile.answer_tokens / (_BITS * max(1, weights)),
    }


def _wanted(situation: Situation, found: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a base that is not on this machine: by its size, in the catalogue or in its name."""
    if not situation.wanted:
        return {}
    told: dict[str, Any] = {"wanted_base": situation.wanted, "base": situation.wanted.split("/")[-1]}
    entry = next((one for one in catalogue() if one.ref == situation.wanted), None)
    parameters = entry.parameters_m * 1e6 if entry else parameters_in(situation.wanted)
    if parameters is None:
        return told
    needed = entry.memory_gb if entry else ceil(1.2 * 2 * parameters / 2**30)
    ratio = parameters / max(1.0, found["parameters"])
    for name in ("latency_ms", "few_shot_ms", "epoch_minutes", "serving_gb", "full_gb"):
        if found.get(name) is not None:
            told[name] = found[name] * ratio
    return told | {
        "parameters": parameters,
        "lora_gb": float(needed),
        "lora_fits": needed <= _ROOM * found["memory_gb"],
        "lora_card": _card(needed / _ROOM),
        "full_card": _card(found.get("full_gb", 0.0) * ratio / _ROOM),
        "full_fits": found.get("full_gb", 0.0) * ratio <= _ROOM * found["memory_gb"],
        "minutes_enough": ceil(told.get("epoch_minutes", 0.0)) or None,
    }


def parameters_in(ref: str) -> float | None:
    """The number of weights that a model's name tells ("7B", "360M"); None where it tells none."""
    found = _SIZE.search(ref.split("/")[-1])
    return float(found[1]) * {"b": 1e9, "m": 1e6}[found[2].lower()] if found else None


def _others(situation: Situation, found: Mapping[str, Any]) -> dict[str, Any]:
    """The base models of the catalogue that would be tried next, by size: a first guide, as none of them is here."""
    size, memory = found["parameters"], _ROOM * found["memory_gb"]
    smaller, larger = smaller_than(size), larger_than(size)
    told: dict[str, Any] = {}
    if latency := found.get("latency_ms"):
        told["latency_enough"] = _tens(latency)
        if smaller:
            nearest = latency * _ratio(smaller[-1], found)
            told |= {**_entry("smallest", smaller[-1]), "smallest_ms": nearest, "smallest_enough": _tens(nearest)}
    if smaller:
        fitting = next((one for one in smaller if one.memory_gb <= memory), None)
        quick = next((one for one in smaller if _quick(one, found) and one.memory_gb <= memory), None)
        told |= {**_entry("smaller_fits", fitting), **_entry("smaller_quick", quick)}
        slow = (found.get("latency_ms") or 0) > (found.get("max_latency_ms") or inf)
        wanted = fitting if found.get("lora_fits") is False else (quick or smaller[-1]) if slow else None
        told |= {"smaller": smaller[0].name, **_size("smaller", wanted or smaller[0])}
    if larger:
        within = [one for one in larger if one.memory_gb <= memory and _in_time(situation, one, found)]
        told |= {"larger": larger[0].name, **_size("larger", within[-1] if within else larger[0])}
        told |= _entry("larger_fits", within[-1] if within else None)
        if once := found.get("epoch_minutes"):
            told["larger_minutes"] = once * _ratio(larger[0], found)
    return told


def _tens(milliseconds: float) -> int:
    return ceil(milliseconds / 10) * 10


def _size(name: str, entry: CatalogueEntry) -> dict[str, Any]:
    return {f"{name}_gb": entry.memory_gb, f"{name}_size": entry.parameters_m * 1e6}


def _entry(name: str, entry: CatalogueEntry | None) -> dict[str, Any]:
    return {name: entry.name, f"{name}_ref": entry.ref} if entry else {}


def _ratio(entry: CatalogueEntry, found: Mapping[str, Any]) -> float:
    return entry.parameters_m * 1e6 / max(1.0, float(found["parameters"]))


def _quick(entry: CatalogueEntry, found: Mapping[str, Any]) -> bool:
    wanted, takes = found.get("max_latency_ms"), found.get("latency_ms")
    return bool(wanted and takes and takes * _ratio(entry, found) <= wanted)


def _in_time(situation: Situation, entry: CatalogueEntry, found: Mapping[str, Any]) -> bool:
    once = found.get("epoch_minutes")
    return once is None or once * _ratio(entry, found) <= minutes_for(situation)
