"""The Compare panel: one message, both models at the same time, each under its own name, and a vote."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Hashable
from html import escape
from typing import Any

import gradio as gr

from assistant.arena import Pane, ask_all
from assistant.project import ArmAnswer, Project, Vote
from assistant.ui import html
from assistant.ui.panel import Desk, guarded
from prompts.chat_model import Sampling
from prompts.errors import RunError, TunewrightError

_SIDES = ("A", "B")


class ComparePanel:
    """Two panes. Which arm stands where is drawn anew for each message when voting blind."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._state = gr.State([])  # the panes of the last round, in the order shown
        self._who = gr.HTML()
        self._example = gr.Dropdown([], label="An input that nobody trained on", interactive=True)
        self._message = gr.Textbox(label="Message to both", lines=2, elem_id="compare-message")
        with gr.Row(elem_classes="tw-bottom"):
            send = gr.Button("Send to both", variant="primary", elem_id="compare-send", scale=2)
            stop = gr.Button("Stop", scale=1)
            self._blind = gr.Checkbox(label="Blind until I vote", elem_id="blind", scale=1, min_width=170)
            self._limit = gr.Number(
                64, label="Most tokens", minimum=1, maximum=2048, precision=0, scale=1, min_width=110
            )
        with gr.Row(equal_height=True):
            self._panes = [self._pane(side) for side in _SIDES]
        with gr.Row():
            votes = [
                gr.Button(text, elem_id=f"vote-{key}")
                for text, key in (("A is better", "a"), ("Tie", "tie"), ("B is better", "b"))
            ]
        self._votes = gr.HTML()
        self.outputs: list[Any] = [self._who, self._example, self._votes]
        shown = [self._state, *self._panes]
        self._example.input(lambda text: text, self._example, self._message)
        asked = [desk.project_id, self._message, self._blind, self._limit]
        gr_events = [send.click, self._message.submit]
        sent = [event(self._send, asked, shown, concurrency_limit=8, show_progress="hidden") for event in gr_events]
        stop.click(None, cancels=sent)
        for button, choice in zip(votes, (0, None, 1), strict=True):
            vote = guarded(
                lambda id, message, panes, blind, choice=choice: self._vote(id, message, panes, blind, choice)
            )
            desk.then_redraw(
                button.click(vote, [desk.project_id, self._message, self._state, self._blind], self._panes)
            )

    def _pane(self, side: str) -> Any:
        return gr.HTML(_pane_html(side, None, blind=True), elem_id=f"pane-{side.lower()}")

    def signature(self, project: Project) -> Hashable:
        run = self._desk.pipeline.tuned_run(project)
        data = project.data.model_dump_json() if project.data else None
        prompt = project.prompt.id if project.prompt else None
        return (run and run.id, data, prompt, len(self._desk.pipeline.store.votes(project.id)))

    def draw(self, project: Project) -> list[Any]:
        pipeline = self._desk.pipeline
        if project.data is None:
            waiting = "Base and tuned model meet here, once there is data and a training."
            return [html.empty(waiting), gr.update(choices=[]), ""]
        arms = pipeline.contenders(project)
        told = [(title, served.name, f"prompt {served.prompt.id}") for title, served in arms]
        who = html.facts(told)
        if len(arms) < 2:
            who += html.empty("There is no tuned model yet, so only the base answers. Train one in Train.")
        examples = pipeline.arena_inputs(project)
        tally = pipeline.tally(project)
        return [who, gr.update(choices=examples), html.tiles(tally) if tally else ""]

    async def _send(self, id: str, message: str, blind: bool, limit: float) -> AsyncIterator[list[Any]]:
        try:
            if not message.strip():
                raise RunError("There is no message to send.", hint="Write one, or choose an input above.")
            async for panes in self._rounds(id, message, blind, int(limit)):
                yield panes
        except TunewrightError as error:
            raise gr.Error(str(error), title="That did not work", duration=15, print_exception=False) from error

    async def _rounds(self, id: str, message: str, blind: bool, limit: int) -> AsyncIterator[list[Any]]:
        pipeline = self._desk.pipeline
        project = pipeline.project(id)
        starting = asyncio.create_task(asyncio.to_thread(pipeline.arms, project))
        while not starting.done():
            waiting = pipeline.engines.progress or "Getting the engine ready"
            yield [[], *(_pane_html(side, None, blind=True, waiting=waiting) for side in _SIDES)]
            await asyncio.wait([starting], timeout=0.5)
        arms = starting.result()
        if blind:
            random.shuffle(arms)
        async for panes in ask_all(arms, message, Sampling(max_tokens=limit)):
            yield [panes, *_both(panes, blind)]

    def _vote(self, id: str, message: str, panes: list[Pane], blind: bool, choice: int | None) -> list[str]:
        if len(panes) < 2 or not all(pane.done and not pane.error for pane in panes):
            raise RunError("There are no two answers to judge yet.", hint="Send a message and wait for both.")
        answers = tuple(ArmAnswer(model=p.model, prompt_id=p.prompt_id, text=p.text) for p in panes)
        self._desk.pipeline.vote(id, Vote(message=message, answers=answers, choice=choice, blind=blind))
        return _both(panes, blind=False)


def _both(panes: list[Pane], blind: bool) -> list[str]:
    padded = [*panes, None, None][: len(_SIDES)]
    return [_pane_html(side, pane, blind=blind) for side, pane in zip(_SIDES, padded, strict=True)]


def _pane_html(side: str, pane: Pane | None, *, blind: bool, waiting: str = "") -> str:
    if pane is None:
        body = html.empty(waiting or "The answer comes here.")
        return f'<div class="tw-pane"><div class="tw-head">{side}</div>{body}</div>'
    title = f"{side}" if blind else f"{side}: {pane.title}"
    name = "" if blind else f"{escape(pane.model or '…')} · prompt {pane.prompt_id}"
    first = f"first token {pane.first_token:.2f} s" if pane.first_token is not None else "waiting"
    speed = f" · {pane.tokens_per_second:.0f} tokens/s" if pane.tokens_per_second else ""
    foot = f"{first}{speed} · {pane.tokens} tokens"
    cursor = "" if pane.done else '<span class="tw-cursor">▍</span>'
    body = (
        html.notes([("error", pane.error)])
        if pane.error
        else f'<div class="tw-answer">{escape(pane.text)}{cursor}</div>'
    )
    head = f'<div class="tw-head"><span>{escape(title)}</span><span class="tw-who">{name}</span></div>'
    return f'<div class="tw-pane">{head}{body}<div class="tw-foot">{foot}</div></div>'
