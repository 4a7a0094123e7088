"""Watching a served result: the switch of its log, what came in, whether the inputs have changed, and what to do.

Owns what is drawn. A look takes seconds, so that it is done when somebody asks for it, and not when the page is drawn;
the schedule (`watching.looks`) sees to it that asking often costs nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from assistant.project import Project
from assistant.ui import html
from assistant.ui.panel import Desk, guarded
from assistant.watching.asking import asking
from assistant.watching.labelled import read_labelled, score_labelled
from assistant.watching.log import RequestLog, WatchSettings
from assistant.watching.watch import Watched, watched
from prompts.errors import RunError
from trainers.reading import SUFFIXES
from trainers.status import RunFolder

_NOBODY = "Once a training has left a result, the requests to it can be watched here."
_WHAT = (
    "Requests that programs send to this result, at the app's address or at that of `tunewright serve`, can be kept in "
    "the run's folder on this machine, to see whether they are still what was trained on. Off until you switch it on; "
    "nothing is sent anywhere. What you try out in Compare is not kept."
)
_KINDS = {"tune again": "error", "label rows": "warning", "mend failures": "warning", "wait": "info", "nothing": "good"}
_MOST_DAYS = 60


class WatchBox:
    """The shown run's log and what follows from it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._head = gr.HTML(elem_id="watch-head")
        with gr.Row():
            self._log = gr.Checkbox(label="Log requests to this run", interactive=True, elem_id="watch-log")
            self._mask = gr.Checkbox(label="Mask personal data in the log", interactive=True, elem_id="watch-mask")
        self._plot = gr.BarPlot(
            x="day", y="requests", color="outcome", height=180, visible=False, title="Requests a day",
            color_map={"answered": "#0f766e", "failed": "#b45309"},
        )  # fmt: skip
        self._found = gr.HTML(elem_id="watch-found")
        with gr.Row():
            self._look = gr.Button("Look now", min_width=120, elem_id="watch-look")
            self._labelled = gr.UploadButton(
                "Score newly labelled rows", file_types=list(SUFFIXES), min_width=180, elem_id="watch-labelled"
            )
            self._delete = gr.Button("Delete the log", variant="stop", min_width=120, elem_id="watch-delete")
        with gr.Row(visible=False) as self._sure:
            gr.HTML(html.notes([("warning", "Delete all requests, and what was found out from them? For good.")]))
            really = gr.Button("Yes, delete", variant="stop", min_width=120, elem_id="watch-really")
            keep = gr.Button("Keep it", min_width=120)
        self.outputs: list[Any] = [
            self._head, self._log, self._mask, self._plot, self._found, self._look, self._labelled, self._delete,
            self._sure,
        ]  # fmt: skip
        id, switches = desk.project_id, [self._log, self._mask]
        for switch in switches:
            desk.then_redraw(switch.input(guarded(self._set), [id, *switches], None))
        desk.then_redraw(self._look.click(guarded(self._look_now), [id], None))
        desk.then_redraw(self._labelled.upload(guarded(self._score), [id, self._labelled], None))
        self._delete.click(lambda: gr.update(visible=True), None, self._sure)
        keep.click(lambda: gr.update(visible=False), None, self._sure)
        desk.then_redraw(really.click(guarded(self._forget), [id], None))

    def _run(self, id: str) -> RunFolder:
        pipeline = self._desk.pipeline
        run = pipeline.tuned_run(pipeline.project(id))
        if run is None:
            raise RunError("There is no result to watch yet.", hint="Train one first.")
        return run

    def _set(self, id: str, log: bool, mask: bool) -> None:
        requests = RequestLog(self._run(id))
        requests.write_settings(requests.settings().model_copy(update={"log": log, "mask": mask}))

    def _look_now(self, id: str) -> None:
        found = watched(self._run(id))
        gr.Info(found.inputs.told if found.traffic.requests else "There are no requests in the log yet.")

    def _score(self, id: str, path: str) -> None:
        """Rows that were never asked are asked, where the run is served by this app."""
        run, engines = self._run(id), self._desk.pipeline.engines
        name = next((n for n, model in engines.served.items() if model.artefact and model.artefact == run.artefact), "")
        file = Path(path)
        score_labelled(run, read_labelled(file), asking(engines.find(name), run) if name else None, file.name)

    def _forget(self, id: str) -> None:
        count = RequestLog(self._run(id)).delete()
        gr.Info(f"{count:,} requests are deleted.")

    def signature(self, project: Project) -> Hashable:
        run = self._desk.pipeline.tuned_run(project)
        if run is None:
            return None
        return (run.id, *RequestLog(run).stamp())

    def draw(self, project: Project) -> list[Any]:
        run = self._desk.pipeline.tuned_run(project)
        if run is None:
            hidden = gr.update(visible=False)
            return [html.empty(_NOBODY), *[hidden] * 8]
        found, there = watched(run, look_now=False), gr.update(visible=True)
        some = bool(found.traffic.requests)
        return [
            _head(run, found.settings),
            gr.update(value=found.settings.log, visible=True),
            gr.update(value=found.settings.mask, visible=True),
            gr.update(value=_days(found), visible=some),
            _told(found),
            gr.update(visible=some),
            there,
            gr.update(visible=some),
            gr.update(visible=False),
        ]


