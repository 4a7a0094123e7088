"""What was found in the data and what was changed, as cards with a button each.

Owns their HTML and the key that a button sends back. Refuses to act on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from html import escape
from typing import Literal

from assistant.project import DataSource
from assistant.ui import html
from prompts.errors import DataError
from trainers.checks.finding import Finding, counted, gravity, some
from trainers.edits import Edit

# Buttons in a card say what they do; one listener on the component hears them all.
LISTEN = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-key]');
  if (!button || button.disabled) return;
  button.disabled = true;
  setTimeout(() => { button.disabled = false; }, 4000);  // where nothing was drawn anew, it can be meant again
  trigger('click', {key: button.dataset.key});
});
"""
_SEVERITY = {"error": "Stop", "warning": "Look at this", "info": "Good to know"}
_VERB = {"drop_rows": "Drop", "mask": "Mask", "clean": "Clean"}
_SHOWN = 10
Kind = Literal["fix", "undo"]


def cards(findings: Sequence[Finding], data: DataSource) -> str:
    """All findings, the worst first, each with its rows, its effect, and a button where something mends it."""
    if not findings:
        return html.notes([("good", "Nothing was found that would spoil a training.")])
    state = _state(data)
    ranked = sorted(enumerate(findings), key=lambda one: gravity(one[1]))
    return "".join(_card(finding, _key("fix", index, state)) for index, finding in ranked)


def _card(finding: Finding, key: str) -> str:
    button = ""
    if finding.fix:
        text = f"{_VERB[finding.fix.action]} {counted(finding.rows)}"
        button = f'<button class="tw-act" data-key="{key}" title="{escape(finding.fix.words)}">{text}</button>'
    words = f'<div class="tw-cost">{escape(finding.fix.words)}</div>' if finding.fix else ""
    badge = f'<span class="tw-badge tw-{finding.severity}">{_SEVERITY[finding.severity]}</span>'
    return (
        f'<div class="tw-finding tw-{finding.severity}" data-check="{escape(finding.check)}">'
        f'<div class="tw-head"><span>{escape(finding.text)}</span>{badge}</div>'
        f'<div class="tw-row"><div>{escape(finding.effect)}{_rows(finding)}{words}</div>{button}</div></div>'
    )


def _rows(finding: Finding) -> str:
    if not finding.rows and not finding.examples:
        return ""
    shown = some(finding.rows, _SHOWN, "{:,}".format)
    summary = f"Rows {shown}" if len(finding.rows) > 1 else f"Row {shown}" if finding.rows else "Examples"
    if not finding.examples:
        return f'<div class="tw-where">{escape(summary)}</div>'
    examples = "".join(f"<li>{escape(example)}</li>" for example in finding.examples)
    return f'<details class="tw-where"><summary>{escape(summary)}</summary><ul>{examples}</ul></details>'


def changes(edits: Sequence[Edit], data: DataSource) -> str:
    """The list of changes, the latest first, each with a button that takes it back."""
    if not edits:
        return ""
    state = _state(data)
    lines = "".join(
        f'<div class="tw-change"><span>{escape(edit.words)}</span>'
        f'<span class="tw-badge">{edit.count:,} row{"s" * (edit.count != 1)}</span>'
        f'<button class="tw-act" data-key="{_key("undo", index, state)}">Undo</button></div>'
        for index, edit in reversed(list(enumerate(edits)))
    )
    title = "What was changed. The file itself stays as it is."
    return f'<div class="tw-changes"><div class="tw-words tw-title"><b>{title}</b></div>{lines}</div>'


def chosen(key: str, data: DataSource) -> tuple[Kind, int]:
    """What a button asked for: fixing or undoing, and the number in its list.

    Raises `DataError` where the data is another one than that which the button stood under.
    """
    kind, index, state = key.split(":")
    if state != _state(data):
        raise DataError("The data has changed since this was shown.", hint="Look at the list once more, then choose.")
    return ("fix" if kind == "fix" else "undo"), int(index)


def _key(kind: Kind, index: int, state: str) -> str:
    return f"{kind}:{index}:{state}"


def _state(data: DataSource) -> str:
    return hashlib.sha256(data.model_dump_json().encode()).hexdigest()[:12]
