"""Small pieces of HTML that several panels show. Owns escaping; every value from outside goes through here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def facts(rows: Iterable[tuple[str, str, str]]) -> str:
    """Name, value and a badge for each fact."""
    cells = "".join(
        f'<div class="tw-fact"><span class="tw-name">{escape(name)}</span><span class="tw-value">{escape(value)}</span>'
        f'<span class="tw-badge tw-{escape(badge.replace(" ", "-"))}">{escape(badge)}</span></div>'
        for name, value, badge in rows
    )
    return f'<div class="tw-facts">{cells}</div>'


def tiles(rows: Iterable[tuple[str, str]]) -> str:
    """Large figures with a caption each."""
    cells = "".join(
        f'<div class="tw-tile"><div class="tw-figure">{escape(figure)}</div>'
        f'<div class="tw-caption">{escape(caption)}</div></div>'
        for caption, figure in rows
    )
    return f'<div class="tw-tiles">{cells}</div>'


def cards(rows: Iterable[tuple[str, str, str, Sequence[tuple[str, str]], str]]) -> str:
    """A card each, side by side: letter, title, badge, names with their values, and a sentence. What is empty is left
    out."""
    cells = [_card(*row) for row in rows]
    return f'<div class="tw-cards" data-count="{len(cells)}">{"".join(cells)}</div>'


def _card(letter: str, title: str, badge: str, facts: Sequence[tuple[str, str]], words: str) -> str:
    mark = f'<span class="tw-badge">{escape(badge)}</span>' if badge else ""
    head = f'<span><span class="tw-letter">{escape(letter)}</span> <b>{escape(title)}</b></span>{mark}'
    told = "".join(f"<span>{escape(name)} <b>{escape(value)}</b></span>" for name, value in facts if value)
    body = f'<div class="tw-told">{told}</div>{f"<div>{escape(words)}</div>" if words else ""}'
    return f'<div class="tw-fold"><div class="tw-head">{head}</div>{body}</div>'


def heading(text: str) -> str:
    """A title over what follows."""
    return f'<div class="tw-words tw-title"><b>{escape(text)}</b></div>'


def aside(rows: Iterable[tuple[str, str]]) -> str:
    """Quiet lines of a name and what is said of it; what is empty is left out."""
    lines = "".join(f"<div><b>{escape(name)}</b> {escape(told)}</div>" for name, told in rows if told)
    return f'<div class="tw-aside">{lines}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A small table of texts."""
    titles = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="tw-scroll"><table class="tw-table"><tr>{titles}</tr>{lines}</table></div>'


def divided(parts: Sequence[tuple[str, str]]) -> str:
    """Figures in one line, each with what it is for: how one whole was divided."""
    cells = "".join(f"<span><b>{escape(figure)}</b> {escape(use)}</span>" for figure, use in parts)
    return f'<div class="tw-divided">{cells}</div>'


def notes(rows: Iterable[tuple[str, str]]) -> str:
    """Sentences, each with a severity: info, warning, error or good."""
    return "".join(f'<div class="tw-note tw-{escape(kind)}">{escape(text)}</div>' for kind, text in rows)


def progress(fraction: float, text: str, right: str = "") -> str:
    """A bar that is filled to a fraction in [0, 1], with words over it."""
    percent = max(0.0, min(1.0, fraction)) * 100
    return (
        f'<div class="tw-progress" role="progressbar" aria-valuenow="{percent:.0f}"><div class="tw-words">'
        f"<span>{escape(text)}</span><span>{escape(right)}</span></div>"
        f'<div class="tw-track"><div class="tw-fill" style="width:{percent:.1f}%"></div></div></div>'
    )


def rows_as_seen(texts: Sequence[str]) -> str:
    """Texts exactly as the model sees them, spaces and line ends kept."""
    return "".join(f'<pre class="tw-seen">{escape(text)}</pre>' for text in texts)


def intervals(rows: Sequence[tuple[str, float, float, float, str]]) -> str:
    """Bars in [0, 1] with their 95 % interval: title, value, low, high, caption."""
    cells = "".join(
        f'<div class="tw-bar"><div class="tw-words"><span>{escape(title)}</span><span>{escape(caption)}</span></div>'
        f'<div class="tw-track"><div class="tw-fill" style="width:{value:.1%}"></div>'
        f'<div class="tw-range" style="left:{low:.1%};width:{max(0.0, high - low):.1%}"></div></div></div>'
        for title, value, low, high, caption in rows
    )
    return f'<div class="tw-bars">{cells}</div>'


def paired(title: str, first: str, second: str, rows: Sequence[tuple[str, float, float]]) -> str:
    """Two bars in [0, 1] under each name, for two arms on the same rows; Gradio's own bar plot can only stack them."""
    cells = "".join(
        f'<div class="tw-pair"><span>{escape(name)}</span>'
        f'<div><div class="tw-thin tw-first" style="width:{a:.1%}"></div>'
        f'<div class="tw-thin tw-second" style="width:{b:.1%}"></div></div><span>{a:.0%} → {b:.0%}</span></div>'
        for name, a, b in rows
    )
    key = f'<span class="tw-first">■</span> {escape(first)} <span class="tw-second">■</span> {escape(second)}'
    return f'<div class="tw-words tw-title"><b>{escape(title)}</b><span class="tw-key">{key}</span></div>{cells}'


def empty(sentence: str) -> str:
    """What a stage says that is not ready yet."""
    return f'<div class="tw-empty">{escape(sentence)}</div>'


def duration(seconds: float | None) -> str:
    """Seconds as a person would say them; empty where unknown."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
