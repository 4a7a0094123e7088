"""Answers side by side as HTML: a message with a pane for each who answers, their names, figures and differences.

Owns what a pane shows. Refuses to ask and to keep anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from assistant.arena.asking import Pane
from assistant.arena.differences import marked
from assistant.ui import html
from assistant.ui.compare_arms import LETTERS
from assistant.votes import ArmAnswer
from prompts.diff import Segment

_CURSOR = '<span class="tw-cursor">▍</span>'


@dataclass(frozen=True)
class Turn:
    """One message and what came of it. `stopped` are the places of panes that somebody stopped."""

    message: str
    panes: tuple[Pane, ...]
    stopped: frozenset[int] = frozenset()

    @property
    def done(self) -> bool:
        return all(pane.done for pane in self.panes)

    def ended(self) -> Turn:
        """The same as it stays: those that had not ended were stopped."""
        cut = frozenset(n for n, pane in enumerate(self.panes) if not pane.done)
        return Turn(self.message, tuple(replace(pane, done=True) for pane in self.panes), cut)


def turn(shown: Turn, *, last: bool = False) -> str:
    """A message over its panes. The last turn's panes carry ids."""
    answered = [pane.text for pane in shown.panes if not pane.error]
    several = shown.done and len(answered) > 1
    marks = iter(marked(answered) if several else ())
    cells = "".join(
        _pane(index, pane, next(marks, ()) if not pane.error else (), stopped=index in shown.stopped, last=last)
        for index, pane in enumerate(shown.panes)
    )
    return _under(shown.message, cells, len(shown.panes))


def waiting(message: str, titles: Sequence[str], told: str) -> str:
    """The same before anybody can answer."""
    cells = "".join(
        f'<article class="tw-pane" id="pane-{letter.lower()}">{_head(letter, title)}{html.empty(told)}</article>'
        for letter, title in zip(LETTERS, titles, strict=False)
    )
    return _under(message, cells, len(titles))


def _under(message: str, cells: str, count: int) -> str:
    asked = f'<div class="tw-asked">{escape(message)}</div>' if message else ""
    return f'<section class="tw-turn">{asked}<div class="tw-panes" data-count="{count}">{cells}</div></section>'


def _pane(index: int, pane: Pane, segments: Sequence[Segment], *, stopped: bool, last: bool) -> str:
    letter, answer = LETTERS[index], pane.answer()
    id = f' id="pane-{letter.lower()}"' if last else ""
    told = f'<div class="tw-who">{answered_by(answer) if pane.model else f"prompt {pane.arm.prompt.id}"}</div>'
    body = html.notes([("error", pane.error)]) if pane.error else ""
    if pane.text or not pane.error:
        text = _marked(segments) if segments else escape(pane.text)
        body = f'<div class="tw-answer">{text}{"" if pane.done else _CURSOR}</div>{body}'
    return (
        f'<article class="tw-pane"{id}>{_head(letter, pane.arm.title)}{told}{_stranger(pane)}{body}'
        f'<div class="tw-foot">{_foot(pane, stopped=stopped)}</div></article>'
    )


def _head(letter: str, title: str) -> str:
    return f'<div class="tw-head"><span><span class="tw-letter">{letter}</span> {escape(title)}</span></div>'


def answered_by(answer: ArmAnswer) -> str:
    """Who answered, as the server said, as HTML."""
    of = f", of {escape(answer.parent)}" if answer.parent else ""
    weights = f" · weights {escape(answer.digest)}" if answer.digest else ""
    return f"answered by <b>{escape(answer.model)}</b>{of}{weights} · prompt {escape(answer.prompt_id)}"


def _stranger(pane: Pane) -> str:
    """A red note where one of our own servers answers under another name than was asked for."""
    asked = pane.arm.model.name
    ours = getattr(pane.arm.model, "is_ours", True)  # others may give a dated name for the one that was asked for
    if not ours or pane.model in ("", asked):
        return ""
    return html.notes([("error", f"{asked} was asked, and {pane.model} answered. Do not trust this pane.")])


def _marked(segments: Sequence[Segment]) -> str:
    return "".join(
        f"<mark>{escape(segment.text)}</mark>" if segment.kind == "added" else escape(segment.text)
        for segment in segments
    )


def _foot(pane: Pane, *, stopped: bool) -> str:
    if pane.first_token is None:
        return "stopped before the first token" if stopped else "" if pane.done else "waiting for the first token"
    parts = [f"{pane.first_token:.2f} s to the first token"]
    if pane.tokens_per_second:
        parts.append(f"{pane.tokens_per_second:.0f} tokens/s")
    read = f"{pane.prompt_tokens:,} + " if pane.prompt_tokens else ""
    parts += [f"{len(pane.text):,} characters", f"{read}{pane.tokens:,} token{'s' * (read != '' or pane.tokens != 1)}"]
    if stopped:
        parts.append("<b>stopped</b>")
    elif pane.finish_reason == "length":
        parts.append("<b>cut at the limit</b>")
    return " · ".join(parts)
