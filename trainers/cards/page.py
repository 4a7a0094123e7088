"""The printable page: one HTML file with its style and plots inside, for whoever has no Tunewright.

Owns the frame and the order of sections, headline first. Refuses to word them (`sections`).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from trainers.cards import sections
from trainers.cards.facts import Facts


@cache
def style() -> str:
    """The style of the sections, for the page and the screen."""
    return files(__package__).joinpath("report.css").read_text("utf-8")


def render(facts: Facts) -> str:
    """The whole page."""
    from jinja2 import Environment, StrictUndefined

    # No autoescape: the sections are HTML already, and escape what they show; the title is escaped in the template.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("page.html.jinja").read_text("utf-8"))
    plots = (sections.scores, sections.mistakes, sections.confidence, sections.learning)
    return template.render(
        title=facts.task or facts.name,
        subtitle=f"Run {facts.name}, {facts.base}, {facts.plan.strategy.brief}",
        style=style(),
        verdict=sections.verdict(facts),
        gates=sections.gates(facts),
        plots=[drawn for draw in plots if (drawn := draw(facts))],
        details=[
            sections.probes(facts, folded=False),
            sections.rows(facts, filters=True),
            sections.limits(facts),
            sections.basis(facts),
        ],
    )
