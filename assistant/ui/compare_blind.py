"""Judge blind: rounds made ready in the background, judged one at a time by keyboard, or a message of one's own.

Owns which round stands on which page, and what is said about how far the judging is. Refuses to draw rounds (`arena`),
to word what votes mean (`statistics`) and to keep them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import gradio as gr
from pydantic import BaseModel, ConfigDict, ValidationError

from assistant.arena.asking import Pane
from assistant.arena.batch import Batch
from assistant.arena.blind import Prepared, Round, second_opinion, two_of
from assistant.project import LOCAL, Project
from assistant.ui import html
from assistant.ui.compare_arms import NOBODY, who
from assistant.ui.compare_live import live
from assistant.ui.compare_round import KEYS_AND_CLICKS, Showing, card, coming, nothing
from assistant.ui.panel import Desk, guarded
from assistant.votes import ME, Verdict, Vote
from prompts.chat_model import Sampling
from prompts.errors import RunError, TunewrightError

_WHAT = (
    "All who are compared answer the messages that nobody trained on. Then you judge two answers at a time, without "
    "names, and learn who was who after each vote."
)


@dataclass(frozen=True)
class _Page:
    """What one page shows, and for whom. `second` is for rounds that others judged, `live` while answers come in."""

    who: str = ""
    voter: str = ME
    second: bool = False
    shown: Showing | None = None
    live: bool = False


class _Press(BaseModel):
    """What the page sends. It may be anything: the page is in the person's hands."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    act: Literal["vote", "next", "undo"]
    verdict: Verdict | Literal[""] = ""
    round: str = ""
    reason: str = ""
    edited: str = ""


