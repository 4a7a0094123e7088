"""The current version's answers to the dev rows, the worst first; where an endpoint is configured, graded by it too.

Owns the table, the person's own ratings, and the judge's word beside them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from html import escape
from typing import Any

import gradio as gr

from assistant.judging import Judging, row_key
from assistant.project import Project
from assistant.ui import html
from assistant.ui.findings import LISTEN
from assistant.ui.panel import Desk, guarded
from assistant.ui.prompt_cards import cut
from prompts.metrics.judge import GRADES
from trainers.data import Example

_SHOWN = 60


class AnswersPanel:
    """What the model said, how it scored, what the person and the judge think of it."""

    waits_for = "splits"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        with gr.Accordion("Answers to the dev rows", open=False, visible=False, elem_id="answers") as self._box:
            with gr.Row(visible=False, elem_classes="tw-bottom") as self._judged:
                self._start = gr.Button("Have them judged", scale=0, min_width=180, elem_id="judge")
                self._word = gr.HTML(elem_id="judge-word")
            self._table = gr.HTML(elem_id="answers-table", js_on_load=LISTEN)
        self.outputs: list[Any] = [self._box, self._judged, self._start, self._word, self._table]
        desk.then_redraw(self._start.click(guarded(self._judge), [desk.project_id], None))
        desk.then_redraw(self._table.click(guarded(self._rate), [desk.project_id], None))

    def signature(self, project: Project) -> Hashable:
        pipeline = self._desk.pipeline
        job = pipeline.judgings.get(project.id)
        state = (job.running, job.done, job.error) if job else None
        scores = {s.version.id: str(s.score) for s in pipeline.prompts(project.id)}
        current = project.prompt.id if project.prompt else ""
        rated = tuple(pipeline.store.ratings(project.id).items())
        return (current, scores.get(current), project.data.model_dump_json() if project.data else None, state, rated)

    def draw(self, project: Project) -> list[Any]:
        pipeline = self._desk.pipeline
        answers = pipeline.answered(project)
        if not answers or project.prompt is None:
            return [gr.update(visible=False), *[gr.skip()] * 4]
        judge = pipeline.judge_model(project)
        job = pipeline.judgings.get(project.id)
        job = job if job and job.prompt_id == project.prompt.id else None
        ratings = pipeline.store.ratings(project.id) if judge else {}
        label = f"Answers of version {project.prompt.id} to {len(answers)} dev rows, the worst first"
        return [
            gr.update(visible=True, label=label),
            gr.update(visible=judge is not None),
            gr.update(interactive=not (job and job.running), value=f"Have {judge.name} judge" if judge else ""),
            _word(job, ratings) if judge else "",
            _table(answers[:_SHOWN], project.prompt.id, ratings if judge else None, job.grades if job else {}),
        ]

    def _judge(self, id: str) -> None:
        self._desk.pipeline.start_judging(id)

    def _rate(self, id: str, event: gr.EventData) -> None:
        answer, grade = event._data["key"].split(":")
        self._desk.pipeline.store.rate(id, answer, int(grade))


def _word(job: Judging | None, ratings: dict[str, int]) -> str:
    """What the judge said, and what that is worth."""
    if job is None:
        return html.notes([("info", "Rate some answers yourself: a judge's word is worth what it agrees with yours.")])
    if job.error:
        return html.notes([("error", job.error)])
    if job.running or job.score is None:
        return html.progress(job.done / max(1, job.total), job.message or "Asking")
    failed = f" {job.ungraded} replies held no grade and count as 0." if job.ungraded else ""
    told = f"{job.judge} gives {job.score} of what can be had.{failed} {job.agreement(ratings).told}"
    return html.notes([("good", told)])


def _table(
    answers: Sequence[tuple[Example, str, float]],
    prompt_id: str,
    ratings: dict[str, int] | None,
    grades: dict[str, int],
) -> str:
    head = ["score", "input", "expected", "answer", *(["judge", "you"] if ratings is not None else [])]
    lines = "".join(_line(row, answer, score, prompt_id, ratings, grades) for row, answer, score in answers)
    titles = "".join(f"<th>{name}</th>" for name in head)
    return f'<div class="tw-scroll"><table class="tw-table"><tr>{titles}</tr>{lines}</table></div>'


def _line(
    row: Example, answer: str, score: float, prompt_id: str, ratings: dict[str, int] | None, grades: dict[str, int]
) -> str:
    kind = "won" if score >= 0.999 else "lost" if score <= 0.001 else ""
    cells = [f'<span class="tw-badge tw-{kind}">{score:.2f}</span>', *map(_cell, (row.input, row.output, answer))]
    if ratings is not None:
        key = row_key(prompt_id, row.input, answer)
        cells += [str(grades.get(key, "")), _grades(key, ratings.get(key))]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _cell(text: str) -> str:
    return escape(cut(text))


def _grades(key: str, given: int | None) -> str:
    pressed = {grade: "true" if grade == given else "false" for grade in GRADES}
    buttons = "".join(
        f'<button class="tw-grade" aria-pressed="{pressed[grade]}" data-key="{key}:{grade}">{grade}</button>'
        for grade in GRADES
    )
    return f'<div class="tw-grades">{buttons}</div>'
