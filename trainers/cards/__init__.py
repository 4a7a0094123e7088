"""A run's report for others: a model card, a printable page, JSON. The screen draws with the same sections.

Owns the three forms and their files; `facts` gathers what is known, `sections` and `plots` draw it, the templates
beside this file frame it. Refuses to measure anything and to word what was not measured. Never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from trainers.energy import NOTHING_SAID, Rates
from trainers.paths import write_atomically
from trainers.status import RunFolder

Form = Literal["card", "html", "json"]
FILES: dict[Form, str] = {"card": "README.md", "html": "report.html", "json": "report.json"}


def card_text(run: RunFolder, rates: Rates = NOTHING_SAID) -> str:
    """The model card, in Hugging Face's format. Holds no row of the data but what a prompt shows as examples.

    Raises `PlanError` where the run's plan cannot be read.
    """
    from trainers.cards.card import render
    from trainers.cards.facts import gather

    return render(gather(run, rates))


def html_page(run: RunFolder, rates: Rates = NOTHING_SAID) -> str:
    """One file with style and plots inside, to be read and printed. Raises `PlanError`."""
    from trainers.cards.facts import gather
    from trainers.cards.page import render

    return render(gather(run, rates))


def report_json(run: RunFolder, rates: Rates = NOTHING_SAID) -> dict[str, Any]:
    """All of it for machines, each row with both answers. Raises `PlanError`."""
    from trainers.cards.facts import gather
    from trainers.cards.machine import as_json

    return as_json(gather(run, rates))


def write_all(run: RunFolder, folder: Path, rates: Rates = NOTHING_SAID) -> dict[Form, Path]:
    """Write all three into a folder; their paths. Raises `PlanError`."""
    return {form: write(run, form, folder / name, rates) for form, name in FILES.items()}


def write(run: RunFolder, form: Form, path: Path, rates: Rates = NOTHING_SAID) -> Path:
    """Write one of them. Raises `PlanError`."""
    write_atomically(path, text_of(run, form, rates))
    return path


def text_of(run: RunFolder, form: Form, rates: Rates = NOTHING_SAID) -> str:
    """One of them as text. Raises `PlanError`."""
    make: dict[Form, Callable[[RunFolder, Rates], str]] = {"card": card_text, "html": html_page, "json": _json_text}
    return make[form](run, rates)


def _json_text(run: RunFolder, rates: Rates) -> str:
    import json

    return json.dumps(report_json(run, rates), ensure_ascii=False, indent=1) + "\n"