class BlindPanel:
    """Preparing, the card, and a message of one's own."""

    waits_for = "splits"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._stamp, self._page = gr.State(""), gr.State(_Page())
        with gr.Row(elem_classes="tw-bottom"):
            self._start = gr.Button("Prepare rounds", variant="primary", min_width=130, elem_id="blind-start")
            self._stop = gr.Button("Stop", min_width=70, interactive=False, elem_id="blind-stop")
            self._voter = gr.Textbox("", label="Your name", placeholder="me", min_width=110, elem_id="blind-voter")
            second = gr.Checkbox(label="Second opinion", container=False, min_width=140, elem_id="blind-second")
            names = gr.Checkbox(label="Show names", container=False, min_width=120, elem_id="blind-names")
        self._progress = gr.HTML(elem_id="blind-progress")
        self._card = gr.HTML(elem_id="blind-card", js_on_load=KEYS_AND_CLICKS)
        self._so_far = gr.HTML(elem_id="blind-so-far")
        with (
            gr.Accordion("Judge a message of your own", open=False, elem_id="blind-own"),
            gr.Row(elem_classes="tw-send"),
        ):
            own = gr.Textbox(
                label="Your message", lines=1, max_lines=8, scale=6, elem_id="blind-message",
                placeholder="Two of those who are compared answer it, without names",
            )  # fmt: skip
            ask = gr.Button("Ask", scale=1, min_width=90, elem_id="blind-ask")
        self.outputs: list[Any] = [self._start, self._stop, self._progress, self._so_far, self._voter, self._stamp]
        id, shown = desk.project_id, [self._page, self._card]
        seen = [id, self._page, self._voter, second, names]
        how: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 8}
        desk.then_redraw(self._start.click(guarded(self._prepare), [id], None))
        desk.then_redraw(self._stop.click(guarded(self._end), [id], None))
        for event in (self._stamp.change, second.input, names.input, self._voter.submit, self._voter.blur):
            event(guarded(self._look), seen, shown, **how)
        # No redraw of the other panels after each vote: they follow with the clock.
        self._card.click(guarded(self._press), seen, shown, trigger_mode="multiple", **how)
        for event in (ask.click, own.submit):
            event(self._ask, [own, *seen], [*shown, own], **how)

    # Preparing

    def _prepare(self, id: str) -> None:
        self._desk.pipeline.start_rounds(id)

    def _end(self, id: str) -> None:
        if job := self._desk.pipeline.preparing.get(id):
            job.stop()

    def signature(self, project: Project) -> Hashable:
        pipeline, job = self._desk.pipeline, self._desk.pipeline.preparing.get(project.id)
        state = (id(job), job.running, job.message, job.error) if job else None
        return (who(pipeline, project), state, len(pipeline.store.votes(project.id)))

    def draw(self, project: Project) -> list[Any]:
        job = self._desk.pipeline.preparing.get(project.id)
        busy, owner = bool(job and job.running), project.owner
        return [
            gr.update(interactive=not busy and project.data is not None),
            gr.update(interactive=busy),
            _preparing(job) if job and (busy or job.error) else _judged(self._prepared(project)),
            html.notes(self._verdicts(project)),
            gr.update(placeholder="me" if owner == LOCAL else owner),
            repr(self.signature(project)),
        ]

    def _verdicts(self, project: Project) -> list[tuple[str, str]]:
        """What the votes say so far: a sentence for two; of more, what is decided."""
        if not self._desk.pipeline.votes(project):
            return []
        tallies = self._desk.pipeline.tallies(project)
        if len(tallies) == 1:
            return [("info" if tallies[0].sequential.better is None else "good", tallies[0].told)]
        decided = [one.told for one in tallies if one.sequential.better is not None]
        left = f"{len(tallies) - len(decided)} of {len(tallies)} pairs of models cannot be told apart yet."
        return [*(("good", told) for told in decided), ("info", left)]

    # Which round

    def _look(self, id: str, page: _Page, voter: str, second: bool, names: bool) -> list[Any]:
        """What this page shows now: what it showed, as long as the same are compared. What stays as it is is not sent
        again: meanwhile a vote may have been given on it."""
        project = self._desk.pipeline.project(id)
        wanted = self._page_of(project, voter, second)
        same = (page.who, page.second) == (wanted.who, second)
        if same and (page.live or (page.shown and page.shown.named == names)):
            return [gr.skip(), gr.skip()]
        return self._drawn(project, page if same and page.shown else self._next(project, wanted), names)

    def _page_of(self, project: Project, voter: str, second: bool) -> _Page:
        return _Page(repr(who(self._desk.pipeline, project)), _spelled(voter, project), second)

    def _next(self, project: Project, page: _Page) -> _Page:
        rounds = self._rounds(project, page)
        shown = Showing(rounds[0], can_undo=self._can_undo(project, page.voter)) if rounds else None
        return replace(page, shown=shown, live=False)

    def _rounds(self, project: Project, page: _Page) -> Sequence[Round]:
        if page.second:
            return second_opinion(self._desk.pipeline.votes(project), page.voter)
        return self._prepared(project).rounds

    def _prepared(self, project: Project) -> Prepared:
        return self._desk.pipeline.rounds(project) if project.data else Prepared(())

    def _can_undo(self, project: Project, voter: str) -> bool:
        return any(vote.voter == voter for vote in self._desk.pipeline.votes(project))

    # Judging

    def _press(self, id: str, page: _Page, voter: str, second: bool, names: bool, event: gr.EventData) -> list[Any]:
        """A key or a button of the card."""
        project = self._desk.pipeline.project(id)
        page = replace(self._page_of(project, voter, second), shown=page.shown)
        with suppress(ValidationError):  # then it was none of ours
            press = _Press.model_validate(event._data)
            if press.act == "vote":
                page = self._judge(project, page, press, names)
            elif press.act == "undo":
                page = self._undo(project, page)
            else:
                page = self._next(project, page)
        return self._drawn(project, page, names)

    def _judge(self, project: Project, page: _Page, press: _Press, names: bool) -> _Page:
        shown = page.shown
        if not press.verdict or shown is None or shown.vote or press.round != shown.judged.id:
            return page
        words = {"voter": page.voter, "reason": press.reason.strip(), "edited": press.edited.strip()}
        blind = not (names or shown.exposed)
        try:
            vote = self._desk.pipeline.judge(project.id, shown.judged, press.verdict, **words, blind=blind)
        except RunError as error:  # it was judged in another window before
            gr.Warning(str(error), title="That did not work", duration=15)
            return self._next(project, page)
        return replace(page, shown=replace(shown, vote=vote))

    def _undo(self, project: Project, page: _Page) -> _Page:
        """The last vote is taken back, and its round is there again with what was written."""
        undone = self._desk.pipeline.undo_vote(project.id, page.voter)
        if undone is None or len(undone.answers) != 2:
            gr.Info("There is no vote of yours to take back.", duration=5)
            return self._next(project, page)
        return replace(page, shown=_again(undone, can_undo=self._can_undo(project, page.voter)))

    # A message of one's own

    async def _ask(
        self, message: str, id: str, page: _Page, voter: str, second: bool, names: bool
    ) -> AsyncIterator[list[Any]]:
        """Two of those who are compared answer, on the sides that were drawn for them."""
        pipeline = self._desk.pipeline
        project = pipeline.project(id)
        page = self._page_of(project, voter, second)
        panes: tuple[Pane, ...] = ()
        try:
            if not message.strip():
                raise RunError("There is no message to send.", hint="Write one.")
            pair, sampling = two_of(pipeline.chosen(project)), Sampling()
            async with aclosing(live(pipeline, project, pair, message, sampling)) as asked:
                async for state in asked:
                    panes = state.panes
                    yield [replace(page, live=True), coming(message, panes, state.waiting), ""]
            left, right = (pane.answer() for pane in panes)
            if any(pane.error for pane in panes):
                raise RunError("One of the two did not answer.", hint="Send it again, or look at it in Talk.")
            judged = Round(message, left, right, typed=True, sampling=sampling, engine=pipeline.engines.title())
            shown = Showing(judged, can_undo=self._can_undo(project, page.voter))
            yield [*self._drawn(project, replace(page, shown=shown), names), gr.skip()]
        except TunewrightError as error:
            yield [*self._drawn(project, self._next(project, page), names), message]
            raise gr.Error(str(error), title="That did not work", duration=15, print_exception=False) from error

    # Drawing

    def _drawn(self, project: Project, page: _Page, names: bool) -> list[Any]:
        """The page's state and its card."""
        shown = page.shown
        if shown is None:
            can_undo = self._can_undo(project, page.voter)
            return [page, nothing(self._why_none(project, page), can_undo=can_undo)]
        shown = replace(shown, named=names, exposed=shown.exposed or (names and shown.vote is None))
        return [replace(page, shown=shown), card(shown)]

    def _why_none(self, project: Project, page: _Page) -> str:
        if project.data is None:
            return NOBODY
        if page.second:
            return "There is no round that somebody else has judged blind and you have not."
        prepared, own = self._prepared(project), "Write a message of your own to go on."
        if prepared.judged:
            return f"You are through: {prepared.told} {own}"
        return f"{prepared.told} {own}" if prepared.told else _WHAT


