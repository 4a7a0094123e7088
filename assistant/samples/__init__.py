"""The sample project's task and data. Owns what it is called and what is said about it; README.md tells of the rows."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.resources import as_file, files
from pathlib import Path

SAMPLE_NAME = "Ticket triage (sample)"
SAMPLE_FACTS = {
    "description": (
        "Route incoming support tickets of an online electronics shop to the team that should answer: "
        "account, billing, delivery, feedback, returns or technical."
    ),
    "task": "classification",
    "output_format": "label",
    "labels": ("account", "billing", "delivery", "feedback", "returns", "technical"),
    "input": "support ticket",
    "output": "the team that should answer",
}


def sample_file() -> AbstractContextManager[Path]:
    """The sample's CSV file, as a path while it is needed."""
    return as_file(files(__package__).joinpath("ticket_triage.csv"))
