"""One row at a time, decided by keyboard: rows without an answer, rows that may be wrong, rows that a model wrote.

Owns the card, its keys and what they mean. Refuses to choose rows and to keep decisions (that is `reviewing`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from html import escape
from typing import Any, Literal

import gradio as gr
from pydantic import BaseModel, ConfigDict, ValidationError

from assistant.project import Project
from assistant.reviewing.cards import KEYS, QUEUES, Card, Queue, Shown
from assistant.reviewing.reviews import Reviewing
from assistant.ui import html
from assistant.ui.panel import Desk

_NAMES: dict[Queue, str] = {
    "unanswered": "No answer yet",
    "doubtful": "May be wrong",
    "written": "Written by a model",
}
_CHOICES = 'list="tw-rv-choices" autocomplete="off"'
_MOST_CHOICES = 500  # labels that a box offers


class Review:
    """The queues, the card and its buttons as one piece of HTML, drawn anew after each decision."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.reviewing = Reviewing(desk.pipeline)
        self._card = gr.HTML(visible=False, elem_id="tw-review", js_on_load=_KEYS_AND_CLICKS)
        self.outputs: list[Any] = [self._card]
        # No redraw of the other panels after each decision: they follow with the clock.
        press = desk.edits(self._press)
        how: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 8, "trigger_mode": "multiple"}
        self._card.click(press, [desk.project_id], [self._card], **how)

    def signature(self, project: Project) -> Hashable:
        return self.reviewing.signature(project)

    def draw(self, project: Project) -> list[Any]:
        shown = self.reviewing.shown(project)
        return [gr.update(visible=not shown.empty, value=_drawn(shown))]

    def _press(self, id: str, event: gr.EventData) -> str:
        """A key or a button of the card."""
        with suppress(ValidationError):  # then it was none of ours
            self._do(id, _Press.model_validate(event._data))
        return _drawn(self.reviewing.shown(self._desk.pipeline.project(id)))

    def _do(self, id: str, press: _Press) -> None:
        to, row = self.reviewing, press.row
        acts: dict[str, Callable[[], None]] = {
            "open": lambda: to.open(id, press.queue),
            "answer": lambda: to.answer(id, row, press.text),
            "keep": lambda: to.keep(id, row),
            "drop": lambda: to.drop(id, row),
            "skip": lambda: to.skip(id, row),
            "approve": lambda: to.approve(id, row, press.input, press.output),
            "reject": lambda: to.reject(id, row),
            "approve-all": lambda: to.approve_all(id),
            "reject-all": lambda: to.reject_all(id),
            "undo": lambda: to.undo(id),
        }
        acts[press.act]()


