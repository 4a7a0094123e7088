"""The report to take along: model card, printable page, JSON. They are written when the report is drawn."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from trainers.cards import Form, write_all
from trainers.energy import Rates
from trainers.status import RunFolder

_TITLES: dict[Form, str] = {"html": "Report to print", "card": "Model card", "json": "JSON"}


class ReportFiles:
    """A download button for each form."""

    def __init__(self) -> None:
        self._downloads = TemporaryDirectory(prefix="tunewright-")  # Gradio serves files from there
        with gr.Row(elem_id="report-files"):
            self._buttons = {
                form: gr.DownloadButton(title, visible=False, size="sm", min_width=120, elem_id=f"report-{form}")
                for form, title in _TITLES.items()
            }
        self.outputs: list[Any] = list(self._buttons.values())

    def hidden(self) -> list[Any]:
        """Updates for a run without a report."""
        return [gr.update(visible=False) for _ in _TITLES]

    def of(self, run: RunFolder, rates: Rates) -> list[Any]:
        """Updates with the files of a run. Raises `PlanError` where its plan cannot be read."""
        written = write_all(run, Path(self._downloads.name) / run.id, rates)
        return [gr.update(value=str(written[form]), visible=True) for form in _TITLES]