def _head(run: RunFolder, settings: WatchSettings) -> str:
    state = ("info", "Requests are not logged.")
    if settings.log and settings.mask:
        state = ("good", f"Requests are logged in {RequestLog(run).folder}, personal data masked by its form.")
    elif settings.log:
        state = ("warning", f"Requests are logged in {RequestLog(run).folder} with all personal data in them.")
    return html.notes([("info", _WHAT), state])


def _days(found: Watched) -> pd.DataFrame:
    """Requests a day, days without any included, the newest 60."""
    known = {day: (count - failed, failed) for day, count, failed in found.traffic.per_day}
    columns = ["day", "outcome", "requests"]
    if not known:
        return pd.DataFrame(columns=columns)
    last = date.fromisoformat(max(known))
    first = max(date.fromisoformat(min(known)), last - timedelta(days=_MOST_DAYS - 1))
    days = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    outcomes = ("answered", "failed")
    rows = [
        (day, outcome, count) for day in days for outcome, count in zip(outcomes, known.get(day, (0, 0)), strict=True)
    ]
    return pd.DataFrame(rows, columns=columns)


def _told(found: Watched) -> str:
    traffic, inputs = found.traffic, found.inputs
    if not (traffic.requests or inputs.looks or found.labelled):
        return ""
    figures = [("requests logged", f"{traffic.requests:,}"), ("in the log", f"{traffic.bytes / 1e6:.1f} MB")]
    if traffic.failed:
        figures.append(("failed or cut off", f"{traffic.failed.value:.0%}"))
    if inputs.looks:
        stranger = inputs.looks[-1].drift.stranger
        figures.append(
            ("of 100 requests stranger than a training input (50: no change)", f"{stranger.value * 100:.0f}")
        )
    advice = html.notes([(_KINDS[found.advice.act], found.advice.told)])
    reasons = html.notes([("info", reason) for reason in found.advice.reasons])
    score = ""
    if found.labelled:
        both = (("Test rows", found.labelled.then), ("Newly labelled", found.labelled.now))
        score = html.heading(found.labelled.metric) + html.intervals(
            [(title, s.value, s.low, s.high, str(s)) for title, s in both]
        )
    return advice + reasons + html.tiles(figures) + score + _differences(found) + html.notes([("info", found.limits)])


def _differences(found: Watched) -> str:
    if not found.inputs.looks or not found.inputs.looks[-1].drift.differences:
        return ""
    last = found.inputs.looks[-1]
    title = "What has changed" if last.alarm else "What differs most, though it may be chance"
    return html.heading(title) + html.aside(last.drift.differences)