class _Press(BaseModel):
    """What the page sends. It may be anything: the page is in the person's hands."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    act: Literal["open", "answer", "keep", "drop", "skip", "approve", "reject", "approve-all", "reject-all", "undo"]
    row: int = 0
    queue: Queue = "unanswered"
    text: str = ""
    input: str | None = None
    output: str | None = None


# Drawing


def _drawn(shown: Shown) -> str:
    card, after = shown.card, shown.after
    where = f'data-stamp="{shown.stamp}" data-queue="{shown.queue}" data-row="{card.row if card else 0}"'
    parts = [_queues(shown), _why(shown), _progress(shown)]
    parts.append(f'<div class="tw-rv-now">{_card(card, shown) if card else _through(shown)}</div>')
    if card and after:
        parts.append(f'<div class="tw-rv-next" data-row="{after.row}" hidden>{_card(after, shown)}</div>')
    parts += [_bulk(shown), _choices(shown)]
    return f'<section class="tw-rv" {where} aria-label="Going through rows">{"".join(parts)}</section>'


def _queues(shown: Shown) -> str:
    cells = "".join(
        f'<button type="button" role="radio" aria-checked="{str(queue == shown.queue).lower()}" data-act="open" '
        f'data-queue="{queue}"{"" if shown.left[queue] else " disabled"}>{_NAMES[queue]} <b>{shown.left[queue]:,}</b>'
        "</button>"
        for queue in QUEUES
        if shown.left[queue] or shown.done[queue]
    )
    return f'<div class="tw-rv-queues" role="radiogroup" aria-label="Which rows">{cells}</div>'


def _why(shown: Shown) -> str:
    left = shown.left[shown.queue]
    rows, are, carry = (f"{left:,} rows", "were", "have") if left != 1 else ("1 row", "was", "has")
    told = {
        "unanswered": f"{rows} {carry} no answer yet. Where an answer teaches most comes first.",
        "doubtful": f"{rows} may carry the wrong label. Most doubtful first.",
        "written": f"{rows} {are} written by a model. Only what you approve is trained on.",
    }
    return f'<p class="tw-rv-why">{told[shown.queue]}</p>' if left else ""


def _progress(shown: Shown) -> str:
    done, left = shown.done[shown.queue], shown.left[shown.queue]
    right = f"you took {shown.right} of the last {shown.guesses} guesses" if shown.guesses >= 5 else ""
    right = right if shown.queue == "unanswered" else ""
    return html.progress(done / max(1, done + left), f"{done:,} of {done + left:,} done", right)


def _through(shown: Shown) -> str:
    undo = _button("undo", "Undo", "u", note=shown.undo) if shown.undo else ""
    return f'<div class="tw-empty tw-rv-card" tabindex="0">All of it is looked through. {undo}</div>'


def _card(card: Card, shown: Shown) -> str:
    badge = '<span class="tw-badge tw-rv-synthetic">synthetic</span>' if card.queue == "written" else ""
    head = f'<div class="tw-rv-head"><span>Row {card.row}</span>{badge}<span>{escape(card.why)}</span></div>'
    body = f'<div class="tw-rv-text">{escape(card.input)}</div>'
    match card.queue:
        case "unanswered":
            body += _guess(card) + (_text_box() if shown.free else _labels(card, shown))
        case "doubtful":
            body += _versus(card) + _labels(card, shown)
        case "written":
            body += f'<div class="tw-rv-answer">{escape(card.answer)}</div>{_edit_boxes(card, shown)}'
    article = f'<article class="tw-rv-card" tabindex="0" aria-live="polite">{head}{body}</article>'
    return f"{article}{_legend(card, shown)}"


def _sure(card: Card) -> str:
    percent = round(card.sure * 100)
    return (
        f'<span class="tw-rv-sure" title="How sure the guess is"><span class="tw-track"><span class="tw-fill" '
        f'style="width:{percent}%"></span></span>{percent} % sure</span>'
    )


def _guess(card: Card) -> str:
    if not card.guess:
        return ""
    return f'<div class="tw-rv-guess"><span>Reads like</span><b>{_label(card.guess)}</b>{_sure(card)}</div>'


def _versus(card: Card) -> str:
    now = f'<div class="tw-rv-guess tw-rv-present"><span>Labelled</span><b>{_label(card.answer)}</b></div>'
    return now + _guess(card)


def _labels(card: Card, shown: Shown) -> str:
    """A button for each label that has a key, and a box for any other."""
    likely = ' class="tw-rv-likely"'
    keyed = "".join(
        f'<button type="button" data-act="answer" data-key="{key}" data-text="{escape(label)}"'
        f"{likely if label == card.guess else ''}><kbd>{key}</kbd><span>{_label(label)}</span></button>"
        for key, label in enumerate(shown.labels[:KEYS], start=1)
    )
    more = len(shown.labels) - KEYS
    hint = f"another of {len(shown.labels)} labels, or a new one" if more > 0 else "a new label"
    box = f'<input name="text" required {_CHOICES} placeholder="T: type {hint}" aria-label="Label">'
    return (
        f'<div class="tw-rv-labels">{keyed}</div><form class="tw-rv-form" data-act="answer">{box}'
        '<button type="submit">Give it</button></form>'
    )


def _label(label: str) -> str:
    """A label that may break after an underscore or a slash."""
    return escape(label).replace("_", "_<wbr>").replace("/", "/<wbr>")


def _text_box() -> str:
    return (
        '<form class="tw-rv-form tw-rv-free" data-act="answer"><textarea name="text" required rows="4" '
        'placeholder="T: write the answer" aria-label="Answer"></textarea>'
        '<button type="submit"><kbd>Ctrl ⏎</kbd>Give it</button></form>'
    )


def _edit_boxes(card: Card, shown: Shown) -> str:
    answer = f'<input name="output" required {_CHOICES} value="{escape(card.answer)}">'
    return (
        f'<form class="tw-rv-form tw-rv-edit" data-act="approve"><label>Input{_area("input", card.input)}</label>'
        f"<label>Answer{answer if shown.labels else _area('output', card.answer)}</label>"
        '<button type="submit"><kbd>Ctrl ⏎</kbd>Save and approve</button></form>'
    )


def _area(name: str, text: str) -> str:
    rows = min(10, 2 + len(text) // 90)
    # The first line end after the tag would be swallowed, hence one more.
    return f'<textarea name="{name}" required rows="{rows}">\n{escape(text)}</textarea>'


def _choices(shown: Shown) -> str:
    options = "".join(f'<option value="{escape(label)}"></option>' for label in shown.labels[:_MOST_CHOICES])
    return f'<datalist id="tw-rv-choices">{options}</datalist>'


def _legend(card: Card, shown: Shown) -> str:
    """Every act that the card knows, as a button with its key."""
    more: list[str] = []
    if card.queue == "written":
        more = [_button("approve", "Approve", "Enter", main=True), _button("edit", "Edit", "e")]
        more += [_button("reject", "Reject", "r"), _button("skip", "Skip", "s")]
    else:
        if card.guess and not (shown.free and card.queue == "unanswered"):
            told = "Accept" if card.queue == "unanswered" else "Change it" if card.guess != card.answer else "Keep it"
            more = [_button("answer", told, "Enter", note=card.guess, text=card.guess, main=True)]
        if card.queue == "doubtful":
            more += [_button("keep", "Keep", "k", note=card.answer)]
        more += [_button("type", "Type", "t"), _button("skip", "Skip", "s"), _button("drop", "Drop the row", "d")]
    if shown.undo:
        more += [_button("undo", "Undo", "u", note=shown.undo)]
    return (
        f'<div class="tw-rv-legend">{"".join(more)}</div>'
        '<p class="tw-rv-hint">Keys work while you are not typing anywhere; <kbd>Esc</kbd> leaves a box.</p>'
    )


def _button(act: str, words: str, key: str, *, note: str = "", text: str = "", main: bool = False) -> str:
    kind = ' class="tw-rv-main"' if main else ""
    sent = f' data-text="{escape(text)}"' if text else ""
    told = f" <i>{escape(note)}</i>" if note else ""
    cap = "⏎" if key == "Enter" else key.upper()
    return (
        f'<button type="button" data-act="{act}" data-key="{key}"{sent}{kind}><kbd>{cap}</kbd>'
        f"<span>{words}{told}</span></button>"
    )


def _bulk(shown: Shown) -> str:
    left = shown.left["written"]
    if shown.queue != "written" or left < 2:
        return ""
    return (
        '<div class="tw-rv-bulk"><span>Or at once, to be undone with <kbd>U</kbd>:</span>'
        f'<button type="button" data-act="approve-all">Approve all {left:,}</button>'
        f'<button type="button" data-act="reject-all">Reject all {left:,}</button></div>'
    )


# The page's part: which key is which button, and never while somebody types or cannot see the card.
_KEYS_AND_CLICKS = """
const typing = it => it && (it.isContentEditable || ['TEXTAREA', 'SELECT'].includes(it.tagName) ||
  (it.tagName === 'INPUT' && !['radio', 'checkbox', 'button', 'submit', 'range'].includes(it.type)));
