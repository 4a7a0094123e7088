"""Facts that stand in a phrase: where data may go, ratings of pairs, the metric, the model, the licence.

Owns one small function a field. Refuses numbers (`amounts`), lists (`lists`), `languages`, `tone` and `rules`.
"""

from __future__ import annotations

import re
from typing import Any

from assistant.dialogue.offline.text import fold, lexicon, pattern

_CLAUSE = 70  # characters of a clause that are kept on each side of its word


def phrases(text: str, folded: str) -> dict[str, Any]:
    """The facts that the phrases of a statement tell."""
    facts = _place(folded) | _preferences(folded) | _metric(folded)
    for name, value in (("base_model", _model(text)), ("licence", _licence(text, folded))):
        if value:
            facts[name] = value
    return facts


def _place(folded: str) -> dict[str, Any]:
    """Whether data must stay; of contradicting words the last ones count."""
    inside, outside = (
        max((m.end() for m in pattern(concept).finditer(folded)), default=-1)
        for concept in ("local_true", "local_false")
    )
    return {"local_only": inside > outside} if max(inside, outside) >= 0 else {}


def _preferences(folded: str) -> dict[str, Any]:
    if pattern("no_preferences").search(folded):
        return {"has_preferences": False}
    return {"has_preferences": True} if pattern("preferences").search(folded) else {}


def _metric(folded: str) -> dict[str, Any]:
    for name, expression in lexicon()["metrics"].items():
        if re.search(expression, folded):
            return {"metric": name}
    return {}


def goes_in(text: str) -> str:
    """What goes in, one of it, where a description names it in a usual way: "incoming support tickets"."""
    match = pattern("goes_in").search(fold(text))
    return text[match.start() : match.end()].lower().removesuffix("s") if match else ""


# The base model

_HUB_ID = re.compile(r"(?<![\w/.:@-])([A-Za-z][\w.-]{1,40})/([A-Za-z][\w.-]*[\w])(?![\w/])")
_FILE = re.compile(r"(?<!\S)((?:\.{0,2}|~)?/[\w./-]+|[\w./~-]+\.gguf)\b")


def _model(text: str) -> str:
    """A hub id, a folder or a GGUF file, as written; the last one named."""
    ids = [m.group() for m in _HUB_ID.finditer(text) if _looks_like_model(m.group(1), m.group(2))]
    if ids:
        return ids[-1]
    return next((m.group(1) for m in reversed([*_FILE.finditer(text)]) if _is_model_file(text, m)), "")


def without_model(text: str) -> str:
    """The text without the model that it names: "python" in a folder's name says nothing about the task."""
    model = _model(text)
    return text.replace(model, " ") if model else text


def _looks_like_model(owner: str, name: str) -> bool:
    written = f"{owner}/{name}".lower()
    if re.match(rf"{lexicon()['model_owner']}/", written) or re.search(
        rf"(?:^|[^a-z]){lexicon()['model_family']}", written
    ):
        return True
    return bool(re.search(r"\d", name) and re.search(r"-", name) and re.search(r"[A-Z]|\d[bm]\b", name))


def _is_model_file(text: str, match: re.Match[str]) -> bool:
    return bool(
        re.search(r"model|gguf", match.group(1) + text[max(0, match.start() - 25) : match.start()], re.IGNORECASE)
    )


# The licence


def _licence(text: str, folded: str) -> str:
    blank = pattern("not_of_licence").sub(lambda found: " " * len(found.group()), folded)
    match = pattern("licence").search(blank)
    return _around(text, match.start(), match.end()).strip() if match else ""


def _around(text: str, start: int, end: int) -> str:
    """The clause in which a match stands."""
    before = re.split(r"[.;!?\n](?!\d)|, ", text[max(0, start - _CLAUSE) : start])[-1]
    after = re.split(r"[.;!?\n](?!\d)", text[end : end + _CLAUSE])[0]
    return f"{before}{text[start:end]}{after}"
