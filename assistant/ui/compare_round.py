"""One blind round as a card: two answers, the verdicts with their keys, and who was who once there is a vote.

Owns the card's HTML and the page's part of it: which key is which button. Refuses to choose rounds and to keep votes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from assistant.arena.asking import Pane
from assistant.arena.blind import Round
from assistant.ui import html
from assistant.ui.compare_panes import answered_by
from assistant.votes import ArmAnswer, Verdict, Vote

_SIDES = ("Left", "Right")
_BUTTONS: tuple[tuple[Verdict, str, str, str], ...] = (
    ("left", "Left is better", "1", "ArrowLeft"),
    ("right", "Right is better", "2", "ArrowRight"),
    ("tie", "Tie", "3", ""),
    ("both bad", "Both bad", "4", ""),
)
_CAPS = {"ArrowLeft": "←", "ArrowRight": "→", "Enter": "⏎"}
_SAID: dict[Verdict, str] = {
    "left": "{left} is better",
    "right": "{right} is better",
    "tie": "a tie",
    "both bad": "both are bad",
}


@dataclass(frozen=True)
class Showing:
    """What stands on one page: a round, and the vote on it once it is kept. `named` shows who is who before that.

    `exposed` tells that names were on the screen at some time. `reason` and `edited` are what the boxes begin with.
    """

    judged: Round
    vote: Vote | None = None
    named: bool = False
    exposed: bool = False
    reason: str = ""
    edited: str = ""
    can_undo: bool = False


def card(shown: Showing) -> str:
    """A round to judge, or one that was just judged."""
    vote, judged = shown.vote, shown.judged
    named = shown.named or vote is not None
    won = vote.verdict if vote else ""
    panes = "".join(
        _pane(side, answer, named=named, won=won == side.lower())
        for side, answer in zip(_SIDES, (judged.left, judged.right), strict=True)
    )
    below = _told(vote) if vote else _verdicts(shown)
    return _section(judged.message, panes, below, judged.id, "told" if vote else "judge")


def coming(message: str, panes: Sequence[Pane], waiting: str = "") -> str:
    """The same while the answers to a message of one's own still come."""
    texts = [_text(pane) for pane in panes] or [html.empty(waiting)] * len(_SIDES)
    cells = "".join(
        f'<article class="tw-pane"><div class="tw-head"><span>{side}</span></div>{text}</article>'
        for side, text in zip(_SIDES, texts, strict=True)
    )
    return _section(message, cells, "", "", "coming")


def nothing(told: str, *, can_undo: bool = False) -> str:
    """In place of a round where there is none."""
    undo = f'<div class="tw-bl-acts">{_button("undo", "Undo the last vote", "u")}</div>' if can_undo else ""
    return f'<section class="tw-bl" {_where("", "none")}>{html.empty(told)}{undo}</section>'


def _section(message: str, panes: str, below: str, round: str, phase: str) -> str:
    return (
        f'<section class="tw-bl" {_where(round, phase)} aria-label="Two answers">'
        f'<div class="tw-asked">{escape(message)}</div>'
        f'<div class="tw-panes" data-count="2">{panes}</div>{below}</section>'
    )


def _where(round: str, phase: str) -> str:
    """What the page's part reads. The time makes the page hear of every answer, also where nothing else changed."""
    return f'data-round="{escape(round)}" data-phase="{phase}" data-drawn="{time.monotonic_ns()}" tabindex="0"'


def _pane(side: str, answer: ArmAnswer, *, named: bool, won: bool) -> str:
    title = f" · {escape(answer.title or answer.model)}" if named else ""
    mark = '<span class="tw-badge tw-good">preferred</span>' if won else ""
    name = f'<div class="tw-who">{answered_by(answer)}</div>' if named else ""
    cut = '<div class="tw-foot"><b>cut at the limit</b></div>' if answer.finish_reason == "length" else ""
    return (
        f'<article class="tw-pane{" tw-won" if won else ""}" data-side="{side.lower()}">'
        f'<div class="tw-head"><span>{side}{title}</span>{mark}</div>{name}'
        f'<div class="tw-answer">{escape(answer.text)}</div>{cut}</article>'
    )


def _text(pane: Pane) -> str:
    if pane.error:
        return html.notes([("error", "This one failed.")])  # its words could tell who it is
    cursor = "" if pane.done else '<span class="tw-cursor">▍</span>'
    return f'<div class="tw-answer">{escape(pane.text)}{cursor}</div>'


def _verdicts(shown: Showing) -> str:
    buttons = "".join(
        _button("vote", words, key, arrow, verdict=verdict, main=verdict in ("left", "right"))
        for verdict, words, key, arrow in _BUTTONS
    )
    undo = _button("undo", "Undo", "u") if shown.can_undo else ""
    return (
        f'<div class="tw-bl-acts">{buttons}{undo}</div>'
        f'<div class="tw-bl-words"><label><span>Why? <i>optional</i> <kbd>R</kbd></span>'
        f"{_area('reason', shown.reason)}</label>"
        f"<label><span>What would have been right? <i>optional</i> <kbd>E</kbd></span>"
        f"{_area('edited', shown.edited)}</label></div>"
        '<p class="tw-rv-hint">Keys work while you are not typing anywhere; <kbd>Esc</kbd> leaves a box.</p>'
    )


