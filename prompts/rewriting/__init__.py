"""What a wish does to a prompt, without a language model: "shorter", "in German", "always JSON", "never say X".

Owns the wordings of wishes (`wishes.yaml`, four languages) and the rewriting. A rule is one sentence at the end of the
system prompt and takes the place of an earlier one on the same matter. Refuses to decide whether a message is a wish.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from prompts.allowed import Allowed, allowed_for
from prompts.versions import PromptVersion

_PIECES = re.compile(r"\s*(?:[;\n]|,\s*(?:and|und|et|y)?\s|\.\s|\s(?:and|und|et|y)\s(?=\w+ ))\s*")
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?]+(?=\s|$)|\n|$)\s*")
_POLITE = r"(?:please |can you |could you |i want |i'd like |make it |bitte |s'il te plaît |por favor )*"


class Wish(BaseModel):
    """One thing that a person wants of the prompt: its kind, and the words that fill its rule."""

    model_config = ConfigDict(frozen=True)

    kind: str
    it: str = ""
    other: str = ""


@cache
def _data() -> dict[str, Any]:
    return dict(yaml.safe_load(files(__package__).joinpath("wishes.yaml").read_text("utf-8")))


@cache
def _says(kind: str) -> tuple[re.Pattern[str], ...]:
    names = "|".join(_data()["languages"])
    return tuple(
        re.compile(f"{_POLITE}(?:{says.replace('{languages}', names)})(?: please| bitte)?[.! ]*", re.IGNORECASE)
        for says in _data()[kind]["says"]
    )


@cache
def _kinds() -> tuple[str, ...]:
    return tuple(name for name, entry in _data().items() if isinstance(entry, dict) and "says" in entry)


def wishes_in(text: str) -> tuple[Wish, ...]:
    """The wishes of a message, in its order; empty where any piece of it is none."""
    whole = _wish(text.strip())
    pieces = [whole] if whole else [_wish(piece) for piece in _PIECES.split(text.strip()) if piece.strip()]
    found = [wish for wish in pieces if wish]
    return tuple(found) if len(found) == len(pieces) else ()


def _wish(text: str) -> Wish | None:
    for kind in _kinds():
        for says in _says(kind):
            match = says.fullmatch(text.strip())
            if match:
                groups = match.groupdict()
                it = groups.get("it") or groups.get("it2") or ""
                return Wish(kind=kind, it=it.strip(" .!"), other=(groups.get("other") or "").strip(" .!"))
    return None


def rewritten(
    version: PromptVersion, wishes: tuple[Wish, ...], can_hold_to: Allowed | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields of a version that these wishes change, and what was done, a clause each.

    `can_hold_to` is what the task's answers could be held to. A wish that is fulfilled already changes nothing.
    """
    changed, done = version, []
    for wish in wishes:
        fields = _fields(changed, wish, can_hold_to)
        kept = {name: value for name, value in fields.items() if value != getattr(changed, name)}
        if kept:
            changed = changed.revised(reason="", **kept)
            done.append(_told(wish))
    names = ("system", "template", "demonstrations", "allowed")
    return {n: getattr(changed, n) for n in names if getattr(changed, n) != getattr(version, n)}, tuple(done)


def _fields(version: PromptVersion, wish: Wish, can_hold_to: Allowed | None) -> dict[str, Any]:
    if wish.kind == "held":
        return {"allowed": can_hold_to or version.allowed}
    if wish.kind == "free":
        return {"allowed": None}
    if wish.kind == "no_examples":
        return {"demonstrations": ()}
    if wish.kind == "shorter_prompt":
        return {"system": _tightened(version.system)}
    if wish.kind == "remove":
        return {
            "system": "".join(s for s in _sentences(version.system) if wish.it.casefold() not in s.casefold()).strip()
        }
    if wish.kind == "replace":
        return {"system": re.sub(re.escape(wish.it), lambda _: wish.other, version.system, flags=re.IGNORECASE)}
    fields: dict[str, Any] = {"system": _with_rule(version.system, wish)}
    if wish.kind == "json":
        keys = _keys(wish)
        shape = can_hold_to if can_hold_to and can_hold_to.json_schema else None
        fields["allowed"] = allowed_for((), (), keys) if keys else shape or version.allowed
    return fields


def _with_rule(system: str, wish: Wish) -> str:
    rule = _rule(wish)
    if rule.casefold() in system.casefold():
        return system
    replaced = _data()[wish.kind].get("replaces", "").replace("{english}", "|".join(set(_data()["languages"].values())))
    kept = [s for s in _sentences(system) if not (replaced and _is_rule(s) and re.search(replaced, s, re.IGNORECASE))]
    text = "".join(kept).rstrip()
    return f"{text}{'' if not text or text[-1] in '.!?:' else '.'} {rule}".strip()


def _is_rule(sentence: str) -> bool:
    """Whether a sentence is about how to answer, not about the task: only such a one gives way."""
    return (
        re.match(r"\s*(?:answer|reply|write|use|respond|keep|be|where|always|never|return)\b", sentence, re.I)
        is not None
    )


def _rule(wish: Wish) -> str:
    it = _data()["languages"].get(wish.it.casefold(), wish.it) if wish.kind == "language" else wish.it
    keys = _keys(wish)
    text = str(_data()[wish.kind]["rule"]).format(it=it, keys=f" with the keys {', '.join(keys)}" if keys else "")
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _keys(wish: Wish) -> tuple[str, ...]:
    parts = re.split(r",|\band\b", wish.it) if wish.kind == "json" else []
    return tuple(key.strip() for key in parts if key.strip())


def _told(wish: Wish) -> str:
    if wish.kind in ("held", "free", "no_examples", "shorter_prompt", "remove", "replace"):
        return {
            "held": "answers held to what is allowed",
            "free": "answers free again",
            "no_examples": "without examples",
            "shorter_prompt": "a tighter prompt",
            "remove": f"without “{wish.it}”",
            "replace": f"“{wish.other}” in place of “{wish.it}”",
        }[wish.kind]
    rule = _rule(wish).rstrip(".")
    return f"{rule[:1].lower()}{rule[1:]}"


def _sentences(text: str) -> Iterator[str]:
    return (match.group() for match in _SENTENCE.finditer(text))


def _tightened(system: str) -> str:
    """The prompt without courtesy, filler and sentences that stand there twice."""
    seen: set[str] = set()
    kept = []
    for sentence in _sentences(system):
        short = re.sub(_data()["filler"], "", sentence, flags=re.IGNORECASE)
        key = re.sub(r"\W+", " ", short.casefold()).strip()
        if key and key not in seen:
            seen.add(key)
            kept.append(f"{short[:1].upper()}{short[1:]}")
    return " ".join("".join(kept).split(" ")).strip()
