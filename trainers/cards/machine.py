"""The report for machines: one JSON object with all that is known of a run.

Owns its keys. A figure that was not measured is null, with its reason beside it.
"""

from __future__ import annotations

from typing import Any

from trainers.cards.facts import Facts, Known, shared_plan, three_sentences

FORMAT = 1


def as_json(facts: Facts) -> dict[str, Any]:
    """Plain JSON values; `format` rises when a key changes its meaning."""
    report = facts.report
    return {
        "format": FORMAT,
        "run": facts.run_id,
        "name": facts.name,
        "summary": three_sentences(facts),
        "verdict": report.verdict.model_dump(mode="json") if report and report.verdict else None,
        "evaluation": report.model_dump(mode="json") if report else None,
        "task": facts.spec.model_dump(mode="json") if facts.spec else None,
        "plan": shared_plan(facts.plan),
        "prompts": [{"use": use, **version.model_dump(mode="json")} for use, version in facts.prompts],
        "data": {"name": facts.plan.data.path.name, "rows": facts.rows, "licence": facts.data_licence},
        "base": {"name": facts.base, "hub_id": facts.base_id, "licence": facts.base_licence},
        "energy_kwh": _known(facts.energy),
        "carbon_g": _known(facts.carbon),
        "cost": _known(facts.cost),
        "curves": list(facts.metrics),
        "rows": [one.model_dump(mode="json") for one in facts.predictions],
    }


def _known(figure: Known) -> dict[str, Any]:
    return {"value": figure.value, "told": figure.told, "why_not": figure.why}
