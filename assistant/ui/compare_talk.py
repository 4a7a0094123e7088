"""Talk: one message to all who are compared, their answers side by side as they come, in one go or as a conversation.

Owns each project's conversation, until the app ends, and what can be done with its last turn. Refuses to judge.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from assistant.arena.asking import Arm, Talk
from assistant.comparebench import Contender
from assistant.project import Project
from assistant.ui import html
from assistant.ui.compare_arms import NOBODY, who
from assistant.ui.compare_live import live
from assistant.ui.compare_panes import Turn, turn, waiting
from assistant.ui.compare_sampling import SamplingBox
from assistant.ui.panel import Desk, guarded
from prompts.errors import RunError, TunewrightError

# What differs is marked always; whether that shows is the page's own affair.
_MARKS = "(on) => { document.querySelector('#compare-talk').classList.toggle('tw-plain', !on); }"


@dataclass
class _Thread:
    """The turns so far. While `busy` the last one still comes; `version` counts what the clock has to draw."""

    turns: list[Turn] = field(default_factory=list)
    busy: bool = False
    stopped: bool = False
    version: int = 0

    def earlier(self, arms: Sequence[Arm]) -> list[Talk]:
        """For each arm what was said before the last turn, without what it failed at."""
        return [
            [(said.message, said.panes[n].text) for said in self.turns[:-1] if said.panes[n].text]
            for n in range(len(arms))
        ]

    def goes_on_with(self, asked: Sequence[Contender]) -> bool:
        """Whether those who spoke last are those who are asked now."""
        spoke = [(pane.arm.title, pane.arm.prompt.id) for said in self.turns[-1:] for pane in said.panes]
        return spoke == [(one.title, one.prompt.id) for one in asked]


class TalkPanel:
    """The message, the panes, and the turns before."""

    waits_for = "splits"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._threads: dict[str, _Thread] = {}
        self._offered: dict[str, int] = {}
        with gr.Column(elem_id="compare-talk"):
            with gr.Row(elem_classes="tw-send"):
                self._message = gr.Textbox(
                    label="Message to all", lines=1, max_lines=12, scale=6, elem_id="compare-message",
                    placeholder="Enter sends, Shift+Enter begins a line",
                )  # fmt: skip
                send = gr.Button("Send to all", variant="primary", scale=1, min_width=110, elem_id="compare-send")
                stop = gr.Button("Stop", scale=1, min_width=70, elem_id="compare-stop")
            with gr.Row(elem_classes="tw-bottom"):
                offer = gr.Button("An unseen input", size="sm", min_width=120, elem_id="compare-offer")
                retry = gr.Button("Retry", size="sm", min_width=60, elem_id="compare-retry")
                edit = gr.Button("Edit last message", size="sm", min_width=130, elem_id="compare-edit")
                clear = gr.Button("Clear", size="sm", min_width=60, elem_id="compare-clear")
                talking = gr.Checkbox(
                    label="Conversation", container=False, min_width=120, elem_id="compare-conversation"
                )
                marks = gr.Checkbox(
                    True, label="Mark differences", container=False, min_width=140, elem_id="compare-marks"
                )
            self._sampling = SamplingBox()
            # The latest turn stands on top: so nothing that one clicks on moves while answers grow.
            self._now = gr.HTML(elem_id="compare-now")
            self._past = gr.HTML(elem_id="compare-past")
        self.outputs: list[Any] = [self._past, self._now]
        id, shown = desk.project_id, [self._past, self._now, self._message]
        how: dict[str, Any] = {"concurrency_limit": 8, "show_progress": "hidden"}
        asked = [id, self._message, talking, *self._sampling.inputs]
        for event in (send.click, self._message.submit):
            event(self._send, asked, shown, **how)
        retry.click(self._retry, [id, *self._sampling.inputs], shown, **how)
        stop.click(self._stop, [id], None, **how)
        edit.click(guarded(self._edit), [id], shown, **how)
        clear.click(guarded(self._clear), [id], shown, **how)
        marks.change(None, [marks], None, js=_MARKS)
        offer.click(guarded(self._offer), [id], self._message, **how)

    def _thread(self, id: str) -> _Thread:
        return self._threads.setdefault(id, _Thread())

    # Asking

    async def _send(self, id: str, message: str, talking: bool, *sampling: Any) -> AsyncIterator[list[Any]]:
        async for drawn in _told(self._ask(id, message, talking, sampling)):
            yield drawn

    async def _retry(self, id: str, *sampling: Any) -> AsyncIterator[list[Any]]:
        """The last message again, in place of what came of it."""
        thread = self._thread(id)
        if not thread.turns:
            gr.Info("There is no message yet that could be sent again.", duration=5)
            return
        last = thread.turns[-1].message
        async for drawn in _told(self._ask(id, last, len(thread.turns) > 1, sampling, again=True)):
            yield [*drawn[:2], gr.skip()]  # what stands in the box is the next message

    async def _ask(
        self, id: str, message: str, talking: bool, sampling: Sequence[Any], *, again: bool = False
    ) -> AsyncIterator[list[Any]]:
        thread = self._settled(id)
        if not message.strip():
            raise RunError("There is no message to send.", hint="Write one, or take an unseen input.")
        sampling_now, pipeline = self._sampling.read(*sampling), self._desk.pipeline
        project = pipeline.project(id)
        chosen = pipeline.chosen(project)
        titles, kept = [one.title for one in chosen], thread.turns
        goes_on = talking and thread.goes_on_with(chosen)
        if talking and kept and not goes_on:
            gr.Info("Others are compared now, so the conversation begins anew.", duration=8)
        thread.busy, thread.stopped, failed = True, False, None
        thread.turns = [*(kept[: len(kept) - again] if goes_on else ()), Turn(message, ())]
        try:
            yield [_past(thread), waiting(message, titles, "…"), ""]
            asked = live(pipeline, project, chosen, message, sampling_now, thread.earlier, lambda: thread.stopped)
            async with aclosing(asked):
                async for state in asked:
                    thread.turns[-1] = Turn(message, state.panes)
                    now = turn(thread.turns[-1], last=True) if state.panes else waiting(message, titles, state.waiting)
                    yield [gr.skip(), now, gr.skip()]
        except TunewrightError as error:
            failed = error
        finally:
            last = thread.turns.pop()  # also where the page has gone
            thread.turns = [*thread.turns, last.ended()] if last.panes else kept
            thread.busy, thread.version = False, thread.version + 1
        yield [*_drawn(thread), gr.skip() if last.panes else message]
        if failed:
            raise failed

    def _offer(self, id: str) -> str:
        """The next of the inputs that neither training nor report has seen."""
        pipeline = self._desk.pipeline
        inputs = pipeline.arena_inputs(pipeline.project(id))
        if not inputs:
            raise RunError("There is no row that nobody trained on.", hint="Write a message of your own.")
        place = self._offered[id] = (self._offered.get(id, -1) + 1) % len(inputs)
        return inputs[place]

    # The last turn

    def _stop(self, id: str) -> None:
        self._thread(id).stopped = True

    def _edit(self, id: str) -> list[Any]:
        """Put the last message back into the box, and take its turn away."""
        thread = self._settled(id)
        if not thread.turns:
            raise RunError("There is no message yet.", hint="Send one first.")
        last = thread.turns.pop()
        thread.version += 1
        return [*_drawn(thread), last.message]

    def _clear(self, id: str) -> list[Any]:
        thread = self._settled(id)
        thread.turns, thread.version = [], thread.version + 1
        return [*_drawn(thread), gr.skip()]

    def _settled(self, id: str) -> _Thread:
        thread = self._thread(id)
        if thread.busy:
            raise RunError("Answers are still on their way.", hint="Wait for them, or stop them.")
        return thread

    # Drawing

    def signature(self, project: Project) -> Hashable:
        return (who(self._desk.pipeline, project), self._thread(project.id).version)

    def draw(self, project: Project) -> list[Any]:
        thread = self._thread(project.id)
        if project.data is None:
            return ["", html.empty(NOBODY)]
        return [gr.skip(), gr.skip()] if thread.busy else list(_drawn(thread))


async def _told(drawn: AsyncIterator[list[Any]]) -> AsyncIterator[list[Any]]:
    """The same with errors as toasts."""
    try:
        async for values in drawn:
            yield values
    except TunewrightError as error:
        raise gr.Error(str(error), title="That did not work", duration=15, print_exception=False) from error


def _past(thread: _Thread) -> str:
    """The turns before the last, the latest first."""
    return "".join(turn(said) for said in reversed(thread.turns[:-1]))


def _drawn(thread: _Thread) -> list[str]:
    """The turns before, and the last one."""
    if not thread.turns:
        return ["", html.empty("One message goes to all at the same time, and the answers come side by side.")]
    return [_past(thread), turn(thread.turns[-1], last=True)]