const section = () => element.querySelector('.tw-rv');
const now = () => element.querySelector('.tw-rv-now');
const of = () => (section() ? `${section().dataset.queue}/${section().dataset.row}` : '');
const field = () => now().querySelector('.tw-rv-form input, .tw-rv-form textarea');
const card = () => now().querySelector('.tw-rv-card');
let busy = null, queued = null, shown = of(), inside = false, wrote = false, opened = false, sent = -1e9, top = 0;

// What was typed belongs to the row that it was typed for; the page keeps boxes from one card to the next.
const arrive = () => {
  if (of() === shown) return;
  shown = of();
  element.classList.remove('tw-rv-editing', 'tw-rv-going');
  now().querySelectorAll('input, textarea').forEach(box => { box.value = box.defaultValue; });
  if (wrote && field() && field().matches('textarea[name=text]')) field().focus();
  else if (inside) card().focus({preventScroll: true});
};
// The next card is here already: nobody waits for the answer, which draws the same card, and brings the one after.
const goOn = () => {
  const next = element.querySelector('.tw-rv-next');
  if (!next) return element.classList.add('tw-rv-going');
  now().innerHTML = next.innerHTML;
  section().dataset.row = next.dataset.row;
  next.remove();
  arrive();
};
const deal = message => {
  opened = message.act === 'open';
  sent = performance.now();
  busy = setTimeout(() => { busy = queued = null; trigger('click', {act: 'open', queue: message.queue}); }, 5000);
  trigger('click', message);
};
const advances = act => ['answer', 'keep', 'drop', 'skip', 'approve', 'reject'].includes(act);
const send = (act, more) => {
  if (queued || (act !== 'undo' && element.classList.contains('tw-rv-going'))) return;
  inside = element.contains(document.activeElement);
  const message = {act, queue: section().dataset.queue, row: Number(section().dataset.row), ...more};
  if (busy) queued = message;
  else deal(message);
  if (advances(act)) goOn();
  else element.classList.add('tw-rv-going');
};
const press = button => {
  const {act, text, queue} = button.dataset;
  wrote = false;
  if (act === 'edit') element.classList.add('tw-rv-editing');
  if (act === 'edit' || act === 'type') return field().focus();
  if (act === 'open') return send(act, {queue});
  send(act, text === undefined ? {} : {text});
};

