"""What the votes say: who is preferred and how sure that is, the votes themselves, and the training that follows.

Owns how that is laid out. Refuses to count (`arena.statistics`), to make pairs and to plan the round (`votebench`).
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
import pandas as pd

from assistant.arena.pairs import Pair
from assistant.arena.statistics import Strength, Tally
from assistant.arena.voters import Share
from assistant.comparebench import Findings
from assistant.project import Project
from assistant.ui import html
from assistant.ui.compare_arms import who
from assistant.ui.panel import Desk, guarded
from assistant.votes import ME, Vote
from prompts.errors import TunewrightError

_NOTHING = "Nobody has voted yet. Prepare rounds under Judge blind, or judge a message of your own there."
_NO_PAIRS = "No vote has preferred one answer to another yet; a better answer that you write makes a pair too."
_LOOK = (
    "The share counts rounds with a winner. Its interval is for one look at a number of rounds fixed before; the "
    "sentence above may be looked at after every vote."
)
_LEANS = 0.05
_WIDTHS = ["150px", "190px", "76px", "110px", "76px", "140px", "110px", "110px", "66px"]
_PAIR_WIDTHS = ["250px", "200px", "200px", "100px", "66px"]
TITLE = "What the votes say"
_HOW = {"vote": "a vote", "edit": "an answer that was written"}


class VotesPanel:
    """The findings, the votes, the pairs, and the next round."""

    waits_for = "splits"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._downloads = TemporaryDirectory(prefix="tunewright-")  # Gradio serves files from there
        self._stamp = gr.State("")
        self._findings = gr.HTML(elem_id="votes-findings")
        with gr.Accordion(
            "The votes, the latest first", open=False, visible=False, elem_id="votes-list"
        ) as self._listed:
            self._table = gr.Dataframe(
                interactive=False, wrap=True, max_height=360, show_search="search", elem_id="votes-table"
            )
        with gr.Accordion(
            "What can be learned from them", open=False, visible=False, elem_id="votes-pairs"
        ) as self._paired:
            self._no_pairs = gr.HTML()
            self._pairs = gr.Dataframe(
                interactive=False, wrap=True, max_height=360, show_search="search", elem_id="votes-pairs-table"
            )
            self._export = gr.DownloadButton("Download the pairs for TRL", size="sm", elem_id="votes-export")
        with gr.Accordion("The next round of training", open=True, visible=False, elem_id="votes-round") as self._next:
            self._told = gr.HTML(elem_id="votes-told")
            self._plan = gr.Code(
                language="yaml", show_label=False, interactive=False, visible=False, lines=6, max_lines=24
            )
            self._train = gr.Button(
                "Train on these votes", variant="primary", interactive=False, elem_id="votes-train", min_width=200
            )
        self._shown: list[Any] = [
            self._findings, self._listed, self._table, self._paired, self._no_pairs, self._pairs, self._export,
            self._next, self._told, self._plan, self._train
        ]  # fmt: skip
        self.outputs: list[Any] = [self._stamp]
        desk.then_redraw(self._train.click(guarded(self._start), [desk.project_id], None))

    def follow(self, tab: gr.State) -> None:
        """Count and plan only while this tab, whose title the state holds, is open on the page: that takes a second,
        and whoever judges round after round must not wait for it."""
        for event in (self._stamp.change, tab.change):
            event(
                guarded(self._look), [self._desk.project_id, tab], self._shown, show_progress="hidden",
                concurrency_limit=8,
            )  # fmt: skip

    def signature(self, project: Project) -> Hashable:
        votes = self._desk.pipeline.votes(project)
        return (who(self._desk.pipeline, project), len(votes), votes[-1].id if votes else "")

    def draw(self, project: Project) -> list[Any]:
        return [repr(self.signature(project))]

    def _look(self, id: str, tab: str) -> list[Any]:
        if tab != TITLE:
            return [gr.skip()] * len(self._shown)
        project, hidden = self._desk.pipeline.project(id), gr.update(visible=False)
        votes = self._desk.pipeline.votes(project)
        if not votes:
            return [html.empty(_NOTHING), hidden, None, hidden, "", hidden, hidden, hidden, "", hidden, gr.skip()]
        return [*self._of_votes(project, votes), gr.update(visible=True), *self._prepared(id)]

    def _of_votes(self, project: Project, votes: Sequence[Vote]) -> list[Any]:
        """The figures, the votes, and the pairs."""
        pipeline = self._desk.pipeline
        pairs = pipeline.pairs(project)
        some = "1 vote" if len(votes) == 1 else f"{len(votes):,} votes"
        label = "1 pair of answers can" if len(pairs) == 1 else f"{len(pairs):,} pairs of answers can"
        return [
            _found(pipeline.findings(project), votes),
            gr.update(visible=True, label=f"{some}, the latest first"),
            gr.update(value=_vote_frame(votes), column_widths=_WIDTHS),
            gr.update(visible=True, label=f"{label} be learned from"),
            "" if pairs else html.empty(_NO_PAIRS),
            gr.update(value=_pair_frame(pairs), column_widths=_PAIR_WIDTHS, visible=bool(pairs)),
            self._file(project) if pairs else gr.update(visible=False),
        ]

    def _file(self, project: Project) -> Any:
        """The pairs as TRL takes them, to be downloaded."""
        rows = self._desk.pipeline.exported_pairs(project)
        path = Path(self._downloads.name) / project.id / "pairs.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        return gr.update(value=str(path), visible=True)

    # The next round

    def _prepared(self, id: str) -> list[Any]:
        """The plan of the round, or what is missing for it."""
        try:
            ready = self._desk.pipeline.prepare_round(id)
        except TunewrightError as error:
            told = html.notes([("info", str(error))])
            return [told, gr.update(visible=False), gr.update(interactive=False)]
        told = html.notes(("warning", warning) for warning in ready.warnings)
        return [told, gr.update(value=ready.text, visible=True), gr.update(interactive=True)]

    def _start(self, id: str) -> None:
        """Train on the votes, and bring the person to where that is seen."""
        conversation = self._desk.conversation
        run = self._desk.pipeline.start_next_round(id)
        conversation.note(id, conversation.acts.training.begun(id, run), ("Stop and keep", "Cancel training"))
        self._desk.pipeline.go_to(id, "Train")


# Drawing


def _found(found: Findings, votes: Sequence[Vote]) -> str:
    """The verdicts first, then the figures, then whether the voters can be trusted."""
    verdicts = html.notes(("good" if one.sequential.better is not None else "info", one.told) for one in found.tallies)
    figures = _one_pair(found.tallies[0]) if len(found.tallies) == 1 else _pairs_table(found.tallies)
    bars = html.intervals([bar for one in found.tallies if (bar := _bar(one))])
    strong = _strengths(found.strengths) if len(found.strengths) > 2 else ""
    voters = [_leaning(voter, share, alone=len(found.leanings) == 1) for voter, share in found.leanings]
    voters += [("info", found.agreement.told)] if found.agreement else []
    return verdicts + figures + bars + html.aside([("", _LOOK)]) + strong + html.notes([*voters, *_doubts(votes)])


def _leaning(voter: str, share: Share, *, alone: bool) -> tuple[str, str]:
    return "warning" if share.p_value < _LEANS else "info", share.told if alone else f"{voter}: {share.told}"


def _bar(one: Tally) -> tuple[str, float, float, float, str] | None:
    if one.rate is None:
        return None
    return f"{one.second} over {one.first}", one.rate.value, one.rate.low, one.rate.high, str(one.rate)


def _one_pair(one: Tally) -> str:
    counts = [(f"{one.first} won", one.first_wins), (f"{one.second} won", one.second_wins)]
    return html.tiles((name, str(count)) for name, count in [*counts, ("ties", one.ties), ("both bad", one.both_bad)])


def _pairs_table(tallies: Sequence[Tally]) -> str:
    head = ("first", "second", "first won", "second won", "ties", "both bad")
    counts = [(one.first_wins, one.second_wins, one.ties, one.both_bad) for one in tallies]
    return html.table(head, [(one.first, one.second, *map(str, row)) for one, row in zip(tallies, counts, strict=True)])


def _strengths(found: Sequence[Strength]) -> str:
    title = html.heading("Chance to win a round against the others")
    several = len({one.group for one in found}) > 1
    rows = [
        (
            one.title,
            one.value,
            one.low,
            one.high,
            f"{one.value:.0%} ({one.low:.0%} to {one.high:.0%}, n={one.n})" + f", group {one.group + 1}" * several,
        )
        for one in found
    ]
    note = [("info", "Those of different groups never met, not even through others: do not compare them.")] * several
    return title + html.intervals(rows) + html.notes(note)


def _doubts(votes: Sequence[Vote]) -> list[tuple[str, str]]:
    """What a reader should know of the votes that went into this."""
    named, flagged = sum(not vote.blind for vote in votes), sum(bool(vote.flagged) for vote in votes)
    told, of = [], f"of {len(votes):,} votes"
    if named:
        told.append(("warning", f"{named:,} {of} were given with the names on the screen; they do not count here."))
    if flagged:
        told.append(("warning", f"In {flagged:,} {of} an answer said which model it is; they do not count here."))
    return told


def _vote_frame(votes: Sequence[Vote]) -> pd.DataFrame:
    columns = ["time", "message", "verdict", "preferred", "voter", "reason", "left", "right", "names"]
    rows = [
        [
            datetime.fromtimestamp(vote.created).strftime("%Y-%m-%d %H:%M") if vote.created else "",
            vote.message,
            vote.verdict,
            _title(vote.winner) if vote.winner else "",
            "me" if vote.voter == ME else vote.voter,
            vote.reason,
            *[_title(answer) for answer in vote.answers][:2],
            "blind" if vote.blind else "shown",
        ]
        for vote in reversed(votes)
        if len(vote.answers) == 2
    ]
    return pd.DataFrame(rows, columns=columns)


def _title(answer: Any) -> str:
    return str(answer.title or answer.model)


def _pair_frame(pairs: Sequence[Pair]) -> pd.DataFrame:
    rows = [[pair.input, pair.chosen, pair.rejected, _HOW[pair.how], pair.count] for pair in pairs]
    return pd.DataFrame(rows, columns=["message", "preferred", "to", "by", "votes"])