def _preparing(job: Batch) -> str:
    if job.error:
        return html.notes([("error", job.error)])
    left = f"about {html.duration(job.seconds_left)} left" if job.seconds_left else ""
    return html.progress(job.done / max(1, job.total), f"All answer: {job.message or 'beginning'}", left)


def _judged(prepared: Prepared) -> str:
    """How far the judging is, and what is left out of it."""
    left = len(prepared.rounds)
    if not left + prepared.judged:
        return ""
    out = [
        f"{count:,} {what}"
        for count, what in ((prepared.alike, "answered alike"), (prepared.failed, "failed"))
        if count
    ]
    told = f"{' and '.join(out)}, left out" if out else ""
    return html.progress(prepared.judged / (left + prepared.judged), f"{prepared.judged:,} judged, {left:,} left", told)


def _spelled(voter: str, project: Project) -> str:
    """The name as votes have it: who logged in, where the box is empty."""
    mine = voter.strip().casefold() in ("", "me")
    name = (ME if project.owner == LOCAL else project.owner) if mine else voter
    return Vote(message="", answers=(), voter=name).voter


def _again(vote: Vote, *, can_undo: bool) -> Showing:
    """The round of a vote, as it stood."""
    left, right = vote.answers
    judged = Round(vote.message, left, right, vote.round, vote.typed, vote.sampling, vote.engine)
    return Showing(judged, exposed=not vote.blind, reason=vote.reason, edited=vote.edited, can_undo=can_undo)
