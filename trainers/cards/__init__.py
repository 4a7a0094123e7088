"""A run's report for others: a model card, a printable page, JSON. The screen draws with the same sections.

Owns the three forms and their files; `facts` gathers what is known, `sections` and `plots` draw it, the templates
beside this file frame it. Refuses to measure anything and to word what was not measured. Never imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainers.energy import NOTHING_SAID, Rates
from trainers.paths import write_atomically
from trainers.status import RunFolder

if TYPE_CHECKING:
    from trainers.cards.facts import Facts

Form = Literal["card", "html", "json"]
FILES: dict[Form, str] = {"card": "README.md", "html": "report.html", "json": "report.json"}


def card_text(run: RunFolder, rates: Rates = NOTHING_SAID) -> str:
    """The model card, in Hugging Face's format. Holds no row of the data but what a prompt shows as examples.

    Raises `PlanError` where the run's plan cannot be read.
    """
    return text_of(run, "card", rates)


def html_page(run: RunFolder, rates: Rates = NOTHING_SAID) -> str:
    """One file with style and plots inside, to be read and printed. Raises `PlanError`."""
    return text_of(run, "html", rates)


def report_json(run: RunFolder, rates: Rates = NOTHING_SAID) -> dict[str, Any]:
    """All of it for machines, each row with both answers. Raises `PlanError`."""
    from trainers.cards.facts import gather
    from trainers.cards.machine import as_json

    return as_json(gather(run, rates))


def text_of(run: RunFolder, form: Form, rates: Rates = NOTHING_SAID) -> str:
    """One of them as text. Raises `PlanError`."""
    from trainers.cards.facts import gather

    return _text(gather(run, rates), form)


def write_all(run: RunFolder, folder: Path, rates: Rates = NOTHING_SAID) -> dict[Form, Path]:
    """Write all three into a folder; their paths. Raises `PlanError`."""
    from trainers.cards.facts import gather

    facts = gather(run, rates)  # the run's files are read once for all of them
    paths = {form: folder / name for form, name in FILES.items()}
    for form, path in paths.items():
        write_atomically(path, _text(facts, form))
    return paths


def _text(facts: Facts, form: Form) -> str:
    import json

    from trainers.cards import card, machine, page

    if form == "json":
        return json.dumps(machine.as_json(facts), ensure_ascii=False, indent=1) + "\n"
    return card.render(facts) if form == "card" else page.render(facts)