def _told(vote: Vote) -> str:
    """Who was who, once the vote is kept."""
    left, right = (answer.title or answer.model for answer in vote.answers)
    said = _SAID[vote.verdict].format(left=left, right=right)
    how = "" if vote.blind else " The names were shown, so this vote does not count as blind."
    rows = [("good", f"Thank you, that is kept: {said}. Left was {left}, right was {right}.{how}")]
    if vote.flagged and vote.blind:
        sides = " and ".join(vote.flagged)
        rows.append(
            ("warning", f"The answer on the {sides} says itself which model it is: this round was hardly blind.")
        )
    acts = _button("next", "Next", "Enter", "n", main=True) + _button("undo", "Undo", "u")
    return f'{html.notes(rows)}<div class="tw-bl-acts">{acts}</div>'


def _button(act: str, words: str, key: str, other: str = "", *, verdict: str = "", main: bool = False) -> str:
    caps = "".join(f"<kbd>{_CAPS.get(name, name.upper())}</kbd>" for name in (key, other) if name)
    sent = f' data-verdict="{verdict}"' if verdict else ""
    kind = ' class="tw-rv-main"' if main else ""
    what = f'data-act="{act}" data-keys="{key} {other}"{sent}{kind}'
    return f'<button type="button" {what}>{caps}<span>{words}</span></button>'


def _area(name: str, text: str) -> str:
    # The first line end after the tag would be swallowed, hence one more.
    return f'<textarea name="{name}" rows="2">\n{escape(text)}</textarea>'


# The page's part. A key never judges while somebody types, cannot see the card, or waits for the last one.
KEYS_AND_CLICKS = """
const typing = it => it && (it.isContentEditable || ['TEXTAREA', 'SELECT'].includes(it.tagName) ||
  (it.tagName === 'INPUT' && !['radio', 'checkbox', 'button', 'submit', 'range'].includes(it.type)));
const section = () => element.querySelector('.tw-bl');
const box = name => element.querySelector(`textarea[name=${name}]`);
const of = () => (section() ? `${section().dataset.round}/${section().dataset.phase}` : '');
let busy = null, shown = of(), mine = false, early = '';

const has = key => it => it.dataset.keys.split(' ').includes(key);
const button = key => [...element.querySelectorAll('button[data-keys]')].find(has(key));
const release = () => { clearTimeout(busy); busy = null; element.classList.remove('tw-going'); };
const send = message => {
  if (busy) return;
  busy = setTimeout(release, 8000);
  mine = true;
  element.classList.add('tw-going');
  section().focus({preventScroll: true});
  trigger('click', message);
};
const press = it => {
  const {act, verdict} = it.dataset, words = name => (box(name) ? box(name).value : '');
  send({act, verdict: verdict || '', round: section().dataset.round, reason: words('reason'), edited: words('edited')});
};
// The page keeps boxes from one card to the next; what was typed belongs to the round that it was typed for.
const arrive = () => {
  release();
  if (of() === shown) return;
  shown = of();
  element.querySelectorAll('textarea').forEach(it => { it.value = it.defaultValue; });
  if (mine && section()) section().focus({preventScroll: true});
  mine = false;
  const next = early && button(early);
  early = '';
  if (next) press(next);
};
element.addEventListener('click', event => {
  const pressed = event.target.closest('button[data-act]');
  if (pressed) press(pressed);
});
const visible = () => {
  const at = section() && section().getClientRects()[0];
  return at && at.bottom > 0 && at.top < innerHeight;
};
const onKey = event => {
  if (!element.isConnected) return document.removeEventListener('keydown', onKey);
  const at = document.activeElement;
  if (event.isComposing || event.defaultPrevented || !visible()) return;
  if (typing(at)) {
    if (event.key === 'Escape' && element.contains(at)) section().focus({preventScroll: true});
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.repeat) return;
  // Enter on a button means that button, and an arrow among choices the next one.
  const other = at && at.closest('button, a, summary, label, [role=button], [role=option], [role=menuitem]');
  if (event.key === 'Enter' && other && other.getAttribute('role') !== 'tab') return;
  if (event.key.startsWith('Arrow') && at && at.closest('[role=radio], input')) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const words = {r: 'reason', e: 'edited'}[key];
  if (words && box(words)) {
    event.preventDefault();
    return box(words).focus();
  }
  if (busy && ['Enter', 'n'].includes(key)) early = key;  // who knows what comes next need not wait for it
  if (!button(key)) return;
  event.preventDefault();
  press(button(key));
};
document.addEventListener('keydown', onKey);
watch('value', arrive);
"""