element.addEventListener('click', event => {
  const button = event.target.closest('button[data-act]');
  if (button) press(button);
});
element.addEventListener('submit', event => {
  event.preventDefault();
  wrote = true;
  send(event.target.dataset.act, Object.fromEntries(new FormData(event.target)));
});

// What is drawn anew above the card must not push it away from under somebody who decides.
const place = () => element.getBoundingClientRect().top;
const hold = () => {
  if (!element.isConnected) return removeEventListener('scroll', note);
  if (performance.now() - sent < 20000 && top > -innerHeight && top < innerHeight) scrollBy(0, place() - top);
  note();
};
const note = () => { top = place(); };
note();
addEventListener('scroll', note, {passive: true});
new ResizeObserver(hold).observe(document.body);

const visible = () => {
  const at = now() && card().getClientRects()[0];
  return at && at.bottom > 0 && at.top < innerHeight;
};
const inBox = (event, box) => {
  if (event.key === 'Escape') {
    element.classList.remove('tw-rv-editing');
    card().focus({preventScroll: true});
  } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) box.form.requestSubmit();
};
const onKey = event => {
  if (!element.isConnected) return document.removeEventListener('keydown', onKey);
  const at = document.activeElement, mine = element.contains(at);
  if (event.isComposing || event.defaultPrevented || !visible()) return;
  if (typing(at)) return mine && inBox(event, at);
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  // Enter on a button means that button; only an open tab has had its say.
  const other = at && at.closest('button, a, summary, label, [role=button], [role=option], [role=menuitem]');
  if (event.key === 'Enter' && other && other.getAttribute('role') !== 'tab') return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const button = [...now().querySelectorAll('button[data-key]')].find(it => it.dataset.key === key);
  if (!button || element.classList.contains('tw-rv-editing')) return;
  event.preventDefault();
  press(button);
};
document.addEventListener('keydown', onKey);

watch('value', () => {
  clearTimeout(busy);
  busy = null;
  element.classList.remove('tw-rv-going');
  arrive();
  // The keys only mean a card that can be seen, and the buttons above it may stand at the window's lower edge.
  if (opened && now()) card().scrollIntoView({block: 'nearest'});
  opened = false;
  if (!queued) return;
  const message = queued;
  queued = null;
  deal(message);
  if (advances(message.act) && Number(section().dataset.row) === message.row) goOn();
});
"""
